//! Anomalies that belong together, with their cause.

use crate::{
    anomaly::{AttributeShare, Maturity, State},
    ids::Tenant,
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};

/// How bad it is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look.
    Info,
    /// Degraded.
    Warning,
    /// Users feel it.
    Critical,
}

impl Severity {
    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A candidate cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// `service.name` that owns the cause.
    pub service: String,
    /// Operation, metric or log template that carries it, or empty.
    pub operation: String,
    /// 0 to 1; all suspects of an incident add up to at most 1.
    pub confidence: f64,
    /// What speaks for it, in sentences with numbers.
    pub evidence: Vec<String>,
}

/// One change in an incident's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// When.
    pub at: UnixNanos,
    /// What: `opened`, `within_budget`, `anomaly_opened`, `anomaly_closed`, `suspects_changed`, `severity_changed`,
    /// `action_proposed`, `action_refused`, `action_approved`, `action_rejected`, `action_started`,
    /// `action_succeeded`, `action_failed`, `action_undone`, `mended`, `not_mended`, `closed`.
    pub event: String,
    /// In a sentence.
    pub detail: String,
}

/// An attribute value that carries one of an incident's anomalies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carrier {
    /// Which anomaly.
    pub anomaly_id: String,
    /// The anomaly's score.
    pub score: f64,
    /// The value, and the score without it.
    pub attribute: AttributeShare,
}

/// One thing that goes wrong, as the API shows it. All times are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Hash of the first anomaly: the same in every replay.
    pub id: String,
    /// Whose telemetry it is.
    #[serde(default)]
    pub tenant: Tenant,
    /// Open or closed.
    pub state: State,
    /// Estimated onset.
    pub started_at: UnixNanos,
    /// When it would have been alerted.
    pub opened_at: UnixNanos,
    /// End of the last anomalous window, once closed.
    pub closed_at: Option<UnixNanos>,
    /// How bad.
    pub severity: Severity,
    /// Short name: service, what, and how much.
    pub title: String,
    /// One sentence with numbers: what, where, since when, how sure, why.
    pub verdict: String,
    /// Likeliest first.
    pub suspects: Vec<Suspect>,
    /// Ids of its anomalies.
    pub anomalies: Vec<String>,
    /// Ids of its actions.
    pub actions: Vec<String>,
    /// Services with an anomaly in it, sorted.
    pub services: Vec<String>,
    /// Attribute values that carry its anomalies, the strongest of each, the most telling first.
    #[serde(default)]
    pub attributes: Vec<Carrier>,
    /// How far the least known series that it stands on is known.
    #[serde(default)]
    pub maturity: Maturity,
    /// Every change, oldest first.
    pub timeline: Vec<TimelineEvent>,
}
