//! Finds out who asks and what they may: token, tenant, account. The one place that looks at
//! `authorization`; what it holds is never logged.

use super::{
    account::{Account, Traffic},
    rules::{AccessRules, Right, TokenRule, UNKNOWN, is_tenant_name},
    secret::digest,
};
use crate::json::from_base64;
use geophone_proto::Tenant;
use http::{HeaderMap, header::AUTHORIZATION};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Credentials that were found right are remembered, by hash, so that many tokens cost no more than one.
const REMEMBERED_MAX: usize = 4096;

/// Who may do what, and what each tenant did. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    roster: RwLock<Arc<Roster>>,
    accounts: Mutex<BTreeMap<Tenant, Arc<Account>>>,
    /// Whether there is more than one; spares the lock.
    is_shared: AtomicBool,
    /// Those who could not say who they are.
    strangers: Arc<Account>,
}

#[derive(Debug, Default)]
struct Roster {
    rules: AccessRules,
    /// Place of the token by the hash of the credentials.
    right_before: Mutex<HashMap<[u8; 32], usize>>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// Name of the token; `None` where none was asked for.
    pub token: Option<Arc<str>>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows who asks: 401.
    Unauthenticated(&'static str),
    /// It is known, and not allowed: 403.
    Forbidden(String),
}

impl Default for Access {
    fn default() -> Self {
        Self::new(AccessRules::default())
    }
}

impl Access {
    /// The value of `www-authenticate` beside a 401.
    pub const CHALLENGE: &str = "Basic realm=\"geophone\", charset=\"UTF-8\", Bearer realm=\"geophone\"";

    /// Under these rules.
    pub fn new(rules: AccessRules) -> Self {
        let strangers = Arc::new(Account::new(Tenant(UNKNOWN.into()), super::Limits::default()));
        let access =
            Self(Arc::new(Inner { roster: RwLock::default(), accounts: Mutex::default(), is_shared: AtomicBool::new(false), strangers }));
        access.replace(rules);
        access
    }

    /// Other rules from now on; what was counted stays.
    pub fn replace(&self, rules: AccessRules) {
        let mut accounts = self.accounts();
        for tenant in rules.known() {
            accounts.entry(tenant.clone()).or_insert_with(|| Arc::new(Account::new(tenant, super::Limits::default())));
        }
        accounts.iter().for_each(|(tenant, account)| account.limit(rules.limits_of(&tenant.0)));
        self.0.is_shared.store(accounts.len() > 1, Ordering::Relaxed);
        drop(accounts);
        *self.0.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Roster { rules, right_before: Mutex::default() });
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<Tenant, Arc<Account>>> {
        // The map stays whole whatever panics: each change is one call.
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.0.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a token is asked for.
    pub fn asks_for(&self, right: Right) -> bool {
        self.roster().rules.asks_for(right)
    }

    /// Finds out who asks.
    pub fn identify(&self, headers: &HeaderMap, right: Right) -> Result<Grant, Denied> {
        let roster = self.roster();
        let token = if roster.rules.asks_for(right) { Some(roster.token(headers, right)?) } else { None };
        let tenant = roster.tenant(headers, token)?;
        Ok(Grant { tenant, token: token.map(|token| token.name.clone()) })
    }

    /// The account of a tenant; made at its first request, as long as there are not too many.
    pub(crate) fn account(&self, tenant: &Tenant) -> Result<Arc<Account>, Denied> {
        let roster = self.roster();
        let mut accounts = self.accounts();
        if let Some(account) = accounts.get(tenant) {
            return Ok(Arc::clone(account));
        }
        let tenants_max = roster.rules.tenants_max;
        if accounts.len() >= tenants_max {
            return Err(Denied::Forbidden(format!(
                "tenant `{}` would be one more than {tenants_max}, name a known one or raise the limit",
                tenant.0
            )));
        }
        let account = Arc::new(Account::new(tenant.clone(), roster.rules.limits_of(&tenant.0)));
        accounts.insert(tenant.clone(), Arc::clone(&account));
        self.0.is_shared.store(accounts.len() > 1, Ordering::Relaxed);
        Ok(account)
    }

    /// The account of those who are not known.
    pub(crate) fn strangers(&self) -> Arc<Account> {
        Arc::clone(&self.0.strangers)
    }

    /// Whether memory is shared by several tenants.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.is_shared.load(Ordering::Relaxed)
    }

