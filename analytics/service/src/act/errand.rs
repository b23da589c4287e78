//! The way of one request: begun (logged), done once, outcome (logged). A request whose beginning is in
//! the log already is never done again: after a crash in between, its outcome is unknown and says so.

use crate::wiring::Submitter;
use geophone_proto::{
    RecordBody, UnixNanos,
    action::{ActionRequest, Outcome},
    seam::{Clock, Effector},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc;

/// Requests remembered, so that none is done twice.
const REMEMBERED_MAX: usize = 100_000;

/// A request, and what it waits for.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What to do.
    pub request: ActionRequest,
    /// When the record arrived that made the brain decide so.
    pub caused_at: UnixNanos,
}

/// Does requests one after the other until the channel closes. `past` is what the log held at the start.
pub fn run(mut errands: mpsc::Receiver<Errand>, mut effector: impl Effector, submitter: &Submitter, past: Past, clock: &dyn Clock) {
    let mut known = past;
    while let Some(Errand { request, caused_at }) = errands.blocking_recv() {
        let key = (request.action_id.clone(), request.is_undo);
        if known.ended.contains(&key) {
            continue;
        }
        let outcome = if known.begun.contains(&key) {
            metrics::counter!("geophone_actions_total", "outcome" => "interrupted").increment(1);
            let output = "interrupted by a restart; whether it was done is unknown".into();
            Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded: Some(false), output }
        } else {
            tracing::info!(action = %request.action_id, incident = %request.incident_id, undo = request.is_undo, operation = ?request.operation, "doing");
            let begun = Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded: None, output: String::new() };
            if let Err(error) = submitter.submit_blocking(RecordBody::Outcome(begun)) {
                // Without a trace in the log nothing is done.
                metrics::counter!("geophone_actions_total", "outcome" => "not_logged").increment(1);
                tracing::error!(action = %request.action_id, "not done, because its beginning cannot be logged: {error}");
                continue;
            }
            metrics::histogram!("geophone_action_delay_seconds").record(seconds_between(caused_at, clock.now()));
            effector.perform(&request)
        };
        let word = if outcome.succeeded == Some(true) { "succeeded" } else { "failed" };
        metrics::counter!("geophone_actions_total", "outcome" => word).increment(1);
        tracing::info!(action = %request.action_id, undo = request.is_undo, outcome = word, output = %outcome.output, "done");
        if let Err(error) = submitter.submit_blocking(RecordBody::Outcome(outcome)) {
            tracing::error!(action = %request.action_id, "its outcome cannot be logged: {error}");
        }
        known.remember(key);
    }
}

fn seconds_between(from: UnixNanos, to: UnixNanos) -> f64 {
    Duration::from_nanos(to.0.saturating_sub(from.0)).as_secs_f64()
}

/// What the log tells of requests before the start.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Begun.
    pub begun: BTreeSet<(String, bool)>,
    /// Begun and ended.
    pub ended: BTreeSet<(String, bool)>,
}

impl Past {
    /// Takes over a record of the log.
    pub fn see(&mut self, outcome: &Outcome) {
        let key = (outcome.action_id.clone(), outcome.is_undo);
        if outcome.succeeded.is_some() {
            self.remember(key);
        } else {
            self.begun.insert(key);
        }
    }

    fn remember(&mut self, key: (String, bool)) {
        if self.ended.len() >= REMEMBERED_MAX {
            self.ended.pop_first();
        }
        self.ended.insert(key);
    }
}
