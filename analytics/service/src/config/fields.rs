//! The table of everything that may be set. Change it here and nowhere else; the reference page and the
//! JSON schema follow (`GEOPHONE_BLESS=1 cargo test -p geophone-service config`).

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A path of a file or folder.
    Path,
    /// Free text.
    Text,
    /// `host:port`; port 0 = any free one.
    Address,
    /// A number of bytes within bounds.
    Size(&'static str, &'static str),
    /// A duration within bounds.
    Span(&'static str, &'static str),
    /// A duration within bounds, or `auto`.
    AutoSpan(&'static str, &'static str),
    /// A number within bounds.
    Number(f64, f64),
    /// A whole number within bounds.
    Count(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of `{url, headers, secret}`.
    Targets,
    /// A list of `{name, hash, tenant, may}`.
    Tokens,
    /// A list of tenants with their budgets.
    Tenants,
    /// A list of policies.
    Policies,
}

/// One thing that may be set.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it stands, keys joined by dots.
    pub path: &'static str,
    /// What it must look like.
    pub kind: Kind,
    /// Value where nobody sets it, as one would write it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// When to change it.
    pub change_when: &'static str,
    /// Whether a reload takes it over while the service runs.
    pub live: bool,
}

const fn fixed(path: &'static str, kind: Kind, default: &'static str, doc: &'static str, change_when: &'static str) -> Field {
    Field { path, kind, default, doc, change_when, live: false }
}

const fn live(path: &'static str, kind: Kind, default: &'static str, doc: &'static str, change_when: &'static str) -> Field {
    Field { path, kind, default, doc, change_when, live: true }
}

const CERT: &str = "PEM file with the certificate, then those that vouch for it; empty = plain text. Read again within 2 s when it changes";
const KEY: &str = "PEM file with the certificate's private key";
const CLIENT_CA: &str = "PEM file with those who vouch for clients; named, every client must have a certificate (mTLS)";
const VERSION: &str = "Oldest version of TLS that is spoken";
const TLS_WHEN: &str = "other machines can reach the endpoint";
const CLIENT_CA_WHEN: &str = "clients have certificates of your own authority";
const VERSION_WHEN: &str = "all clients speak 1.3";

