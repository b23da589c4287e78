//! Hops 5 to 7: one plain thread pulls records from the log, steps the brain and hands on its effects.
//!
//! State = fold(log): after a panic the brain is made again from its newest snapshot and the log. A record
//! that panics twice is left out, kept aside for us to look at, and counted.

use super::{
    dispatcher::Work,
    memory::{self, Mouth, Through},
    pulse::Pulse,
    submit::Submitter,
};
use crate::error::ServiceError;
use geophone_engine::{Brain, Settings};
use geophone_proto::{
    Effect, Record, RecordBody, Seq, UnixNanos,
    model::{LineUp, ModelRef, ModelStep},
    seam::{Clock, Model},
};
use geophone_store::{Log, LogReader};
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

/// How long the reader waits before looking at the stop sign.
const PATIENCE: Duration = Duration::from_millis(200);
/// A snapshot is taken this often, if anything was learnt, but where it takes long, only so often that the brain
/// thinks for most of the time: this many times as long as the last one took.
const SNAPSHOT_NS: u64 = 60_000_000_000;
const SNAPSHOT_SHARE: u64 = 100;
/// A snapshot that is due begins right after a window was closed, so that it is over before the next one; where none
/// closes, after so long.
const SNAPSHOT_WAIT_NS: u64 = 15_000_000_000;

/// Gives a model to score with, by name, version and hash; again after a panic.
pub type TakeModel = Arc<dyn Fn(&ModelRef) -> Result<Box<dyn Model>, ServiceError> + Send + Sync>;

/// Which models there are, as far as this thread needs them.
#[derive(Clone)]
pub struct Models {
    /// Gives them.
    pub take: TakeModel,
    /// The one that the configuration names.
    pub start: ModelRef,
    /// Where a rollback leads when there was none before.
    pub refuge: ModelRef,
    /// Who scored when that was last written outside of log and snapshot.
    pub kept: Option<LineUp>,
}

/// A brain as bytes, and the position after the last record in it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Position of the next record.
    pub next: Seq,
    /// `Brain::snapshot`; empty = knows nothing.
    pub bytes: Arc<Vec<u8>>,
}

/// Reads back what was kept; the newest should end before this position.
pub type Recall = Arc<dyn Fn(Seq) -> Memory + Send + Sync>;

/// What the thread needs.
pub struct Thinker {
    /// Where records come from.
    pub log: Arc<Log>,
    /// What the brain is told before it starts.
    pub settings: Settings,
    /// Models.
    pub models: Models,
    /// For the record that another model is named now.
    pub submitter: Submitter,
    /// Where effects go; waits while the dispatcher is busy.
    pub work: SyncSender<Work>,
    /// New settings, taken over between two records.
    pub reloads: std::sync::mpsc::Receiver<Settings>,
    /// How far we are.
    pub pulse: Arc<Pulse>,
    /// Whatever was kept last.
    pub recall: Recall,
    /// For the time of snapshots.
    pub clock: Arc<dyn Clock>,
    /// Turned when no more records will come.
    pub stop: Arc<AtomicBool>,
    /// End of the log at the start.
    pub caught_up_at: Seq,
    /// Where records that the brain cannot take are described.
    pub quarantine: Option<PathBuf>,
}

/// Where the brain stands between two records.
struct Stand {
    brain: Brain,
    reader: LogReader,
    /// Position after the last record in the newest memory.
    saved: Seq,
    /// Of the newest memory: whether it is on the disk by now.
    through: Option<Through>,
    saved_at: u64,
    /// How long the last snapshot took.
    took_ns: u64,
    panicked: BTreeSet<Seq>,
    skipped: BTreeSet<Seq>,
    has_told_caught_up: bool,
    /// The last step closed a window.
    has_closed: bool,
    /// There may be something to draft; and drafting has panicked, so that it is left alone.
    may_draft: bool,
    has_stumbled: bool,
}

impl Thinker {
    /// Makes a brain from a memory; one that cannot be read gives an empty brain.
    pub fn remember(&self, memory: &Memory) -> Result<Brain, ServiceError> {
        if !memory.bytes.is_empty() {
            match self.restore(&memory.bytes) {
                Ok(brain) => return Ok(brain),
                Err(error) => {
                    metrics::counter!("geophone_brain_snapshots_refused_total").increment(1);
                    tracing::warn!("the brain starts anew: {error}");
                }
            }
        }
        // The log no longer tells who scored before it begins.
        let kept = (memory.next > Seq(1)).then(|| self.models.kept.clone()).flatten();
        let kept = kept.and_then(|line_up| Some((self.take(&line_up.active)?, line_up)));
        let mut brain = match kept {
            Some((model, line_up)) => Brain::with_line_up(self.settings.clone(), model, line_up),
            None => Brain::new(self.settings.clone(), self.start_model()?),
        };
        brain.set_refuge(self.models.refuge.clone());
        Ok(brain)
    }

