//! What the operator may set, already checked. Made by the roof from its configuration.

use crate::detect::TrialBounds;
use geophone_proto::{action::Operation, ids::Tenant, incident::Severity};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Everything the brain is told before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Length of a window, 1 to 60 s.
    pub window: Duration,
    /// How long to wait for a window's rows; `None` = learn it.
    pub delay: Option<Duration>,
    /// Until when late rows amend a window.
    pub allowed_lateness: Duration,
    /// False alarms a week that the operator accepts, for all series together.
    pub alerts_per_week: f64,
    /// Series per tenant at most.
    pub series_per_tenant_max: usize,
    /// The same for tenants that have a budget of their own.
    pub series_of_tenant: BTreeMap<Tenant, usize>,
    /// Series per tenant, service and name at most.
    pub series_per_name_max: usize,
    /// Memory for rows that are kept to tell which attribute values carry an anomaly.
    pub attribute_bytes_max: usize,
    /// When a model on trial goes back by itself.
    pub trial: TrialBounds,
    /// What may be done.
    pub action_mode: ActionMode,
    /// When to do what.
    pub policies: Vec<Policy>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            delay: None,
            allowed_lateness: Duration::from_secs(60),
            alerts_per_week: 5.0,
            series_per_tenant_max: 100_000,
            series_of_tenant: BTreeMap::new(),
            series_per_name_max: 2_000,
            attribute_bytes_max: 32 << 20,
            trial: TrialBounds::default(),
            action_mode: ActionMode::DryRun,
            policies: Vec::new(),
        }
    }
}

/// How far actions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    /// Say what would be done.
    #[default]
    DryRun,
    /// Wait for a person.
    Ask,
    /// Do it.
    Auto,
}

/// One rule: when an incident looks like this, do that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Name, unique.
    pub name: String,
    /// When.
    #[serde(default)]
    pub when: When,
    /// What.
    #[serde(rename = "do")]
    pub operation: Operation,
    /// What takes it back.
    #[serde(default)]
    pub undo: Option<Operation>,
    /// Within this the same detector must see it mended, else `undo`.
    #[serde(default = "two_minutes", with = "geophone_proto::action::millis")]
    pub verify_within: Duration,
    /// Not again before this.
    #[serde(default = "ten_minutes", with = "geophone_proto::action::millis")]
    pub cooldown: Duration,
    /// At most so often an hour.
    #[serde(default = "three")]
    pub max_per_hour: u32,
}

/// Conditions, all of which must hold; an absent one holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The first suspect's service.
    #[serde(default)]
    pub suspect: Option<String>,
    /// The first suspect's operation.
    #[serde(default)]
    pub operation: Option<String>,
    /// The first suspect's confidence is at least this.
    #[serde(default)]
    pub min_confidence: f64,
    /// The incident's severity is one of these.
    #[serde(default)]
    pub severity: Vec<Severity>,
}

const fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

const fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

const fn three() -> u32 {
    3
}
