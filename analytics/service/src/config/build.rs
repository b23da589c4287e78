//! From what the user wrote to what is valid: all problems at once.

use super::{
    access::{AccessConfig, Certificates},
    fields::{Kind, field},
    spec::{Problem, Spec},
    units::{parse_size, show_size},
};
use geophone_client::{Client, ClientConfig, Compression, Protocol};
use geophone_engine::{
    TrialBounds,
    settings::{ActionMode, Policy, Settings},
};
use geophone_ingest::{Right, TlsFiles};
use geophone_models::Trust;
use geophone_proto::action::millis;
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

/// What the program holds whatever it is sent: its pages under load, and what is allocated when idle.
const PROGRAM_BYTES: u64 = 32 << 20;

/// Everything the service needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of everything kept.
    pub data_dir: PathBuf,
    /// What the process aims to stay under.
    pub memory_limit: u64,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Largest request.
    pub request_bytes_max: u64,
    /// Open connections of senders.
    pub connections_max: u64,
    /// Page and API.
    pub api: Api,
    /// Certificates of the three.
    pub certificates: Certificates,
    /// Who may do what.
    pub access: AccessConfig,
    /// The log.
    pub log: LogConfig,
    /// What is deleted when.
    pub retention: Retention,
    /// The brain.
    pub detection: Detection,
    /// Who is told.
    pub alerts: Alerts,
    /// How far actions go.
    pub action_mode: ActionMode,
    /// When to do what.
    pub policies: Vec<Policy>,
    /// Models and their trials.
    pub models: Models,
    /// Stacks.
    pub profiler: Profiler,
    /// Every value in force by path, as it would be written.
    pub effective: BTreeMap<&'static str, serde_json::Value>,
}

/// Page and API.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where.
    pub endpoint: SocketAddr,
    /// Host names that browsers may use.
    pub allowed_hosts: Vec<String>,
}

/// Models and their trials.
#[derive(Clone, Debug)]
pub struct Models {
    /// Scores where the log does not say otherwise.
    pub active: String,
    /// Whose models may be loaded.
    pub trust: Trust,
    /// Of a hundred series, those that a canary speaks for.
    pub canary_percent: u32,
    /// Beyond this a model goes back by itself.
    pub latency_max: Duration,
    /// Beyond these too.
    pub trial: TrialBounds,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `fsync`, `os` or `none`.
    pub durability: String,
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// A segment is closed at this age.
    pub segment_age: Duration,
    /// What is kept of it once it is sealed, for replays.
    pub history_bytes: u64,
}

/// What is deleted when.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Older files go.
    pub age: Duration,
    /// The oldest files go until the rest is smaller.
    pub bytes: u64,
}

/// The brain's part.
#[derive(Clone, Debug)]
pub struct Detection {
    /// Length of a window.
    pub window: Duration,
    /// How long a window waits; `None` = learn it.
    pub delay: Option<Duration>,
    /// Until when late rows amend.
    pub allowed_lateness: Duration,
    /// False alarms a week.
    pub alerts_per_week: f64,
    /// Series per tenant.
    pub series_max: u64,
    /// Series per tenant, service and name.
    pub series_per_name_max: u64,
}

/// Who is told of incidents.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Alertmanagers, base URLs.
    pub alertmanager: Vec<Target>,
    /// Webhooks, full URLs.
    pub webhook: Vec<Target>,
    /// How often an open incident is sent again.
    pub resend_interval: Duration,
    /// A slower receiver is tried again.
    pub timeout: Duration,
    /// Base of links; empty = our own endpoint.
    pub external_url: String,
}

/// One receiver of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where.
    pub url: String,
    /// Header fields to send along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What a webhook's messages are signed with.
    #[serde(default)]
    pub secret: Option<String>,
}

/// Stacks.
#[derive(Clone, Debug)]
pub struct Profiler {
    /// `auto`, `true` or `false`.
    pub enabled: String,
    /// Samples a second on each busy CPU.
    pub frequency_hz: u64,
    /// Time off the CPU as well.
    pub off_cpu: bool,
    /// A recorded session.
    pub recording: Option<PathBuf>,
    /// Where stacks of flagged spans are sent as OTLP profiles.
    pub export: Option<ClientConfig>,
}

