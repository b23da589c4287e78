//! Group append: one write of at most 512 KiB pieces, one sync, then the records become visible. Called
//! by the one committer thread. A failed group leaves no trace.

use super::{
    format::{self, HEADER_BYTES},
    options::Durability,
    recovery::segment_path,
    segment::{Backing, Segment, lock, record_bytes},
    shared::{Log, State},
};
use crate::{blocks::Blocks, durable, error::StoreError};
#[cfg(test)]
use geophone_proto::UnixNanos;
use geophone_proto::{Record, RecordBody, Seq};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// A group waits at most so long for readers who are about to lose columns that lie in memory: to read and walk them
/// again costs more than they lose by waiting.
const PACE: Duration = Duration::from_millis(40);
/// So many times, while they move on.
const PACES: usize = 8;
/// The same where memory is all there is, before senders are refused.
const ROOM: Duration = Duration::from_millis(200);
/// A reader is close behind if it is in one of the last segments.
const NEAR_SEGMENTS: usize = 2;

/// What only the committer touches.
#[derive(Default)]
pub(crate) struct Writer {
    active: Option<Active>,
    /// Where the slowest reader stood when it was last waited for in vain.
    stood: Option<u64>,
}

/// Zeros behind the last record are no harm, only in the way of whoever looks at the file.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.active.as_ref().and_then(|active| active.blocks.as_ref()).map(Blocks::trim);
    }
}

/// The segment that grows, and its file as the committer writes it.
struct Active {
    segment: Arc<Segment>,
    /// `None` in memory.
    blocks: Option<Blocks>,
}