/// Everything that may be set, in the order of the reference page.
pub const FIELDS: &[Field] = &[
    fixed(
        "data_dir",
        Kind::Path,
        "./geophone-data",
        "Folder for the log, Parquet files, catalog and snapshots; made if missing",
        "the disk of the working folder is too small or too slow",
    ),
    fixed(
        "memory_limit",
        Kind::Size("128MiB", "1TiB"),
        "512MiB",
        "What the process stays under; beside 32 MiB for the program itself, open requests get a quarter of it, charts an eighth",
        "senders are told to wait although memory is free, or memory is scarce",
    ),
    fixed(
        "allow_unauthenticated_bind",
        Kind::Flag,
        "false",
        "Allows endpoints that are not loopback although they have neither certificates nor tokens",
        "the network itself keeps strangers out (a pod, a private network)",
    ),
    fixed(
        "receivers.otlp.protocols.grpc.endpoint",
        Kind::Address,
        "127.0.0.1:4317",
        "Where OTLP over gRPC is received",
        "another program has the port, or senders are on other machines",
    ),
    fixed(
        "receivers.otlp.protocols.http.endpoint",
        Kind::Address,
        "127.0.0.1:4318",
        "Where OTLP over HTTP is received (`/v1/traces`, `/v1/metrics`, `/v1/logs`, `/v1development/profiles`)",
        "another program has the port, or senders are on other machines",
    ),
    fixed("receivers.otlp.protocols.grpc.tls.cert_file", Kind::Text, "", CERT, TLS_WHEN),
    fixed("receivers.otlp.protocols.grpc.tls.key_file", Kind::Text, "", KEY, TLS_WHEN),
    fixed("receivers.otlp.protocols.grpc.tls.client_ca_file", Kind::Text, "", CLIENT_CA, CLIENT_CA_WHEN),
    fixed("receivers.otlp.protocols.grpc.tls.min_version", Kind::Choice(&["1.2", "1.3"]), "1.2", VERSION, VERSION_WHEN),
    fixed("receivers.otlp.protocols.http.tls.cert_file", Kind::Text, "", CERT, TLS_WHEN),
    fixed("receivers.otlp.protocols.http.tls.key_file", Kind::Text, "", KEY, TLS_WHEN),
    fixed("receivers.otlp.protocols.http.tls.client_ca_file", Kind::Text, "", CLIENT_CA, CLIENT_CA_WHEN),
    fixed("receivers.otlp.protocols.http.tls.min_version", Kind::Choice(&["1.2", "1.3"]), "1.2", VERSION, VERSION_WHEN),
    fixed(
        "receivers.otlp.max_request_size",
        Kind::Size("64KiB", "1GiB"),
        "64MiB",
        "Largest request, unpacked; a larger one is refused for good. Never more than a quarter of what `memory_limit` leaves beside the program, in which a request and its columns (about its size again) must fit; `serve` says so where that is less",
        "senders are refused as too large and cannot make smaller batches",
    ),
    fixed(
        "receivers.otlp.max_connections",
        Kind::Count(1, 100_000),
        "1024",
        "Open connections of senders at most",
        "more senders than this connect directly",
    ),
    fixed(
        "api.endpoint",
        Kind::Address,
        "127.0.0.1:8080",
        "Where the page, the API and `/metrics` are served",
        "another program has the port",
    ),
    fixed(
        "api.allowed_hosts",
        Kind::Texts,
        "[]",
        "Host names, beside IP addresses and `localhost`, under which browsers may ask for the page; all others are refused (DNS rebinding)",
        "a reverse proxy serves the page under a name",
    ),
    fixed("api.tls.cert_file", Kind::Text, "", CERT, TLS_WHEN),
    fixed("api.tls.key_file", Kind::Text, "", KEY, TLS_WHEN),
    fixed("api.tls.client_ca_file", Kind::Text, "", CLIENT_CA, CLIENT_CA_WHEN),
    fixed("api.tls.min_version", Kind::Choice(&["1.2", "1.3"]), "1.2", VERSION, VERSION_WHEN),
    live(
        "access.tokens",
        Kind::Tokens,
        "[]",
        "Known tokens, as hashes; see below. As soon as one may `send`, all senders need one; as soon as one may `read` or `act`, the page and the API ask for one",
        "other machines or other people can reach an endpoint",
    ),
    live(
        "access.tenant_header",
        Kind::Text,
        "",
        "Header (gRPC: metadata) in which senders name their tenant; heard where no token is asked for, or the token's tenant is `*`. Empty = nobody is asked",
        "one gateway sends for several tenants (`X-Scope-OrgID` is customary)",
    ),
    live(
        "access.tenants",
        Kind::Tenants,
        "[]",
        "Budgets of single tenants; see below. Who exceeds one is told when to come again",
        "one tenant can send so much that others suffer",
    ),
    live(
        "access.max_tenants",
        Kind::Count(1, 10_000),
        "100",
        "Tenants at most, listed ones included; telemetry of further ones is refused",
        "more tenants than this are named by a header",
    ),
    fixed(
        "log.durability",
        Kind::Choice(&["fsync", "os", "none"]),
        "fsync",
        "When a request is acknowledged: `fsync` = it survives a power cut, `os` = a crash of the process, `none` = nothing (kept in memory)",
        "the disk cannot keep up, or the data need not survive",
    ),
    fixed(
        "log.segment_size",
        Kind::Size("1MiB", "1GiB"),
        "64MiB",
        "A file of the log is closed at this size, and becomes Parquet",
        "many small Parquet files, or too much memory while sealing",
    ),
    fixed(
        "log.segment_age",
        Kind::Span("1s", "1h"),
        "60s",
        "A file of the log is closed at this age",
        "other programs read the Parquet files and need them sooner",
    ),
    fixed(
        "log.history",
        Kind::Size("0MiB", "1024TiB"),
        "2GiB",
        "So much of the log is kept once it is in Parquet, for `replay` of the data directory, beside `retention.size` and no longer than `retention.age`; less where the disk has no more than that left, and the first to go when it is full",
        "you compare models over a longer time, or the disk is small",
    ),
    fixed(
        "retention.age",
        Kind::Span("1m", "3650d"),
        "7d",
        "Older files are deleted, and older incidents and anomalies are no longer listed",
        "you look further back, or the disk fills",
    ),
    fixed(
        "retention.size",
        Kind::Size("16MiB", "1024TiB"),
        "10GiB",
        "The oldest files are deleted until the rest is smaller than this",
        "the disk is larger or smaller",
    ),
    fixed(
        "detection.window",
        Kind::Span("1s", "60s"),
        "10s",
        "Length of the windows in which everything is counted",
        "traffic is so thin that a window holds a handful of requests (longer), or seconds count (shorter)",
    ),
    fixed(
        "detection.delay",
        Kind::AutoSpan("0s", "10m"),
        "auto",
        "How long a window waits for its rows; `auto` learns it per sender",
        "senders buffer in bursts that `auto` does not learn",
    ),
    fixed(
        "detection.allowed_lateness",
        Kind::Span("0s", "1h"),
        "60s",
        "Rows this late still amend their window; later ones are stored and counted, not scored",
        "senders retry for longer than this",
    ),
    fixed(
        "detection.alerts_per_week",
        Kind::Number(0.01, 10_000.0),
        "5",
        "False alarms a week that you accept, all series together",
        "you miss things (more), or are woken for nothing (less)",
    ),
    fixed(
        "detection.series_max",
        Kind::Count(1, 10_000_000),
        "100000",
        "Series per tenant; further ones are folded into one that is marked `overflow`",
        "`overflow` series appear and memory is free",
    ),
    fixed(
        "detection.series_per_name_max",
        Kind::Count(1, 1_000_000),
        "2000",
        "Series per tenant, service and name",
        "an attribute with many values is worth watching value by value",
    ),
    live(
        "alerts.alertmanager",
        Kind::Targets,
        "[]",
        "Alertmanagers (v2) that are told of incidents; `url` is the base, `/api/v2/alerts` is added",
        "alerts are wanted",
    ),
    live(
        "alerts.webhook",
        Kind::Targets,
        "[]",
        "URLs that are told of incidents in the shape of Alertmanager's webhook; `url` is used as it is",
        "alerts are wanted without an Alertmanager",
    ),
    live(
        "alerts.resend_interval",
        Kind::Span("1s", "1h"),
        "60s",
        "An open incident is sent again this often, and ends by itself after three times this",
        "the receiver forgets alerts sooner",
    ),
    live("alerts.timeout", Kind::Span("100ms", "5m"), "10s", "A receiver that takes longer is tried again", "the receiver is slow"),
    live(
        "alerts.external_url",
        Kind::Text,
        "",
        "Base of the links in alerts; empty = `http://` and `api.endpoint`",
        "people reach the page under another address",
    ),
    live(
        "actions.mode",
        Kind::Choice(&["dry_run", "ask", "auto"]),
        "dry_run",
        "`dry_run` says what would be done, `ask` waits for a person, `auto` does it",
        "you have watched the dry run and trust it",
    ),
    live("actions.policies", Kind::Policies, "[]", "When to do what; see below", "something is to be done about an incident"),
    fixed(
        "models.active",
        Kind::Text,
        "default",
        "Name, name@version, or path of the folder of the model to start with; `default` is the one inside the program. What is promoted \
         later stays over restarts, until this is changed",
        "you have trained another",
    ),
    fixed(
        "models.trusted_keys",
        Kind::Texts,
        "[]",
        "minisign public keys (second line of the .pub file): with any named, a model folder must hold `card.toml.minisig` by one of them, or it is \
         neither checked, added nor loaded; the model inside the program needs none",
        "only models of your own build may score",
    ),
    fixed(
        "models.canary_percent",
        Kind::Count(1, 99),
        "10",
        "Of a hundred series, those that a canary speaks for where its start does not say otherwise",
        "a tenth is too much to risk, or too little to tell",
    ),
    fixed(
        "models.probation",
        Kind::Span("10s", "7d"),
        "30m",
        "How long (event time) a promoted model is held against the one before it, and goes back by itself",
        "traffic is so thin that half an hour says nothing",
    ),
    fixed(
        "models.rollback.alert_ratio",
        Kind::Number(1.0, 1_000.0),
        "3",
        "A canary or promoted model that alerts more than this many times as often as the other goes back",
        "the new model is meant to alert more",
    ),
    fixed(
        "models.rollback.agreement_min",
        Kind::Number(-1.0, 1.0),
        "0.1",
        "A canary or promoted model whose scores rank series less alike than this (rank correlation) goes back",
        "the new model is meant to see other things; -1 allows anything",
    ),
    fixed(
        "models.rollback.score_difference_max",
        Kind::Number(0.0, 1.0),
        "0.25",
        "A canary or promoted model whose calibrated scores differ by more than this on average goes back",
        "the new model is meant to judge otherwise; 1 allows anything",
    ),
    fixed(
        "models.rollback.latency_max",
        Kind::Span("1ms", "60s"),
        "500ms",
        "A model that takes longer than this for several of its last windows goes back",
        "there are so many series, or the machine is so slow, that a window takes longer",
    ),
    fixed(
        "profiler.enabled",
        Kind::Choice(&["auto", "true", "false"]),
        "auto",
        "Whether stacks of flagged spans are looked up; `auto` = where the kernel allows",
        "you want an error instead of silence (`true`), or no profiler at all (`false`)",
    ),
    fixed(
        "profiler.frequency",
        Kind::Count(19, 997),
        "99",
        "Samples a second on each busy CPU; a process whose spans are flagged is sampled faster for some seconds",
        "the machine must be spared even more (19), or short spans must be seen better",
    ),
    fixed(
        "profiler.off_cpu",
        Kind::Flag,
        "true",
        "Whether time asleep or waiting for a CPU is recorded too, of processes that belong to a service",
        "programs there switch between threads more than 100,000 times a second",
    ),
    fixed(
        "profiler.recording",
        Kind::Text,
        "",
        "A recorded profiler session that answers instead of the kernel; empty = none",
        "you replay an incident with the profile of that time",
    ),
    fixed(
        "profiler.export.endpoint",
        Kind::Text,
        "",
        "Where stacks of flagged spans are sent as OTLP profiles, each sample linked to its span: `http://host:4317`; empty = nowhere. \
         They are in the table `profiles` in any case",
        "a profile store or another Geophone shall have them",
    ),
    fixed(
        "profiler.export.protocol",
        Kind::Choice(&["grpc", "http"]),
        "grpc",
        "How they travel: OTLP over gRPC, or over HTTP (`/v1development/profiles` below the endpoint)",
        "the receiver speaks only one",
    ),
    fixed(
        "profiler.export.ca_file",
        Kind::Text,
        "",
        "For `https`: PEM file with who vouches for the receiver's certificate; empty = the public authorities",
        "the receiver has a certificate of your own authority",
    ),
    fixed("profiler.export.headers", Kind::Texts, "", "Header fields of each request, as `name: value`", "the receiver asks for a token"),
];

/// The field at a path.
pub(crate) fn field(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}