impl Config {
    /// Checks a spec; the error lists every problem.
    pub fn from_spec(spec: &Spec) -> Result<Self, Vec<Problem>> {
        let mut read = Reader { spec, problems: spec.problems.clone(), effective: BTreeMap::new() };
        let exposed_is_fine = read.flag("allow_unauthenticated_bind");
        let recording = read.text("profiler.recording");
        let export = read.profile_export();
        let access = read.access();
        let certificates =
            Certificates { grpc: read.certificates(GRPC_TLS), http: read.certificates(HTTP_TLS), api: read.certificates(API_TLS) };
        let guarded = |files: &Option<TlsFiles>, right| exposed_is_fine || files.is_some() || access.rules.asks_for(right);
        let config = Self {
            data_dir: read.text("data_dir").into(),
            memory_limit: read.size("memory_limit"),
            otlp_grpc: read.address("receivers.otlp.protocols.grpc.endpoint", guarded(&certificates.grpc, Right::Send)),
            otlp_http: read.address("receivers.otlp.protocols.http.endpoint", guarded(&certificates.http, Right::Send)),
            request_bytes_max: read.size("receivers.otlp.max_request_size"),
            connections_max: read.count("receivers.otlp.max_connections"),
            api: Api {
                endpoint: read.address("api.endpoint", guarded(&certificates.api, Right::Read)),
                allowed_hosts: read.list("api.allowed_hosts"),
            },
            certificates,
            access,
            log: read.log(),
            retention: Retention { age: read.span("retention.age"), bytes: read.size("retention.size") },
            detection: Detection {
                window: read.span("detection.window"),
                delay: read.auto_span("detection.delay"),
                allowed_lateness: read.span("detection.allowed_lateness"),
                alerts_per_week: read.number("detection.alerts_per_week"),
                series_max: read.count("detection.series_max"),
                series_per_name_max: read.count("detection.series_per_name_max"),
            },
            alerts: Alerts {
                alertmanager: read.targets("alerts.alertmanager"),
                webhook: read.targets("alerts.webhook"),
                resend_interval: read.span("alerts.resend_interval"),
                timeout: read.span("alerts.timeout"),
                external_url: read.text("alerts.external_url"),
            },
            action_mode: match &*read.text("actions.mode") {
                "auto" => ActionMode::Auto,
                "ask" => ActionMode::Ask,
                _ => ActionMode::DryRun,
            },
            policies: read.policies(),
            models: Models {
                active: read.text("models.active"),
                trust: read.trust(),
                canary_percent: u32::try_from(read.count("models.canary_percent")).unwrap_or(99),
                latency_max: read.span("models.rollback.latency_max"),
                trial: TrialBounds {
                    alert_ratio: read.number("models.rollback.alert_ratio"),
                    agreement_min: read.number("models.rollback.agreement_min"),
                    score_difference_max: read.number("models.rollback.score_difference_max"),
                    probation: read.span("models.probation"),
                },
            },
            profiler: Profiler {
                enabled: read.text("profiler.enabled"),
                frequency_hz: read.count("profiler.frequency"),
                off_cpu: read.flag("profiler.off_cpu"),
                recording: (!recording.is_empty()).then(|| PathBuf::from(recording)),
                export,
            },
            effective: BTreeMap::new(),
        };
        config.concluded(read)
    }

    /// With what was read, unless something is wrong with it.
    fn concluded(self, read: Reader<'_>) -> Result<Self, Vec<Problem>> {
        let Reader { mut problems, effective, .. } = read;
        problems.extend(self.collision());
        if problems.is_empty() { Ok(Self { effective, ..self }) } else { Err(problems) }
    }

    /// Two doors with one address.
    fn collision(&self) -> Option<Problem> {
        let doors = [
            ("receivers.otlp.protocols.grpc.endpoint", self.otlp_grpc),
            ("receivers.otlp.protocols.http.endpoint", self.otlp_http),
            ("api.endpoint", self.api.endpoint),
        ];
        let pairs = [(1, 0), (2, 0), (2, 1)].map(|(own, other)| (doors[own], doors[other]));
        pairs.into_iter().find(|((_, own), (_, other))| own == other && own.port() != 0).map(|((path, address), (other, _))| {
            Problem::new(path, format!("`{address}` is the address of `{other}` too: each needs its own port"))
        })
    }

    /// What `memory_limit` leaves for data beside the program.
    pub const fn data_bytes(&self) -> u64 {
        self.memory_limit.saturating_sub(PROGRAM_BYTES)
    }

    /// What all open requests may hold together.
    pub const fn open_bytes_max(&self) -> u64 {
        self.data_bytes() / 4
    }

