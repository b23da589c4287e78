//! Alertmanager's API v2: what is posted and what it says of our alerts. Bodies only; `courier` sends.

use super::notice::Notice;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where alerts are posted.
pub fn post_url(base: &str) -> String {
    format!("{}/api/v2/alerts", base.trim_end_matches('/'))
}

/// Where our own alerts are read back, suppressed ones included.
pub fn read_url(base: &str) -> String {
    format!("{}/api/v2/alerts?filter=detector%3D%22geophone%22", base.trim_end_matches('/'))
}

/// The body: an array of alerts.
pub fn body(notices: &[Notice]) -> Vec<u8> {
    serde_json::to_vec(notices).unwrap_or_default()
}

/// An alert as Alertmanager tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Told {
    /// Labels as we sent them.
    pub labels: BTreeMap<String, String>,
    /// What became of it.
    pub status: ToldStatus,
}

/// What became of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldStatus {
    /// `active`, `suppressed` or `unprocessed`.
    pub state: String,
    /// Ids of silences.
    #[serde(default)]
    pub silenced_by: Vec<String>,
    /// Fingerprints of inhibiting alerts.
    #[serde(default)]
    pub inhibited_by: Vec<String>,
}

/// Reads the answer of `read_url`.
pub fn read(body: &[u8]) -> Result<Vec<Told>, String> {
    serde_json::from_slice(body).map_err(|error| format!("not Alertmanager's answer: {error}"))
}
