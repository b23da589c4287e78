//! What the brain asks for. Data only: no callbacks, no handles. Every outcome comes back as a record.

use crate::{
    action::{Action, ActionRequest},
    anomaly::{Anomaly, Maturity},
    feature::FeatureFrame,
    incident::Incident,
    model::{LineUp, ModelRef, Role},
    series::Series,
    stacks::StackRequest,
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing to store, show or do. Replaying the same records gives the same effects: receivers
/// treat anomalies, incidents, actions and windows as the newest version of that id.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A series was seen for the first time.
    SeriesSeen(Arc<Series>),
    /// A window was scored, or (same `at`, only some series) scored again after late rows.
    Window(Arc<ScoredWindow>),
    /// No window that ends at or before this will change any more.
    Settled(UnixNanos),
    /// New version of an anomaly.
    Anomaly(Box<Anomaly>),
    /// New version of an incident.
    Incident(Box<Incident>),
    /// New version of an action.
    Action(Box<Action>),
    /// Do this now.
    Perform(Box<ActionRequest>),
    /// Look up stacks.
    WantStacks(Box<StackRequest>),
    /// Which models score from here on, and how those on trial do.
    LineUp(Box<LineUp>),
    /// A model should go; comes again while it should. The answer is a record.
    WantRollback {
        /// Which.
        model: ModelRef,
        /// Why.
        reason: String,
    },
    /// The false-alarm budget: what was promised and what came.
    Budget(BudgetState),
    /// Add to a counter of the engine: name and label value, as they appear in `/metrics`.
    Count {
        /// Metric name.
        name: &'static str,
        /// Value of the label `reason`, or empty.
        reason: &'static str,
        /// By how much.
        by: u64,
    },
}

/// What was promised and what came: incidents that opened, faults included, as the brain cannot know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetState {
    /// End of the newest window.
    pub at: UnixNanos,
    /// End of the first one.
    pub since: UnixNanos,
    /// False alarms a week that the operator accepts.
    pub promised_per_week: f64,
    /// Promised since the beginning: the same by the time seen.
    pub promised: f64,
    /// Incidents opened since the beginning.
    pub opened: u64,
    /// Of these, beyond doubt: not taken off the budget.
    pub confirmed: u64,
    /// Incidents opened in the week up to `at`.
    pub last_week: u64,
    /// Time seen, in weeks.
    pub weeks: f64,
    /// Strength from which on one series opens an incident by itself; none while out of reach.
    pub bar: Option<f64>,
}

/// Features, scores and bands of one window. All vectors have one entry per row of `features`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoredWindow {
    /// Features; `features.at` is the end of the window.
    pub features: FeatureFrame,
    /// Length of the window.
    pub window_ns: u64,
    /// Who scored.
    pub model: ModelRef,
    /// What other models said, or say instead of it.
    pub parts: Vec<Part>,
    /// The model's output; NaN while a series learns.
    pub raw: Vec<f32>,
    /// Calibrated, 0 to 1; NaN while a series learns.
    pub score: Vec<f32>,
    /// Measured; NaN where nothing was.
    pub actual: Vec<f64>,
    /// Expected; NaN where unknown.
    pub expected: Vec<f64>,
    /// Lower end of the band; NaN where unknown.
    pub lower: Vec<f64>,
    /// Upper end of the band; NaN where unknown.
    pub upper: Vec<f64>,
    /// How far each series is known.
    pub maturity: Vec<Maturity>,
}

/// Rows of a window that another model scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub model: ModelRef,
    /// Speaks instead of the window's model (`Active` where that one failed, `Canary`), or is only noted.
    pub role: Role,
    /// Rows, ascending.
    pub rows: Vec<u32>,
    /// Of a shadow: its output for each of `rows`. Empty for those who speak: theirs stand in the window.
    pub raw: Vec<f32>,
    /// Of a shadow: calibrated.
    pub score: Vec<f32>,
}

impl ScoredWindow {
    /// Who speaks for a row, and in which part.
    pub fn speaker(&self, row: usize) -> (&ModelRef, Role) {
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        let speaks = |part: &&Part| part.role != Role::Shadow && part.rows.binary_search(&row).is_ok();
        self.parts.iter().find(speaks).map_or((&self.model, Role::Active), |part| (&part.model, part.role))
    }
}