    fn everybody(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts();
        accounts.values().chain([&self.0.strangers]).cloned().collect()
    }

    /// Hands what has been counted to the recorder of metrics. Call it before every look at them, one
    /// look at a time: then every line is shown as it was at one moment.
    pub fn publish(&self) {
        self.everybody().iter().for_each(|account| account.publish());
    }

    /// What each tenant sent and what became of it.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.everybody().iter().flat_map(|account| account.traffic().collect::<Vec<_>>()).collect()
    }
}

impl Roster {
    fn token(&self, headers: &HeaderMap, right: Right) -> Result<&TokenRule, Denied> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = all.next() else {
            return Err(Denied::Unauthenticated("no token came, send `authorization: Bearer TOKEN`"));
        };
        if all.next().is_some() {
            return Err(Denied::Unauthenticated("more than one `authorization` came, send one"));
        }
        let key = digest(b"", value.as_bytes());
        let mut right_before = self.right_before.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match right_before.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.find(value.as_bytes())?;
                if right_before.len() < REMEMBERED_MAX {
                    right_before.insert(key, place);
                }
                place
            }
        };
        drop(right_before);
        let token = &self.rules.tokens[place];
        if token.allows(right) {
            Ok(token)
        } else {
            Err(Denied::Forbidden(format!("token `{}` does not allow to {}", token.name, right.as_str())))
        }
    }

    /// Compares with every token, so that the time tells nothing about which.
    fn find(&self, value: &[u8]) -> Result<usize, Denied> {
        let credentials = Credentials::read(value).ok_or(Denied::Unauthenticated(
            "`authorization` is not understood, send `Bearer TOKEN` or `Basic` with the token's name and the token",
        ))?;
        let mut found = None;
        for (place, token) in self.rules.tokens.iter().enumerate() {
            let is_named = credentials.user.as_ref().is_none_or(|user| *user == *token.name);
            if token.hash.matches(&credentials.secret) & is_named {
                found = Some(place);
            }
        }
        found.ok_or(Denied::Unauthenticated("this token is not known here"))
    }

    fn tenant(&self, headers: &HeaderMap, token: Option<&TokenRule>) -> Result<Tenant, Denied> {
        let named = self.rules.tenant_header.as_ref().and_then(|name| headers.get(name)).map(|value| value.to_str().unwrap_or_default());
        let own = token.and_then(|token| token.tenant.clone());
        match (own, named) {
            (Some(own), None) => Ok(own),
            (Some(own), Some(named)) if *own.0 == *named => Ok(own),
            (Some(own), Some(_)) => Err(Denied::Forbidden(format!("this token is for the tenant `{}` only", own.0))),
            (None, None) => Ok(Tenant::default()),
            (None, Some(named)) if is_tenant_name(named) => Ok(Tenant(named.into())),
            (None, Some(_)) => {
                Err(Denied::Forbidden("the tenant's name must be 1 to 64 letters, digits, `_`, `-` or `.`, and not `unknown`".into()))
            }
        }
    }
}

/// What `authorization` holds.
struct Credentials {
    user: Option<String>,
    secret: Vec<u8>,
}

impl Credentials {
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self { user: None, secret: rest.as_bytes().to_vec() });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(from_base64(rest)?).ok()?;
        let (user, secret) = pair.split_once(':')?;
        Some(Self { user: Some(user.to_owned()), secret: secret.as_bytes().to_vec() })
    }
}