    /// What to say where requests may not be as large as configured.
    pub fn shrunk_request_size(&self) -> Option<String> {
        let (wanted, most, all) = (self.request_bytes_max, self.open_bytes_max(), self.memory_limit);
        let [shown, most_shown, all] = [wanted, most, all].map(show_size);
        (wanted > most).then(|| {
            format!(
                "`receivers.otlp.max_request_size` is {shown}, in force are {most_shown}: a quarter of what `memory_limit` ({all}) leaves \
                 beside the program, in which a request and its columns must fit; raise `memory_limit` where larger ones come"
            )
        })
    }

    /// What the brain is told.
    pub fn settings(&self) -> Settings {
        Settings {
            window: self.detection.window,
            delay: self.detection.delay,
            allowed_lateness: self.detection.allowed_lateness,
            alerts_per_week: self.detection.alerts_per_week,
            series_per_tenant_max: usize::try_from(self.detection.series_max).unwrap_or(usize::MAX),
            series_per_name_max: usize::try_from(self.detection.series_per_name_max).unwrap_or(usize::MAX),
            series_of_tenant: self.access.series_of_tenant.clone(),
            attribute_bytes_max: usize::try_from(self.data_bytes() / 16).unwrap_or(usize::MAX),
            trial: self.models.trial,
            action_mode: self.action_mode,
            policies: self.policies.clone(),
        }
    }
}

/// The four fields of a door's certificates.
const GRPC_TLS: [&str; 4] = [
    "receivers.otlp.protocols.grpc.tls.cert_file",
    "receivers.otlp.protocols.grpc.tls.key_file",
    "receivers.otlp.protocols.grpc.tls.client_ca_file",
    "receivers.otlp.protocols.grpc.tls.min_version",
];
const HTTP_TLS: [&str; 4] = [
    "receivers.otlp.protocols.http.tls.cert_file",
    "receivers.otlp.protocols.http.tls.key_file",
    "receivers.otlp.protocols.http.tls.client_ca_file",
    "receivers.otlp.protocols.http.tls.min_version",
];
const API_TLS: [&str; 4] = ["api.tls.cert_file", "api.tls.key_file", "api.tls.client_ca_file", "api.tls.min_version"];

/// Reads values by path, keeps what is wrong, and answers the default instead.
pub(super) struct Reader<'a> {
    spec: &'a Spec,
    pub(super) problems: Vec<Problem>,
    effective: BTreeMap<&'static str, serde_json::Value>,
}

