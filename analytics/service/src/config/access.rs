//! The part of the configuration that says who may send, read and act: certificates, tokens, tenants.

use super::{build::Reader, spec::Problem, units::parse_size};
use geophone_ingest::{AccessRules, Limits, Right, SecretHash, TenantRule, TlsFiles, TlsVersion, TokenRule, is_tenant_name};
use geophone_proto::Tenant;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Who may do what, and how many series single tenants may have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessConfig {
    /// For the servers.
    pub rules: AccessRules,
    /// For the brain.
    pub series_of_tenant: BTreeMap<Tenant, usize>,
}

/// Certificates by door; none = plain text.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// OTLP over gRPC.
    pub grpc: Option<TlsFiles>,
    /// OTLP over HTTP.
    pub http: Option<TlsFiles>,
    /// Page and API.
    pub api: Option<TlsFiles>,
}

/// An item of `access.tokens`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSpec {
    name: String,
    hash: String,
    #[serde(default = "default_tenant")]
    tenant: String,
    #[serde(default = "may_send")]
    may: Vec<String>,
}

fn default_tenant() -> String {
    Tenant::default().0.to_string()
}

fn may_send() -> Vec<String> {
    vec!["send".into()]
}

/// An item of `access.tenants`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantSpec {
    name: String,
    requests_per_second: Option<f64>,
    items_per_second: Option<f64>,
    bytes_per_second: Option<serde_yaml_ng::Value>,
    series_max: Option<usize>,
}

impl Reader<'_> {
    /// Reads everything below `access`.
    pub(super) fn access(&mut self) -> AccessConfig {
        let tokens = self.tokens();
        let (tenants, series_of_tenant) = self.tenants();
        let header = self.text("access.tenant_header");
        let tenant_header = header.parse().ok().filter(|_| !header.is_empty());
        if tenant_header.is_none() && !header.is_empty() {
            self.problem("access.tenant_header", format!("`{header}` is not the name of a header: write `X-Scope-OrgID`"));
        }
        let tenants_max = usize::try_from(self.count("access.max_tenants")).unwrap_or(usize::MAX);
        AccessConfig { rules: AccessRules { tokens, tenant_header, tenants, tenants_max }, series_of_tenant }
    }

    /// Reads the certificates of one door; `paths` are those of the four fields.
    pub(super) fn certificates(&mut self, [cert, key, client_ca, version]: [&'static str; 4]) -> Option<TlsFiles> {
        let [cert_file, key_file, client_ca_file] =
            [cert, key, client_ca].map(|path| Some(self.text(path)).filter(|text| !text.is_empty()));
        let min_version = if self.text(version) == "1.3" { TlsVersion::V13 } else { TlsVersion::V12 };
        match (cert_file, key_file, client_ca_file) {
            (Some(cert), Some(key), client_ca) => {
                Some(TlsFiles { cert: cert.into(), key: key.into(), client_ca: client_ca.map(Into::into), min_version })
            }
            (None, None, None) => None,
            (None, ..) => {
                self.problem(cert, "is missing: a certificate, its key and those who vouch for clients go together".into());
                None
            }
            (Some(_), None, _) => {
                self.problem(key, "is missing: a certificate needs its key".into());
                None
            }
        }
    }

    fn problem(&mut self, path: impl Into<String>, message: String) {
        self.problems.push(Problem::new(path, message));
    }

    fn tokens(&mut self) -> Vec<TokenRule> {
        let path = "access.tokens";
        let specs: Vec<TokenSpec> = self.list(path);
        self.redact(path, "hash");
        let mut rules: Vec<TokenRule> = Vec::new();
        for (index, spec) in specs.into_iter().enumerate() {
            let at = |key: &str| format!("{path}[{index}].{key}");
            if spec.name.is_empty() || spec.name.contains(':') || rules.iter().any(|rule| *rule.name == *spec.name) {
                self.problem(at("name"), format!("`{}` must be a name without `:` that no other token has", spec.name));
            }
            let hash = SecretHash::parse(&spec.hash).map_err(|message| self.problem(at("hash"), message)).ok();
            let tenant = Some(spec.tenant.as_str()).filter(|tenant| *tenant != "*");
            if tenant.is_some_and(|tenant| !is_tenant_name(tenant)) {
                self.problem(at("tenant"), not_a_tenant(&spec.tenant));
            }
            let mut may = Vec::new();
            for word in &spec.may {
                match Right::ALL.into_iter().find(|right| right.as_str() == word) {
                    Some(right) => may.push(right),
                    None => self.problem(at("may"), format!("`{word}` is none of send, read, act")),
                }
            }
            let tenant = tenant.map(|tenant| Tenant(tenant.into()));
            rules.extend(hash.map(|hash| TokenRule { name: spec.name.as_str().into(), hash, tenant, may }));
        }
        rules
    }

    fn tenants(&mut self) -> (Vec<TenantRule>, BTreeMap<Tenant, usize>) {
        let path = "access.tenants";
        let specs: Vec<TenantSpec> = self.list(path);
        let (mut rules, mut series): (Vec<TenantRule>, _) = (Vec::new(), BTreeMap::new());
        for (index, spec) in specs.into_iter().enumerate() {
            let at = |key: &str| format!("{path}[{index}].{key}");
            if spec.name != "*" && !is_tenant_name(&spec.name) {
                self.problem(at("name"), not_a_tenant(&spec.name));
            }
            if rules.iter().any(|rule| rule.name == spec.name) {
                self.problem(at("name"), format!("`{}` is listed twice", spec.name));
            }
            let bytes = spec.bytes_per_second.map(|value| {
                let text = super::build::scalar(&value).unwrap_or_default();
                parse_size(&text).map_or_else(|| Err(format!("`{text}` is not a size: write `10MiB`")), |bytes| Ok(bytes as f64))
            });
            let bytes_per_second = bytes.and_then(|bytes| bytes.map_err(|message| self.problem(at("bytes_per_second"), message)).ok());
            let limits =
                Limits { requests_per_second: spec.requests_per_second, items_per_second: spec.items_per_second, bytes_per_second };
            for (key, rate) in [
                ("requests_per_second", limits.requests_per_second),
                ("items_per_second", limits.items_per_second),
                ("bytes_per_second", bytes_per_second),
            ] {
                if rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
                    self.problem(at(key), "must be more than 0; leave it out for no limit".into());
                }
            }
            match spec.series_max {
                Some(0) => self.problem(at("series_max"), "must be more than 0".into()),
                Some(_) if spec.name == "*" => {
                    self.problem(at("series_max"), "belongs to a named tenant; `detection.series_max` is that of all others".into());
                }
                Some(most) => {
                    series.insert(Tenant(spec.name.as_str().into()), most);
                }
                None => {}
            }
            rules.push(TenantRule { name: spec.name, limits });
        }
        (rules, series)
    }
}

fn not_a_tenant(name: &str) -> String {
    format!("`{name}` is not a tenant's name: 1 to 64 letters, digits, `_`, `-` or `.`, and not `unknown`")
}
