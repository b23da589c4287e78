//! Hop 8: each effect to those who store, show, do or look up. Order of the log, one thread.
//!
//! Nothing waits here for the world outside: actions and stacks go through bounded queues to their own
//! threads, alerts are read off the view.

use super::{memory::Saving, pulse::Pulse, submit::Submitter};
use crate::{act::Errand, models::Registry, view::View};
use geophone_proto::{
    Effect, RecordBody, Seq, UnixNanos,
    action::{ActionRequest, ActionState, Outcome},
    model::{ModelRef, ModelStep},
    stacks::StackRequest,
};
use geophone_store::{Log, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
};
use tokio::sync::mpsc;

/// Actions remembered as handed on.
const HANDED_ON_MAX: usize = 100_000;

/// What the brain's thread hands on.
#[derive(Debug)]
pub enum Work {
    /// Effects of one record, and when it arrived.
    Effects(UnixNanos, Vec<Effect>),
    /// Everything that was in the log at the start has been stepped.
    CaughtUp,
    /// Everything up to here has been handed on: keep this.
    Save(Saving),
}

/// What the thread needs.
pub struct Dispatcher {
    /// From the brain.
    pub work: Receiver<Work>,
    /// Keeps what was derived.
    pub store: Arc<Store>,
    /// Who keeps the brain's memory: writing it takes longer than an action may wait.
    pub keeper: SyncSender<Saving>,
    /// Shows.
    pub view: Arc<View>,
    /// Does.
    pub actions: mpsc::Sender<Errand>,
    /// Looks up stacks; none where there is no profiler.
    pub stacks: Option<mpsc::Sender<StackRequest>>,
    /// Told when everything of before the start has been seen.
    pub pulse: Arc<Pulse>,
    /// Keeps who scores.
    pub models: Arc<Registry>,
    /// For outcomes that nobody else will report, and for models that have to go.
    pub submitter: Submitter,
}

/// What must be known from one piece of work to the next.
#[derive(Default)]
struct Progress {
    /// Ids of actions that were handed on since the start.
    handed_on: BTreeSet<String>,
    /// While the brain steps what the log held at the start, it tells again what was told before the
    /// restart: only the newest version of each id is taken, at the end, so that nothing shown goes back.
    held: BTreeMap<String, Effect>,
    is_caught_up: bool,
}

impl Dispatcher {
    /// Runs until the brain's thread has ended.
    pub fn run(self) {
        let mut progress = Progress::default();
        while let Ok(work) = self.work.recv() {
            match work {
                Work::Effects(at, effects) => effects.into_iter().for_each(|effect| self.hand_on(at, effect, &mut progress)),
                Work::CaughtUp => {
                    self.take_held(&mut progress);
                    progress.is_caught_up = true;
                    self.pulse.set_caught_up(true);
                    self.end_the_interrupted(&progress.handed_on);
                }
                Work::Save(saving) => {
                    self.take_held(&mut progress);
                    // Waits where the one before is still being written. The keeper outlives this thread.
                    if self.keeper.send(saving).is_err() {
                        metrics::counter!("geophone_brain_snapshots_failed_total").increment(1);
                    }
                }
            }
        }
    }

    fn hand_on(&self, at: UnixNanos, effect: Effect, progress: &mut Progress) {
        if !progress.is_caught_up
            && let Some(id) = versioned(&effect)
        {
            progress.held.insert(id.to_owned(), effect);
            return;
        }
        match &effect {
            Effect::Perform(request) => {
                progress.handed_on.insert(request.action_id.clone());
                if progress.handed_on.len() > HANDED_ON_MAX {
                    progress.handed_on.pop_first();
                }
                self.perform(at, request);
            }
            Effect::WantStacks(request) => self.want_stacks(request),
            Effect::LineUp(line_up) => self.models.keep_line_up(line_up),
            // While the log of before a restart is read, its own records tell what was done about it.
            Effect::WantRollback { model, reason } if progress.is_caught_up => self.roll_back(model, reason),
            Effect::Count { name, reason: "", by } => metrics::counter!(*name).increment(*by),
            Effect::Count { name, reason, by } => metrics::counter!(*name, "reason" => *reason).increment(*by),
            _ => {}
        }
        self.keep(&effect);
    }