impl Reader<'_> {
    fn kind(path: &str) -> Kind {
        field(path).map_or(Kind::Text, |field| field.kind)
    }

    fn default(path: &str) -> Value {
        let text = field(path).map_or("", |field| field.default);
        match Self::kind(path) {
            Kind::Texts | Kind::Targets | Kind::Policies | Kind::Tokens | Kind::Tenants => Value::Sequence(Vec::new()),
            _ => Value::String(text.into()),
        }
    }

    /// Runs `parse` on the value, or notes its complaint and runs it on the default.
    fn value<T>(&mut self, path: &'static str, parse: impl Fn(&Value) -> Result<T, String>) -> T {
        let default = Self::default(path);
        let given = self.spec.values.get(path);
        let shown = given.unwrap_or(&default);
        self.effective.insert(path, serde_json::to_value(shown).unwrap_or_default());
        let parsed = parse(shown).or_else(|complaint| {
            self.problems.push(Problem::new(path, complaint));
            parse(&default)
        });
        parsed.unwrap_or_else(|complaint| unreachable!("default of {path}: {complaint}"))
    }

    pub(super) fn text(&mut self, path: &'static str) -> String {
        let kind = Self::kind(path);
        self.value(path, |value| {
            let text = scalar(value).ok_or("must be text")?;
            match kind {
                Kind::Choice(words) if !words.contains(&&*text) => Err(format!("`{text}` is none of {}", words.join(", "))),
                Kind::Path if text.is_empty() => Err("must not be empty".into()),
                _ => Ok(text),
            }
        })
    }

    fn flag(&mut self, path: &'static str) -> bool {
        self.value(path, |value| match scalar(value).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err("must be true or false".into()),
        })
    }

    fn size(&mut self, path: &'static str) -> u64 {
        let kind = Self::kind(path);
        self.value(path, |value| {
            let text = scalar(value).unwrap_or_default();
            let bytes = parse_size(&text).ok_or_else(|| format!("`{text}` is not a size: write `512MiB`, `4 MiB` or a number of bytes"))?;
            let Kind::Size(low, high) = kind else { return Ok(bytes) };
            let within = parse_size(low).is_none_or(|low| bytes >= low) && parse_size(high).is_none_or(|high| bytes <= high);
            if within { Ok(bytes) } else { Err(format!("`{text}` is out of range: {low} to {high}")) }
        })
    }

    fn span(&mut self, path: &'static str) -> Duration {
        let kind = Self::kind(path);
        self.value(path, |value| span_within(&scalar(value).unwrap_or_default(), kind))
    }

    fn auto_span(&mut self, path: &'static str) -> Option<Duration> {
        let kind = Self::kind(path);
        self.value(path, |value| {
            let text = scalar(value).unwrap_or_default();
            if text == "auto" { Ok(None) } else { span_within(&text, kind).map(Some) }
        })
    }

    fn number(&mut self, path: &'static str) -> f64 {
        let kind = Self::kind(path);
        self.value(path, |value| {
            let text = scalar(value).unwrap_or_default();
            let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
            match kind {
                Kind::Number(low, high) if !(low..=high).contains(&number) => Err(format!("`{text}` is out of range: {low} to {high}")),
                _ => Ok(number),
            }
        })
    }

    pub(super) fn count(&mut self, path: &'static str) -> u64 {
        let kind = Self::kind(path);
        self.value(path, |value| {
            let text = scalar(value).unwrap_or_default();
            let number: u64 = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
            match kind {
                Kind::Count(low, high) if !(low..=high).contains(&number) => Err(format!("`{text}` is out of range: {low} to {high}")),
                _ => Ok(number),
            }
        })
    }

    fn address(&mut self, path: &'static str, is_guarded: bool) -> SocketAddr {
        self.value(path, |value| {
            let text = scalar(value).unwrap_or_default();
            let address = text
                .to_socket_addrs()
                .ok()
                .and_then(|addresses| addresses.into_iter().min_by_key(|address| !address.is_ipv4()))
                .ok_or_else(|| format!("`{text}` is not an address: write `127.0.0.1:4317`"))?;
            if address.ip().is_loopback() || is_guarded {
                return Ok(address);
            }
            Err(format!(
                "`{text}` can be reached from other machines and nobody is asked who they are: use 127.0.0.1, give it certificates (`tls`) or tokens (`access.tokens`), or set `allow_unauthenticated_bind: true`"
            ))
        })
    }

    pub(super) fn list<T: serde::de::DeserializeOwned>(&mut self, path: &'static str) -> Vec<T> {
        let default = Self::default(path);
        let given = self.spec.values.get(path).unwrap_or(&default);
        self.effective.insert(path, serde_json::to_value(given).unwrap_or_default());
        let Value::Sequence(items) = given else {
            self.problems.push(Problem::new(path, "must be a list"));
            return Vec::new();
        };
        let mut parsed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match serde_yaml_ng::from_value(item.clone()) {
                Ok(item) => parsed.push(item),
                Err(error) => self.problems.push(Problem::new(format!("{path}[{index}]"), error.to_string())),
            }
        }
        parsed
    }

    fn log(&mut self) -> LogConfig {
        LogConfig {
            durability: self.text("log.durability"),
            segment_bytes: self.size("log.segment_size"),
            segment_age: self.span("log.segment_age"),
            history_bytes: self.size("log.history"),
        }
    }

    fn trust(&mut self) -> Trust {
        const KEYS: &str = "models.trusted_keys";
        let keys: Vec<String> = self.list(KEYS);
        let wrong = |error: geophone_models::ModelError| Problem::new(KEYS, error.to_string());
        Trust::in_keys(keys).map_err(|error| self.problems.push(wrong(error))).unwrap_or_default()
    }

    fn targets(&mut self, path: &'static str) -> Vec<Target> {
        let targets: Vec<Target> = self.list(path);
        // Header values are secrets more often than not.
        self.redact(path, "headers");
        self.redact(path, "secret");
        for (index, target) in targets.iter().enumerate() {
            if target.secret.is_some() && path != "alerts.webhook" {
                self.problems.push(Problem::new(format!("{path}[{index}].secret"), "only webhooks are signed: use `headers`"));
            }
            if !is_http(&target.url) {
                self.problems.push(Problem::new(format!("{path}[{index}].url"), format!("`{}` is not an http or https URL", target.url)));
            }
        }
        targets
    }

    /// Hides what lies under `key` in every item of a list.
    pub(super) fn redact(&mut self, path: &'static str, key: &str) {
        let Some(serde_json::Value::Array(items)) = self.effective.get_mut(path) else { return };
        for value in items.iter_mut().filter_map(|item| item.get_mut(key)) {
            match value {
                serde_json::Value::Object(fields) => fields.values_mut().for_each(|value| *value = "<redacted>".into()),
                other => *other = "<redacted>".into(),
            }
        }
    }

    fn profile_export(&mut self) -> Option<ClientConfig> {
        const HEADERS: &str = "profiler.export.headers";
        let (endpoint, protocol) = (self.text("profiler.export.endpoint"), self.text("profiler.export.protocol"));
        let ca_file = Some(self.text("profiler.export.ca_file")).filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut headers = Vec::new();
        for (index, field) in self.list::<String>(HEADERS).iter().enumerate() {
            match field.split_once(':') {
                Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
                None => self.problems.push(Problem::new(format!("{HEADERS}[{index}]"), "must be `name: value`")),
            }
        }
        // Values are secrets more often than not.
        if let Some(serde_json::Value::Array(shown)) = self.effective.get_mut(HEADERS) {
            shown.iter_mut().for_each(|field| *field = "<redacted>".into());
        }
        if endpoint.is_empty() {
            return None;
        }
        let protocol = if protocol == "http" { Protocol::HttpProtobuf } else { Protocol::Grpc };
        let config = ClientConfig { endpoint, ca_file, protocol, headers, compression: Compression::Gzip, ..ClientConfig::default() };
        if let Err(error) = Client::new(config.clone()) {
            self.problems.push(Problem::new("profiler.export", error.to_string()));
        }
        Some(config)
    }

    fn policies(&mut self) -> Vec<Policy> {
        let values = self.list::<serde_json::Value>("actions.policies");
        let mut policies: Vec<Policy> = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let at = format!("actions.policies[{index}]");
            match serde_json::from_value::<Policy>(value) {
                Err(error) => self.problems.push(Problem::new(at, error.to_string())),
                Ok(policy) => {
                    let twin = policies.iter().any(|earlier| earlier.name == policy.name);
                    let complaints =
                        complaints_about(&policy).into_iter().chain(twin.then(|| format!("name `{}` is used twice", policy.name)));
                    self.problems.extend(complaints.map(|complaint| Problem::new(at.clone(), complaint)));
                    policies.push(policy);
                }
            }
        }
        policies
    }
}