impl Log {
    /// Appends a group and returns the position of its first record, once the group is as durable as
    /// configured. On an error nothing of the group is in the log. An empty group is nothing.
    pub fn append(&self, records: Vec<Record>) -> Result<Seq, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        let mut writer = lock(&self.writer);
        let started = Instant::now();
        let first = lock(&self.state).next;
        let count = records.len() as u64;
        if count == 0 {
            return Ok(Seq(first));
        }
        self.roll_due(&mut writer);
        if self.options.durability != Durability::None && records.iter().any(|record| matches!(record.body, RecordBody::Batch(_))) {
            self.keep_pace(&mut writer);
        }
        let appended = match self.options.durability {
            Durability::Fsync | Durability::Os => self.append_file(&mut writer, first, records),
            Durability::None => self.append_memory(&mut writer, first, records),
        };
        self.healthy.store(appended.is_ok(), Ordering::Release);
        let bytes = appended?;
        metrics::counter!("geophone_log_appended_records_total").increment(count);
        metrics::counter!("geophone_log_appended_bytes_total").increment(bytes);
        metrics::histogram!("geophone_log_commit_seconds").record(started.elapsed().as_secs_f64());
        Ok(Seq(first))
    }

    /// Waits, within bounds, while the columns in memory are nearly too many and a reader who needs them is close behind.
    fn keep_pace(&self, writer: &mut Writer) {
        let crowded = |state: &mut State| {
            if state.sealed.is_none() || state.tail.bytes() < self.options.memory_bytes / 4 * 3 {
                return false;
            }
            self.let_go(state);
            // Who is further behind reads files anyway.
            let near = state.segments.iter().rev().nth(NEAR_SEGMENTS).map_or(0, |segment| segment.first);
            let is_near = state.slowest_reader().is_some_and(|slowest| slowest >= near && slowest < state.next);
            is_near && state.tail.bytes() >= self.options.memory_bytes / 4 * 3
        };
        let mut state = lock(&self.state);
        for _ in 0..PACES {
            // Who does not move on is not waited for again, by no later group either: a sealer on a slow disk would
            // make each of them late.
            let stands = state.slowest_reader();
            if stands == writer.stood {
                return;
            }
            let waited;
            (state, waited) = self.passed.wait_timeout_while(state, PACE, crowded).unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                return;
            }
            writer.stood = stands.filter(|_| state.slowest_reader() == stands);
        }
    }

    /// Closes the active segment, so that it can be sealed. An empty one stays open.
    pub fn roll(&self) {
        let mut writer = lock(&self.writer);
        self.close_active(&mut writer);
    }

    /// Closes the active segment if it is old or large enough.
    pub(crate) fn roll_if_due(&self) {
        self.roll_due(&mut lock(&self.writer));
    }

    fn roll_due(&self, writer: &mut Writer) {
        let Some(Active { segment: active, .. }) = &writer.active else { return };
        let age = self.now().since(active.created_at);
        let bound = if active.is_memory() {
            // Several segments, so that one can be sealed while the next fills.
            self.options.segment_bytes.min(self.options.memory_bytes as u64 / 8)
        } else {
            self.options.segment_bytes
        };
        if active.bytes() >= bound || u128::from(age) >= self.options.segment_age.as_nanos() {
            self.close_active(writer);
        }
    }

    fn close_active(&self, writer: &mut Writer) {
        if let Some(Active { segment, blocks }) = writer.active.take_if(|active| !active.segment.is_empty()) {
            let _ = blocks.map(|blocks| blocks.trim());
            segment.close();
            // The lock orders this against `wait_closed`'s look.
            self.show(&lock(&self.state));
            self.closed.notify_all();
        }
    }

    fn append_file(&self, writer: &mut Writer, first: u64, records: Vec<Record>) -> Result<u64, StoreError> {
        if writer.active.is_none() {
            let (segment, blocks) = self.create(first)?;
            let segment = Arc::new(segment);
            let mut state = lock(&self.state);
            // A segment that a crash left without a record has the same file: forgetting it later would
            // remove what is written there now.
            state.segments.retain(|held| held.first != first);
            state.segments.push_back(segment.clone());
            drop(state);
            writer.active = Some(Active { segment, blocks: Some(blocks) });
        }
        let Some(Active { segment, blocks: Some(blocks) }) = &mut writer.active else {
            return Err(StoreError::columns("append", "the active segment is not a file"));
        };
        let (segment, start) = (segment.clone(), segment.bytes());
        match self.write_group(blocks, (first, &records)) {
            Ok(end) => {
                self.publish(&segment, first, records, end);
                Ok(end - start)
            }
            Err(source) => {
                metrics::counter!("geophone_log_append_errors_total").increment(1);
                self.give_way(&source);
                let path = segment.path();
                if let Err(error) = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(start)) {
                    // A new segment begins either way. The failed append is the caller's to tell.
                    tracing::debug!("cannot take back a failed append to {}: {error}", path.display());
                }
                // After a failed sync nothing can be known about the file's pages: never append to it again.
                if segment.is_empty() {
                    lock(&self.state).segments.retain(|held| !Arc::ptr_eq(held, &segment));
                    let _ = segment.unlink();
                } else {
                    segment.close();
                    self.closed.notify_all();
                }
                writer.active = None;
                Err(StoreError::Append { path: segment.path().to_owned(), source })
            }
        }
    }

    /// Writes and syncs; returns the new length.
    fn write_group(&self, blocks: &mut Blocks, (first, records): (u64, &[Record])) -> io::Result<u64> {
        for (seq, record) in (first..).zip(records) {
            let payload = format::payload_of(record).map_err(io::Error::other)?;
            let (head, payload) = format::encode_frame(seq, record.at, &payload).map_err(io::Error::other)?;
            blocks.put(&head)?;
            blocks.put(&payload)?;
        }
        blocks.flush()?;
        durable::reach(self.options.failpoint.as_ref(), "append.write")?;
        if self.options.durability == Durability::Fsync {
            let synced = durable::reach(self.options.failpoint.as_ref(), "append.sync").and_then(|()| blocks.sync_data());
            synced.inspect_err(|_| metrics::counter!("geophone_log_sync_errors_total").increment(1))?;
        }
        Ok(blocks.len())
    }

    fn create(&self, first: u64) -> Result<(Segment, Blocks), StoreError> {
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        let path = segment_path(dir, first);
        let created_at = self.now();
        let make = || -> io::Result<(File, Blocks)> {
            durable::create_dir(dir)?;
            durable::reach(self.options.failpoint.as_ref(), "append.create")?;
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
            let header = format::encode_header(first, created_at);
            file.write_all_at(&header, 0)?;
            let is_durable = self.options.durability == Durability::Fsync;
            if is_durable {
                file.sync_all()?;
                durable::sync_dir(dir)?;
            }
            // Who waits for the disk anyway need not go by the page cache.
            let blocks = Blocks::after(&path, &header, is_durable)?;
            Ok((file, blocks))
        };
        let (file, blocks) = make().map_err(|source| StoreError::Append { path: path.clone(), source })?;
        debug_assert!(file.metadata().is_ok_and(|meta| meta.len() == HEADER_BYTES as u64));
        Ok((Segment::new(first, created_at, Backing::File { path, file }), blocks))
    }

    fn append_memory(&self, writer: &mut Writer, first: u64, records: Vec<Record>) -> Result<u64, StoreError> {
        let needed: usize = records.iter().map(record_bytes).sum();
        let bound = self.options.memory_bytes;
        let telemetry = records.iter().any(|record| matches!(record.body, RecordBody::Batch(_)));
        if lock(&self.state).memory_bytes() + needed > bound {
            self.close_active(writer);
            let mut state = lock(&self.state);
            self.forget(&mut state);
            if telemetry {
                // Whoever seals is at work; senders who are refused come back later than it takes.
                let full = |state: &mut State| state.memory_bytes() > 0 && state.memory_bytes() + needed > bound;
                (state, _) = self.passed.wait_timeout_while(state, ROOM, full).unwrap_or_else(PoisonError::into_inner);
            }
            let held = state.memory_bytes();
            // Ticks and outcomes are small and must pass, or the loop 4 -> 8 -> 4 could stand still. A
            // group larger than the bound passes when it is alone, since it would never fit otherwise.
            if telemetry && held > 0 && held + needed > bound {
                metrics::counter!("geophone_log_full_total").increment(1);
                return Err(StoreError::Full { held, bound });
            }
        }
        let segment = match &writer.active {
            Some(active) => active.segment.clone(),
            None => {
                let segment = Arc::new(Segment::new(first, self.now(), Backing::Memory(Mutex::new(Vec::new()))));
                lock(&self.state).segments.push_back(segment.clone());
                writer.active = Some(Active { segment: segment.clone(), blocks: None });
                segment
            }
        };
        if let Backing::Memory(held) = &segment.backing {
            lock(held).extend(records.iter().cloned());
        }
        let bytes = segment.bytes() + needed as u64;
        self.publish(&segment, first, records, bytes);
        Ok(needed as u64)
    }

    /// Shows a durable group to readers.
    fn publish(&self, segment: &Segment, first: u64, records: Vec<Record>, bytes: u64) {
        let end = first + records.len() as u64;
        segment.publish(end, bytes);
        let mut state = lock(&self.state);
        state.next = end;
        if !segment.is_memory() {
            self.let_go(&mut state);
            for (seq, record) in (first..).zip(records) {
                state.tail.push(seq, record);
            }
        }
        self.show(&state);
        drop(state);
        self.grown.notify_all();
    }

    /// Bytes of the active segment that are records, header included.
    #[cfg(test)]
    pub(crate) fn active_bytes(&self) -> usize {
        lock(&self.writer).active.as_ref().map_or(0, |active| usize::try_from(active.segment.bytes()).expect("small"))
    }

    /// Moment of the newest segment's birth, for tests of ageing.
    #[cfg(test)]
    pub(crate) fn active_since(&self) -> Option<UnixNanos> {
        lock(&self.writer).active.as_ref().map(|active| active.segment.created_at)
    }
}
