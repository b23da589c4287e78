//! Who may send, how much, over what: certificates, tokens, tenants and their budgets.
//!
//! The servers ask before they read a body; the roof asks for its API. What each tenant sent and what
//! became of it is counted in its `Account`.

mod account;
mod ledger;
mod meter;
mod roster;
mod rules;
mod secret;
#[cfg(test)]
mod tests;
mod tls;

pub use account::Traffic;
pub(crate) use account::{Account, Place};
pub use ledger::{Counts, Sums};
pub use roster::{Access, Denied, Grant};
pub use rules::{AccessRules, Limits, Right, TenantRule, TokenRule, is_tenant_name};
pub use secret::{SECRET_BYTES_MIN, SecretHash};
pub use tls::{Tls, TlsFiles, TlsVersion};
