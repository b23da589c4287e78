//! The log as all its users share it: who is where, what is still held, what may be forgotten.

use super::{
    append::Writer,
    options::{Durability, LogOptions},
    past::Past,
    reader::LogReader,
    recovery::{self, Recovery},
    segment::{Segment, lock},
    tail::Tail,
};
use crate::{durable, error::StoreError, floor};
use geophone_proto::{Seq, UnixNanos, seam::Clock};
use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What readers and the sealer see; guarded by one short lock.
pub(crate) struct State {
    /// Held segments, oldest first; the last may be the active one.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    /// Position of the next record.
    pub(crate) next: u64,
    pub(crate) tail: Tail,
    /// The brain needs nothing up to here any more.
    pub(crate) released: u64,
    /// Tables hold everything up to here; `None` while no store is attached.
    pub(crate) sealed: Option<u64>,
    /// Next positions of living readers.
    pub(crate) readers: Vec<Weak<AtomicU64>>,
    /// What is needed no more, but kept for replays.
    pub(crate) past: Past,
}

impl State {
    /// Position that every living reader has reached; `None` without readers.
    pub(crate) fn slowest_reader(&mut self) -> Option<u64> {
        self.readers.retain(|reader| reader.strong_count() > 0);
        self.readers.iter().filter_map(Weak::upgrade).map(|position| position.load(Ordering::Acquire)).min()
    }

    /// Bytes that memory segments hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes: u64 = self.segments.iter().filter(|segment| segment.is_memory()).map(|segment| segment.bytes()).sum();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// The log of hop 4. One committer appends; any number of readers pull.
pub struct Log {
    /// `DIR/log`; `None` in memory.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) options: LogOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) state: Mutex<State>,
    pub(crate) grown: Condvar,
    pub(crate) closed: Condvar,
    /// Readers have moved on, or records were sealed.
    pub(crate) passed: Condvar,
    pub(crate) healthy: AtomicBool,
    pub(crate) read_only: bool,
    lock: Option<File>,
}

impl Log {
    /// Opens `DIR/log` for writing and mends what a crash left, or makes a log in memory. Only one
    /// process may have a directory open like this.
    pub fn open(dir: Option<&Path>, options: LogOptions, clock: Arc<dyn Clock>) -> Result<(Arc<Self>, Recovery), StoreError> {
        let held = match dir {
            Some(dir) => {
                durable::create_dir(dir).map_err(|source| StoreError::Open { path: dir.to_owned(), source })?;
                Some(durable::lock(dir)?)
            }
            None => None,
        };
        Self::load(dir, options, clock, held, false)
    }

    /// Opens `DIR/log` to read what is there, beside a running server or without one. Changes nothing.
    pub fn open_read_only(dir: &Path, options: LogOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        Self::load(Some(dir), options, clock, None, true).map(|(log, _)| log)
    }

    fn load(
        dir: Option<&Path>,
        options: LogOptions,
        clock: Arc<dyn Clock>,
        held: Option<File>,
        read_only: bool,
    ) -> Result<(Arc<Self>, Recovery), StoreError> {
        let mut recovery = Recovery::default();
        let mut segments: VecDeque<Arc<Segment>> = VecDeque::new();
        let log_dir = dir.map(|dir| dir.join("log"));
        for path in log_dir.as_deref().map_or(Ok(Vec::new()), recovery::list)? {
            let Some(segment) = recovery::open(&path, !read_only, &mut recovery)? else { continue };
            // What a failed append could not truncate away was appended again in the next segment.
            if let Some(last) = segments.back().filter(|last| last.end() > segment.first) {
                last.publish(segment.first.max(last.first), last.bytes());
            }
            segment.close();
            segments.push_back(Arc::new(segment));
        }
        let stored = dir.map_or(0, floor::of);
        let next = segments.back().map_or(1, |last| last.end()).max(stored + 1);
        recovery.head = Seq(next - 1);
        recovery.notes.iter().for_each(|note| tracing::warn!("{note}"));
        metrics::counter!("geophone_log_repaired_bytes_total", "reason" => "torn").increment(recovery.torn_bytes);
        metrics::counter!("geophone_log_repaired_bytes_total", "reason" => "quarantined").increment(recovery.quarantined_bytes);
        let tail = Tail::new(options.memory_bytes);
        let past = log_dir.as_deref().filter(|_| !read_only).map_or_else(Past::default, |dir| Past::open(dir, options.history_bytes));
        let state = State { segments, next, tail, released: 0, sealed: None, readers: Vec::new(), past };
        let log = Self {
            dir: log_dir,
            options,
            clock,
            writer: Mutex::new(Writer::default()),
            state: Mutex::new(state),
            grown: Condvar::new(),
            closed: Condvar::new(),
            passed: Condvar::new(),
            healthy: AtomicBool::new(true),
            read_only,
            lock: held,
        };
        Ok((Arc::new(log), recovery))
    }

    /// Position of the newest record; 0 before the first.
    pub fn head(&self) -> Seq {
        Seq(lock(&self.state).next - 1)
    }