    fn restore(&self, bytes: &[u8]) -> Result<Brain, ServiceError> {
        let restored = Brain::restore(self.settings.clone(), self.start_model()?, bytes);
        let mut brain = restored.map_err(|error| ServiceError::room(error.class(), error))?;
        brain.set_refuge(self.models.refuge.clone());
        for wanted in brain.missing() {
            self.take(&wanted).into_iter().for_each(|model| brain.offer(model));
        }
        Ok(brain)
    }

    fn start_model(&self) -> Result<Box<dyn Model>, ServiceError> {
        (self.models.take)(&self.models.start)
    }

    fn take(&self, model: &ModelRef) -> Option<Box<dyn Model>> {
        let taken = (self.models.take)(model);
        taken.inspect_err(|error| tracing::error!("model {}@{} does not score: {error}", model.name, model.version)).ok()
    }

    /// Steps until stopped and the log is read to its end; then leaves a last snapshot.
    pub fn run(mut self, memory: Memory) -> Result<(), ServiceError> {
        let brain = self.remember(&memory)?;
        self.hand_on(self.clock.now(), vec![Effect::LineUp(Box::new(brain.line_up()))])?;
        let reader = self.log.reader(memory.next);
        let saved = memory.next;
        drop(memory);
        let saved_at = self.clock.now().0;
        let mut stand = Stand {
            brain,
            reader,
            saved,
            through: None,
            saved_at,
            took_ns: 0,
            panicked: BTreeSet::new(),
            skipped: BTreeSet::new(),
            has_told_caught_up: false,
            has_closed: false,
            may_draft: false,
            has_stumbled: false,
        };
        self.pulse.set_brain(true);
        self.note_position(&mut stand);
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            self.take_over_settings(&mut stand);
            match stand.reader.next(if stopping || stand.may_draft { Duration::ZERO } else { PATIENCE }) {
                Ok(Some((seq, record))) => self.step(&mut stand, seq, &record)?,
                Ok(None) if stopping => break,
                Ok(None) => self.draft(&mut stand)?,
                Err(error) => {
                    metrics::counter!("geophone_brain_unread_total").increment(1);
                    tracing::error!("a part of the log cannot be read and is left out: {error}");
                }
            }
            self.note_position(&mut stand);
            let due = SNAPSHOT_NS.max(stand.took_ns.saturating_mul(SNAPSHOT_SHARE));
            let wait = if std::mem::take(&mut stand.has_closed) { 0 } else { SNAPSHOT_WAIT_NS };
            if self.clock.now().0.saturating_sub(stand.saved_at) >= due.saturating_add(wait) {
                self.save(&mut stand)?;
            }
        }
        self.save(&mut stand)
    }

    fn note_position(&self, stand: &mut Stand) {
        let next = stand.reader.position();
        self.pulse.stepped(next, self.clock.now().0);
        if next >= self.caught_up_at && !std::mem::replace(&mut stand.has_told_caught_up, true) {
            // After everything that was in the log: whoever dispatches says when he has seen it all. A dispatcher
            // that is gone ends this thread with the next effects.
            drop(self.work.send(Work::CaughtUp));
            if stand.brain.line_up().start != self.models.start {
                let step = ModelStep::Start { model: self.models.start.clone() };
                if !self.submitter.submit_unwatched(RecordBody::Model(step)) {
                    tracing::error!("`models.active` was changed, but could not be noted: restart");
                }
            }
        }
        metrics::gauge!("geophone_brain_behind_records").set(self.pulse.behind() as f64);
    }

    /// No record waits: time for a little of what the next window will want.
    fn draft(&self, stand: &mut Stand) -> Result<(), ServiceError> {
        if stand.has_stumbled || !stand.may_draft {
            return Ok(());
        }
        match catch_unwind(AssertUnwindSafe(|| stand.brain.draft())) {
            Ok(has_drafted) => stand.may_draft = has_drafted,
            Err(_) => {
                (stand.may_draft, stand.has_stumbled) = (false, true);
                tracing::error!("the brain panicked ahead of a window; windows are scored when they close from here on");
                return self.rebuild(stand);
            }
        }
        Ok(())
    }

    fn step(&self, stand: &mut Stand, seq: Seq, record: &Record) -> Result<(), ServiceError> {
        stand.may_draft = !stand.has_stumbled;
        if stand.skipped.contains(&seq) {
            return Ok(());
        }
        if let RecordBody::Model(step) = &record.body
            && let Some(wanted) = stand.brain.wanted_by(step)
        {
            self.take(&wanted).into_iter().for_each(|model| stand.brain.offer(model));
        }
        let brain = &mut stand.brain;
        let Ok(effects) = catch_unwind(AssertUnwindSafe(|| brain.step(seq, record))) else {
            return self.recover(stand, seq, record);
        };
        stand.has_closed = effects.iter().any(|effect| matches!(effect, Effect::Window(_)));
        self.hand_on(record.at, effects)?;
        match catch_unwind(AssertUnwindSafe(|| brain.settle())) {
            Ok(()) => Ok(()),
            Err(_) => self.recover(stand, seq, record),
        }
    }

    fn hand_on(&self, at: UnixNanos, effects: Vec<Effect>) -> Result<(), ServiceError> {
        // Most records complete no window: nobody needs to wake up for them.
        if effects.is_empty() {
            return Ok(());
        }
        self.work.send(Work::Effects(at, effects)).map_err(|_| ServiceError::Stopped("dispatcher"))
    }

    /// The state after a panic cannot be trusted: back to the last snapshot, and on from there.
    fn recover(&self, stand: &mut Stand, seq: Seq, record: &Record) -> Result<(), ServiceError> {
        tracing::error!("the brain panicked at record {}", seq.0);
        if !stand.panicked.insert(seq) {
            metrics::counter!("geophone_brain_skipped_records_total").increment(1);
            self.pulse.skipped();
            stand.skipped.insert(seq);
            self.keep_aside(seq, record);
        }
        self.rebuild(stand)
    }

    fn rebuild(&self, stand: &mut Stand) -> Result<(), ServiceError> {
        metrics::counter!("geophone_brain_rebuilds_total").increment(1);
        self.pulse.rebuilt();
        // The log lets go of what the newest memory holds as soon as that is written: not before we have read it.
        stand.through.iter().for_each(Through::wait);
        let memory = (self.recall)(stand.saved);
        tracing::error!("the brain is rebuilt from record {}", memory.next.0);
        stand.brain = self.remember(&memory)?;
        stand.reader = self.log.reader(memory.next);
        Ok(())
    }

    fn keep_aside(&self, seq: Seq, record: &Record) {
        let Some(folder) = &self.quarantine else { return };
        let (name, bytes) = match &record.body {
            RecordBody::Batch(export) => (format!("{}-{}.binpb", seq.0, export.signal.as_str()), export.wire.to_vec()),
            other => (format!("{}.txt", seq.0), format!("{other:?}").into_bytes()),
        };
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(&name), bytes));
        match written {
            Ok(()) => tracing::error!("record {} panics the brain; it is left out and kept in {}", seq.0, folder.join(name).display()),
            Err(error) => tracing::error!("record {} panics the brain; it is left out and could not be kept: {error}", seq.0),
        }
    }

    fn take_over_settings(&mut self, stand: &mut Stand) {
        let Some(settings) = self.reloads.try_iter().last() else { return };
        let before = std::mem::replace(&mut self.settings, settings);
        match self.restore(&stand.brain.snapshot()) {
            Ok(brain) => {
                stand.brain = brain;
                tracing::info!("the brain has taken over the new settings");
            }
            Err(error) => {
                self.settings = before;
                tracing::error!("the brain keeps its settings: {error}");
            }
        }
    }

    fn save(&self, stand: &mut Stand) -> Result<(), ServiceError> {
        stand.saved_at = self.clock.now().0;
        let next = stand.reader.position();
        if next == stand.saved {
            return Ok(());
        }
        let (mouth, saving, through) = memory::saving(next);
        // Through the same channel as effects: saved only after everything before it was stored.
        self.work.send(Work::Save(saving)).map_err(|_| ServiceError::Stopped("dispatcher"))?;
        stand.through = Some(through);
        match tell(&mut stand.brain, mouth) {
            Ok(bytes) => {
                stand.saved = next;
                metrics::gauge!("geophone_brain_snapshot_bytes").set(bytes as f64);
            }
            // Whoever keeps it has said why.
            Err(error) => tracing::error!("the brain could not tell what it knows: {error}"),
        }
        stand.took_ns = self.clock.now().0.saturating_sub(stand.saved_at);
        metrics::gauge!("geophone_brain_snapshot_seconds").set(Duration::from_nanos(stand.took_ns).as_secs_f64());
        stand.panicked.clear();
        Ok(())
    }
}

/// Bytes told.
fn tell(brain: &mut Brain, mut mouth: Mouth) -> Result<u64, ServiceError> {
    brain.save(&mut mouth).map_err(|error| ServiceError::room(error.class(), error))?;
    mouth.end().map_err(|error| ServiceError::room(geophone_proto::Class::Retry, error))
}