    fn keep(&self, effect: &Effect) {
        self.store.observe(effect);
        self.view.apply(effect);
    }

    fn take_held(&self, progress: &mut Progress) {
        std::mem::take(&mut progress.held).values().for_each(|effect| self.keep(effect));
    }

    fn perform(&self, caused_at: UnixNanos, request: &ActionRequest) {
        if let Err(error) = self.actions.try_send(Errand { request: request.clone(), caused_at }) {
            metrics::counter!("geophone_actions_refused_total", "reason" => "queue_full").increment(1);
            tracing::error!(action = %request.action_id, "not done: {error}");
            self.report(request.action_id.clone(), request.is_undo, "not begun: too many actions wait");
        }
    }

    fn want_stacks(&self, request: &StackRequest) {
        let Some(stacks) = &self.stacks else { return };
        if stacks.try_send(request.clone()).is_err() {
            metrics::counter!("geophone_stack_requests_dropped_total", "reason" => "queue_full").increment(1);
        }
    }

    /// Through the log; asked for again by the next window where there is no room.
    fn roll_back(&self, model: &ModelRef, reason: &str) {
        if !self.models.is_to_leave(model) {
            return;
        }
        tracing::warn!("model {}@{} goes: {reason}", model.name, model.version);
        let step = ModelStep::Rollback { model: model.clone(), reason: reason.to_owned() };
        if !self.submitter.submit_unwatched(RecordBody::Model(step)) {
            self.models.stays(model);
            metrics::counter!("geophone_models_rollbacks_lost_total").increment(1);
        }
    }

    /// Actions that ran when the process ended, and that no record of the log can hand on again.
    fn end_the_interrupted(&self, handed_on: &BTreeSet<String>) {
        let page = crate::view::Page { after: None, limit: 1_000 };
        let running = |state| matches!(state, ActionState::Running | ActionState::Undoing);
        let (interrupted, _) = self.view.actions(&page, |action| running(action.state) && !handed_on.contains(&action.id));
        for action in interrupted {
            self.report(
                action.id.clone(),
                action.state == ActionState::Undoing,
                "interrupted by a restart; whether it was done is unknown",
            );
        }
    }

    /// Through the log like any outcome. Not waited for: this thread must go on for the committer's reader.
    fn report(&self, action_id: String, is_undo: bool, why: &str) {
        let outcome = Outcome { action_id, is_undo, succeeded: Some(false), output: why.into() };
        if !self.submitter.submit_unwatched(RecordBody::Outcome(outcome)) {
            metrics::counter!("geophone_actions_refused_total", "reason" => "outcome_lost").increment(1);
        }
    }
}

/// Writes what the brain knows, each time everything before it was stored. Windows that came to the store since
/// are written with it: replay brings them once more, and they are the same.
pub fn keep(memories: &Receiver<Saving>, store: &Store, log: &Log) {
    while let Ok(saving) = memories.recv() {
        let Some(last) = saving.next.0.checked_sub(1) else { continue };
        match store.snapshot_write(Seq(last), &mut |sink| saving.write(sink)) {
            Ok(()) => log.release(Seq(last)),
            Err(error) => {
                metrics::counter!("geophone_brain_snapshots_failed_total").increment(1);
                tracing::error!("the brain's snapshot was not written, the log keeps what it needs: {error}");
            }
        }
    }
}

/// The id of what has versions.
fn versioned(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Incident(incident) => Some(&incident.id),
        Effect::Anomaly(anomaly) => Some(&anomaly.id),
        Effect::Action(action) => Some(&action.id),
        _ => None,
    }
}