    /// Position of the oldest record that is still held; one past the head where none is.
    pub fn oldest(&self) -> Seq {
        let state = lock(&self.state);
        let held = state.segments.iter().find(|segment| !segment.is_empty());
        Seq(held.map_or(state.next, |segment| segment.first))
    }

    /// Whether the last append worked.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// What an ack promises.
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    /// Pulls records from position `from` (or the oldest held) onwards.
    pub fn reader(self: &Arc<Self>, from: Seq) -> LogReader {
        let position = Arc::new(AtomicU64::new(from.0.max(1)));
        lock(&self.state).readers.push(Arc::downgrade(&position));
        LogReader::new(self.clone(), position)
    }

    /// The brain's snapshot has everything up to `through`. Segments that are released and sealed are
    /// deleted. With durability `none` no snapshot needs the log: what all readers have passed counts
    /// as released.
    pub fn release(&self, through: Seq) {
        let mut state = lock(&self.state);
        state.released = state.released.max(through.0);
        self.forget(&mut state);
        self.passed.notify_all();
    }

    /// Numbers new records above `floor`, which the tables or the snapshot speak of: an in-memory log
    /// starts without knowing.
    pub(crate) fn raise(&self, floor: u64) {
        let mut state = lock(&self.state);
        if state.next <= floor {
            state.next = floor + 1;
        }
    }

    /// Whether this log keeps others out of the directory.
    pub(crate) fn holds_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// Tables are attached and hold everything up to `through`.
    pub(crate) fn mark_sealed(&self, through: u64) {
        let mut state = lock(&self.state);
        state.sealed = Some(state.sealed.unwrap_or(0).max(through));
        self.forget(&mut state);
        self.passed.notify_all();
    }

    /// Drops segments that nobody needs. The newest file stays, because it holds the position.
    pub(crate) fn forget(&self, state: &mut State) {
        if self.read_only {
            return;
        }
        let slowest = state.slowest_reader();
        let released = match (self.options.durability, slowest) {
            (Durability::None, Some(position)) => position.max(state.released + 1),
            (Durability::Fsync | Durability::Os | Durability::None, _) => state.released + 1,
        };
        let through = state.sealed.map_or(released, |sealed| released.min(sealed + 1));
        let now = self.now();
        while let Some(oldest) = state.segments.front() {
            let only_file = !oldest.is_memory() && state.segments.len() == 1;
            if !oldest.is_closed() || oldest.end() > through || only_file {
                break;
            }
            if let Err(error) = state.past.take(oldest, now) {
                // Tried again at the next release; harmless until then.
                tracing::warn!("cannot remove {}: {error}", oldest.path().display());
                break;
            }
            state.segments.pop_front();
        }
        self.let_go(state);
        self.show(state);
    }

    /// Drops what was kept for replays before.
    pub(crate) fn forget_past(&self, before: UnixNanos) {
        lock(&self.state).past.forget_before(before);
    }

    /// A write failed: where for want of room, what is kept for replays goes.
    pub(crate) fn give_way(&self, error: &std::io::Error) {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            lock(&self.state).past.give_way();
        }
    }

    /// Drops columns that every living reader has passed: SQL walks the few rows that it asks for again.
    pub(crate) fn let_go(&self, state: &mut State) {
        if state.sealed.is_some()
            && let Some(slowest) = state.slowest_reader()
        {
            state.tail.forget(slowest);
        }
    }

    /// Updates the gauges.
    pub(crate) fn show(&self, state: &State) {
        #[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
        let show = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
        show("geophone_log_segments", state.segments.len() as u64);
        show("geophone_log_bytes", state.segments.iter().map(|segment| segment.bytes()).sum());
        show("geophone_log_tail_bytes", state.tail.bytes() as u64);
        let head = state.next - 1;
        show("geophone_log_unreleased_records", head.saturating_sub(state.released));
        if let Some(sealed) = state.sealed {
            show("geophone_log_unsealed_records", head.saturating_sub(sealed));
        }
        let slowest = state.readers.iter().filter_map(Weak::upgrade).map(|position| position.load(Ordering::Relaxed)).min();
        show("geophone_log_reader_lag_records", slowest.map_or(0, |position| state.next.saturating_sub(position)));
    }

    /// Closed, non-empty segments with records after `sealed`, and all segments with such records.
    pub(crate) fn pin(&self, sealed: u64) -> (Vec<Arc<Segment>>, u64) {
        let state = lock(&self.state);
        let held = state.segments.iter().filter(|segment| segment.end() > sealed + 1 && !segment.is_empty());
        (held.cloned().collect(), state.next)
    }

    /// Waits until a closed segment awaits sealing.
    pub(crate) fn wait_closed(&self, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let idle = |state: &mut State| {
            let sealed = state.sealed.unwrap_or(0);
            !state.segments.iter().any(|segment| segment.is_closed() && segment.end() > sealed + 1)
        };
        let (_state, waited) = self.closed.wait_timeout_while(state, timeout, idle).unwrap_or_else(std::sync::PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Now, as records are stamped.
    pub(crate) fn now(&self) -> UnixNanos {
        self.clock.now()
    }
}
