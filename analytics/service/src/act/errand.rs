//! The way of one request: begun (logged), done once, outcome (logged). A request whose beginning is in
//! the log already is never done again: after a crash in between, its outcome is unknown and says so.

use crate::wiring::Submitter;
use geophone_proto::{
    RecordBody, UnixNanos,
    action::{ActionRequest, Outcome},
    seam::{Clock, Effector},
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
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

/// Does requests until the channel closes, as many at once as there are effectors: a slow action of one incident
/// does not hold up another's. `past` is what the log held at the start.
pub fn run<E: Effector>(errands: mpsc::Receiver<Errand>, effectors: Vec<E>, submitter: &Submitter, past: Past, clock: &dyn Clock) {
    let desk = Desk { errands: Mutex::new(errands), past: Mutex::new(past), submitter, clock };
    std::thread::scope(|scope| {
        for mut effector in effectors {
            let desk = &desk;
            scope.spawn(move || while desk.serve(&mut effector) {});
        }
    });
}

/// What those who do requests share.
struct Desk<'a> {
    errands: Mutex<mpsc::Receiver<Errand>>,
    past: Mutex<Past>,
    submitter: &'a Submitter,
    clock: &'a dyn Clock,
}

impl Desk<'_> {
    /// Does the next request; false once there are no more.
    fn serve(&self, effector: &mut impl Effector) -> bool {
        let Some(errand) = locked(&self.errands).blocking_recv() else { return false };
        let request = &errand.request;
        let key = (request.action_id.clone(), request.is_undo);
        let claim = locked(&self.past).claim(&key);
        let outcome = match claim {
            Claim::Twin => return true,
            Claim::Interrupted => {
                metrics::counter!("geophone_actions_total", "outcome" => "interrupted").increment(1);
                let output = "interrupted by a restart; whether it was done is unknown".into();
                Some(Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded: Some(false), output })
            }
            Claim::New => self.perform(&errand, effector),
        };
        match outcome {
            Some(outcome) => {
                self.report(outcome);
                locked(&self.past).remember(key);
            }
            None => locked(&self.past).give_up(&key),
        }
        true
    }

    /// Logs the beginning, then does it. Without a trace in the log nothing is done.
    fn perform(&self, Errand { request, caused_at }: &Errand, effector: &mut impl Effector) -> Option<Outcome> {
        tracing::info!(action = %request.action_id, incident = %request.incident_id, undo = request.is_undo, operation = ?request.operation, "doing");
        let begun = Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded: None, output: String::new() };
        if let Err(error) = self.submitter.submit_blocking(RecordBody::Outcome(begun)) {
            metrics::counter!("geophone_actions_total", "outcome" => "not_logged").increment(1);
            tracing::error!(action = %request.action_id, "not done, because its beginning cannot be logged: {error}");
            return None;
        }
        metrics::histogram!("geophone_action_delay_seconds").record(seconds_between(*caused_at, self.clock.now()));
        Some(effector.perform(request))
    }

    fn report(&self, outcome: Outcome) {
        let word = if outcome.succeeded == Some(true) { "succeeded" } else { "failed" };
        metrics::counter!("geophone_actions_total", "outcome" => word).increment(1);
        tracing::info!(action = %outcome.action_id, undo = outcome.is_undo, outcome = word, output = %outcome.output, "done");
        let action = outcome.action_id.clone();
        if let Err(error) = self.submitter.submit_blocking(RecordBody::Outcome(outcome)) {
            tracing::error!(%action, "its outcome cannot be logged: {error}");
        }
    }
}

/// Each change of what is behind it is one call: it is whole whatever panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds_between(from: UnixNanos, to: UnixNanos) -> f64 {
    Duration::from_nanos(to.0.saturating_sub(from.0)).as_secs_f64()
}

type Key = (String, bool);

/// Whether a request may be done.
enum Claim {
    New,
    /// It was begun before the start, and nobody knows how it went on.
    Interrupted,
    /// It has ended, or another does it now.
    Twin,
}

/// What the log tells of requests before the start, and what has become of them since.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Begun before the start.
    begun: BTreeSet<Key>,
    /// Begun since.
    under_way: BTreeSet<Key>,
    /// Begun and ended.
    ended: BTreeSet<Key>,
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

    fn claim(&mut self, key: &Key) -> Claim {
        if self.ended.contains(key) || self.under_way.contains(key) {
            return Claim::Twin;
        }
        if self.begun.contains(key) {
            return Claim::Interrupted;
        }
        self.under_way.insert(key.clone());
        Claim::New
    }

    /// It was not begun after all: asked again, it may be done.
    fn give_up(&mut self, key: &Key) {
        self.under_way.remove(key);
    }

    fn remember(&mut self, key: Key) {
        self.under_way.remove(&key);
        if self.ended.len() >= REMEMBERED_MAX {
            self.ended.pop_first();
        }
        self.ended.insert(key);
    }
}
