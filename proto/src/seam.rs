//! The five seams. Each has a real, a fake and a failing implementation; a sixth needs a decision.

use crate::{
    action::{ActionRequest, Outcome},
    batch::Batch,
    error::Class,
    feature::FeatureFrame,
    model::ModelCard,
    stacks::{StackAnswer, StackRequest},
    time::UnixNanos,
};
use std::sync::Arc;

/// Where the wall clock is read. Implementations: the system's, a test's.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixNanos;
}

/// Changes or drops rows before the log (OTTL, WASM).
pub trait Transform: Send + Sync {
    /// The changed batch, or why not.
    fn apply(&self, batch: Batch) -> Result<Batch, SeamError>;
}

/// Pulled from another thread, it ends the call of `score` that goes on, as soon as the runtime looks at it; every
/// later call is an error at once.
pub type Brake = Arc<dyn Fn() + Send + Sync>;

/// Scores feature rows. Higher = more anomalous; any scale, calibration follows.
pub trait Model: Send {
    /// What it is; its `features` are those of the frames it takes.
    fn card(&self) -> &ModelCard;

    /// Writes one raw score per row to `scores` (cleared first): finite, or NaN where it has none.
    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError>;

    /// What ends a call that takes too long; none where nothing can.
    fn brake(&self) -> Option<Brake> {
        None
    }
}

/// Finds stacks of spans, back in time.
pub trait StackSource: Send {
    /// The answer; `stacks: None` with a note where nothing is known.
    fn stacks(&mut self, request: &StackRequest) -> Result<StackAnswer, SeamError>;
}

/// Does what the engine decided. Blocking; called on an io thread.
pub trait Effector: Send {
    /// Tries once, within the operation's own timeout.
    fn perform(&mut self, request: &ActionRequest) -> Outcome;
}

/// A failure behind a seam: what, where, what to do, and what it asks of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SeamError {
    /// What it asks of the caller.
    pub class: Class,
    /// Lower case, no full stop.
    pub message: String,
}