fn complaints_about(policy: &Policy) -> Vec<String> {
    use geophone_proto::action::Operation;
    let mut complaints = Vec::new();
    if policy.name.is_empty() {
        complaints.push("`name` must not be empty".into());
    }
    if !(0.0..=1.0).contains(&policy.when.min_confidence) {
        complaints.push(format!("`when.min_confidence` is {}: must be 0 to 1", policy.when.min_confidence));
    }
    for (role, operation) in [("do", Some(&policy.operation)), ("undo", policy.undo.as_ref())] {
        match operation {
            Some(Operation::Exec { command, .. }) if !command.first().is_some_and(|program| program.starts_with('/')) => {
                complaints.push(format!("`{role}.exec.command` must begin with the absolute path of a program"));
            }
            Some(Operation::Http { url, .. }) if !is_http(url) => {
                complaints.push(format!("`{role}.http.url`: `{url}` is not an http or https URL"));
            }
            Some(Operation::Sample { ratio, .. }) if !(0.0..=1.0).contains(ratio) => {
                complaints.push(format!("`{role}.sample.ratio` is {ratio}: must be 0 to 1"));
            }
            _ => {}
        }
    }
    complaints
}

fn is_http(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn span_within(text: &str, kind: Kind) -> Result<Duration, String> {
    let span = millis::parse(text).ok_or_else(|| format!("`{text}` is not a duration: write `500ms`, `10s`, `2m`, `1h` or `7d`"))?;
    let (Kind::Span(low, high) | Kind::AutoSpan(low, high)) = kind else { return Ok(span) };
    let within = millis::parse(low).is_none_or(|low| span >= low) && millis::parse(high).is_none_or(|high| span <= high);
    if within { Ok(span) } else { Err(format!("`{text}` is out of range: {low} to {high}")) }
}

#[cfg(test)]
mod tests {
    use super::{super::fields::FIELDS, *};

    #[test]
    fn every_field_is_read() {
        let config = Config::from_spec(&Spec::default()).expect("defaults are valid");
        let read: Vec<&str> = config.effective.keys().copied().collect();
        let mut known: Vec<&str> = FIELDS.iter().map(|field| field.path).collect();
        known.sort_unstable();
        assert_eq!(read, known);
    }
}
