//! What the operator allows, already checked. Made by the roof from its configuration.

use super::secret::SecretHash;
use geophone_proto::Tenant;
use http::HeaderName;
use std::sync::Arc;

/// Who may do what.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRules {
    /// Known tokens. A door for which there is none is open to all.
    pub tokens: Vec<TokenRule>,
    /// Header in which senders say whose telemetry it is; `None` = they are not asked.
    pub tenant_header: Option<HeaderName>,
    /// Budgets by tenant; the name `*` stands for all that are not listed.
    pub tenants: Vec<TenantRule>,
    /// Tenants at most; telemetry of further ones is refused.
    pub tenants_max: usize,
}

impl Default for AccessRules {
    /// Everything to everybody, all of it the tenant `default`'s.
    fn default() -> Self {
        Self { tokens: Vec::new(), tenant_header: None, tenants: Vec::new(), tenants_max: 100 }
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRule {
    /// Its name: the user of basic authentication, and what logs say.
    pub name: Arc<str>,
    /// What it is compared with.
    pub hash: SecretHash,
    /// Whose telemetry it brings; `None` = the header may say.
    pub tenant: Option<Tenant>,
    /// What it allows.
    pub may: Vec<Right>,
}

impl TokenRule {
    /// Who may act may read.
    pub(super) fn allows(&self, right: Right) -> bool {
        self.may.contains(&right) || right == Right::Read && self.may.contains(&Right::Act)
    }
}

/// What a token can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Send telemetry.
    Send,
    /// Read everything: page, API, SQL, metrics.
    Read,
    /// Decide: approve, reject, change.
    Act,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Send, Self::Read, Self::Act];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

/// What one tenant may send.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantRule {
    /// Its name, or `*`.
    pub name: String,
    /// How much.
    pub limits: Limits,
}

/// Sums over a second; `None` = no limit. A burst of one second's worth is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Requests.
    pub requests_per_second: Option<f64>,
    /// Spans, data points, log records, samples.
    pub items_per_second: Option<f64>,
    /// Bytes, unpacked.
    pub bytes_per_second: Option<f64>,
}

/// Names become labels, columns and folders: letters, digits, `_`, `-` and `.`, at most 64.
pub fn is_tenant_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(fits) && name != UNKNOWN && !name.starts_with('.')
}

/// What counters call a sender whose tenant is not known.
pub(super) const UNKNOWN: &str = "unknown";

impl AccessRules {
    /// Whether a token is asked for: as soon as there is one for this door. Who may act comes through
    /// the same door as who may read, so a token for either closes both.
    pub fn asks_for(&self, right: Right) -> bool {
        let opens = |token: &TokenRule| match right {
            Right::Send => token.may.contains(&Right::Send),
            Right::Read | Right::Act => token.allows(Right::Read),
        };
        self.tokens.iter().any(opens)
    }

    /// The budgets of a tenant.
    pub(super) fn limits_of(&self, tenant: &str) -> Limits {
        let named = |name: &str| self.tenants.iter().find(|rule| rule.name == name);
        named(tenant).or_else(|| named("*")).map(|rule| rule.limits).unwrap_or_default()
    }

    /// Tenants that are known before they send.
    pub(super) fn known(&self) -> impl Iterator<Item = Tenant> {
        let listed = self.tenants.iter().filter(|rule| rule.name != "*").map(|rule| Tenant(rule.name.as_str().into()));
        listed.chain(self.tokens.iter().filter(|token| token.allows(Right::Send)).filter_map(|token| token.tenant.clone()))
    }
}
