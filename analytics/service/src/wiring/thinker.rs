//! Hops 5 to 7: one plain thread pulls records from the log, steps the brain and hands on its effects.
//!
//! State = fold(log): after a panic the brain is made again from its newest snapshot and the log. A record
//! that panics twice is left out, kept aside for us to look at, and counted.

use super::{dispatcher::Work, pulse::Pulse};
use crate::error::ServiceError;
use geophone_engine::{Brain, Settings};
use geophone_proto::{Record, RecordBody, Seq, seam::Clock, seam::Model};
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
/// A snapshot is taken this often, if anything was learnt.
const SNAPSHOT_NS: u64 = 60_000_000_000;

/// Makes the model that scores; again after a panic.
pub type MakeModel = Arc<dyn Fn() -> Result<Box<dyn Model>, ServiceError> + Send + Sync>;

/// A brain as bytes, and the position after the last record in it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Position of the next record.
    pub next: Seq,
    /// `Brain::snapshot`; empty = knows nothing.
    pub bytes: Arc<[u8]>,
}

/// What the thread needs.
pub struct Thinker {
    /// Where records come from.
    pub log: Arc<Log>,
    /// What the brain is told before it starts.
    pub settings: Settings,
    /// Makes the model.
    pub model: MakeModel,
    /// Where effects go; waits while the dispatcher is busy.
    pub work: SyncSender<Work>,
    /// New settings, taken over between two records.
    pub reloads: std::sync::mpsc::Receiver<Settings>,
    /// How far we are.
    pub pulse: Arc<Pulse>,
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
    memory: Memory,
    saved_at: u64,
    panicked: BTreeSet<Seq>,
    skipped: BTreeSet<Seq>,
}

impl Thinker {
    /// Makes a brain from a memory; one that cannot be read gives an empty brain.
    pub fn remember(&self, memory: &Memory) -> Result<Brain, ServiceError> {
        if !memory.bytes.is_empty() {
            match Brain::restore(self.settings.clone(), (self.model)()?, &memory.bytes) {
                Ok(brain) => return Ok(brain),
                Err(error) => {
                    metrics::counter!("geophone_brain_snapshots_refused_total").increment(1);
                    tracing::warn!("the brain starts anew: {error}");
                }
            }
        }
        Ok(Brain::new(self.settings.clone(), (self.model)()?))
    }

    /// Steps until stopped and the log is read to its end; then leaves a last snapshot.
    pub fn run(mut self, memory: Memory) -> Result<(), ServiceError> {
        let brain = self.remember(&memory)?;
        let reader = self.log.reader(memory.next);
        let saved_at = self.clock.now().0;
        let mut stand = Stand { brain, reader, memory, saved_at, panicked: BTreeSet::new(), skipped: BTreeSet::new() };
        self.pulse.set_brain(true);
        self.note_position(&stand);
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            self.take_over_settings(&mut stand);
            match stand.reader.next(if stopping { Duration::ZERO } else { PATIENCE }) {
                Ok(Some((seq, record))) => self.step(&mut stand, seq, &record)?,
                Ok(None) if stopping => break,
                Ok(None) => {}
                Err(error) => {
                    metrics::counter!("geophone_brain_unread_total").increment(1);
                    tracing::error!("a part of the log cannot be read and is left out: {error}");
                }
            }
            self.note_position(&stand);
            if self.clock.now().0.saturating_sub(stand.saved_at) >= SNAPSHOT_NS {
                self.save(&mut stand)?;
            }
        }
        self.save(&mut stand)
    }

    fn note_position(&self, stand: &Stand) {
        let next = stand.reader.position();
        self.pulse.stepped(next, self.clock.now().0);
        if next >= self.caught_up_at && !self.pulse.is_caught_up() {
            // After everything that was in the log, so that the dispatcher has seen it all.
            if self.work.send(Work::CaughtUp).is_ok() {
                self.pulse.set_caught_up(true);
            }
        }
        metrics::gauge!("geophone_brain_behind_records").set(self.pulse.behind() as f64);
    }

    fn step(&self, stand: &mut Stand, seq: Seq, record: &Record) -> Result<(), ServiceError> {
        if stand.skipped.contains(&seq) {
            return Ok(());
        }
        let brain = &mut stand.brain;
        match catch_unwind(AssertUnwindSafe(|| brain.step(seq, record))) {
            Ok(effects) => {
                let work = Work::Effects(record.at, effects);
                self.work.send(work).map_err(|_| ServiceError::Stopped("dispatcher"))
            }
            Err(_) => self.recover(stand, seq, record),
        }
    }

    /// The state after a panic cannot be trusted: back to the last snapshot, and on from there.
    fn recover(&self, stand: &mut Stand, seq: Seq, record: &Record) -> Result<(), ServiceError> {
        metrics::counter!("geophone_brain_rebuilds_total").increment(1);
        self.pulse.rebuilt();
        if !stand.panicked.insert(seq) {
            metrics::counter!("geophone_brain_skipped_records_total").increment(1);
            self.pulse.skipped();
            stand.skipped.insert(seq);
            self.keep_aside(seq, record);
        }
        tracing::error!("the brain panicked at record {}; it is rebuilt from record {}", seq.0, stand.memory.next.0);
        stand.brain = self.remember(&stand.memory)?;
        stand.reader = self.log.reader(stand.memory.next);
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
        let restored = (self.model)().map_err(|error| error.to_string());
        let restored =
            restored.and_then(|model| Brain::restore(settings.clone(), model, &stand.brain.snapshot()).map_err(|error| error.to_string()));
        match restored {
            Ok(brain) => {
                stand.brain = brain;
                self.settings = settings;
                tracing::info!("the brain has taken over the new settings");
            }
            Err(error) => tracing::error!("the brain keeps its settings: {error}"),
        }
    }

    fn save(&self, stand: &mut Stand) -> Result<(), ServiceError> {
        stand.saved_at = self.clock.now().0;
        let next = stand.reader.position();
        if next == stand.memory.next {
            return Ok(());
        }
        stand.memory = Memory { next, bytes: stand.brain.snapshot().into() };
        stand.panicked.clear();
        metrics::gauge!("geophone_brain_snapshot_bytes").set(stand.memory.bytes.len() as f64);
        // Through the same channel as effects: saved only after everything before it was stored.
        self.work.send(Work::Save(stand.memory.clone())).map_err(|_| ServiceError::Stopped("dispatcher"))
    }
}
