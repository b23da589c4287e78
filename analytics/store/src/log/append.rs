//! Group append: one write of at most 512 KiB pieces, one sync, then the records become visible. Called
//! by the one committer thread. A failed group leaves no trace.

use super::{
    format::{self, HEADER_BYTES},
    options::Durability,
    recovery::segment_path,
    segment::{Backing, Segment, lock, record_bytes},
    shared::Log,
};
use crate::{
    durable::{self, Failpoint},
    error::StoreError,
};
#[cfg(test)]
use geophone_proto::UnixNanos;
use geophone_proto::{Record, RecordBody, Seq};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Instant,
};

/// Larger single writes cost several times more a byte.
const PIECE_BYTES: usize = 512 * 1024;

/// What only the committer touches.
#[derive(Default)]
pub(crate) struct Writer {
    active: Option<Arc<Segment>>,
    piece: Vec<u8>,
}

/// Collects bytes and writes them in pieces.
struct Pieces<'a> {
    file: &'a File,
    at: u64,
    piece: &'a mut Vec<u8>,
    failpoint: Option<&'a Failpoint>,
}

impl Pieces<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(self.piece, self.at)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        durable::reach(self.failpoint, "append.write")
    }
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
        let Some(active) = &writer.active else { return };
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
        if let Some(active) = writer.active.take_if(|active| !active.is_empty()) {
            active.close();
            // The lock orders this against `wait_closed`'s look.
            self.show(&lock(&self.state));
            self.closed.notify_all();
        }
    }

    fn append_file(&self, writer: &mut Writer, first: u64, records: Vec<Record>) -> Result<u64, StoreError> {
        let segment = match &writer.active {
            Some(active) => active.clone(),
            None => {
                let segment = Arc::new(self.create(first)?);
                let mut state = lock(&self.state);
                // A segment that a crash left without a record has the same file: forgetting it later would
                // remove what is written there now.
                state.segments.retain(|held| held.first != first);
                state.segments.push_back(segment.clone());
                drop(state);
                writer.active = Some(segment.clone());
                segment
            }
        };
        let Backing::File { path, file } = &segment.backing else {
            return Err(StoreError::columns("append", "the active segment is not a file"));
        };
        let start = segment.bytes();
        writer.piece.clear();
        let pieces = Pieces { file, at: start, piece: &mut writer.piece, failpoint: self.options.failpoint.as_ref() };
        match self.write_group(pieces, first, &records) {
            Ok(end) => {
                self.publish(&segment, first, records, end);
                Ok(end - start)
            }
            Err(source) => {
                metrics::counter!("geophone_log_append_errors_total").increment(1);
                tracing::error!("cannot append to {}: {source}", path.display());
                if let Err(error) = file.set_len(start) {
                    tracing::error!("cannot take back a failed append to {}: {error}; a new segment begins", path.display());
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
                Err(StoreError::Append { path: path.clone(), source })
            }
        }
    }

    /// Writes and syncs; returns the new length.
    fn write_group(&self, mut pieces: Pieces<'_>, first: u64, records: &[Record]) -> io::Result<u64> {
        for (seq, record) in (first..).zip(records) {
            let payload = format::payload_of(record).map_err(io::Error::other)?;
            let (head, payload) = format::encode_frame(seq, record.at, &payload).map_err(io::Error::other)?;
            pieces.put(&head)?;
            pieces.put(&payload)?;
        }
        pieces.flush()?;
        let end = pieces.at;
        if self.options.durability == Durability::Fsync {
            let synced = durable::reach(pieces.failpoint, "append.sync").and_then(|()| pieces.file.sync_data());
            synced.inspect_err(|_| metrics::counter!("geophone_log_sync_errors_total").increment(1))?;
        }
        Ok(end)
    }

    fn create(&self, first: u64) -> Result<Segment, StoreError> {
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        let path = segment_path(dir, first);
        let created_at = self.now();
        let make = || -> io::Result<File> {
            durable::create_dir(dir)?;
            durable::reach(self.options.failpoint.as_ref(), "append.create")?;
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.write_all_at(&format::encode_header(first, created_at), 0)?;
            if self.options.durability == Durability::Fsync {
                file.sync_all()?;
                durable::sync_dir(dir)?;
            }
            Ok(file)
        };
        let file = make().map_err(|source| StoreError::Append { path: path.clone(), source })?;
        debug_assert!(file.metadata().is_ok_and(|meta| meta.len() == HEADER_BYTES as u64));
        Ok(Segment::new(first, created_at, Backing::File { path, file }))
    }

    fn append_memory(&self, writer: &mut Writer, first: u64, records: Vec<Record>) -> Result<u64, StoreError> {
        let needed: usize = records.iter().map(record_bytes).sum();
        let bound = self.options.memory_bytes;
        let telemetry = records.iter().any(|record| matches!(record.body, RecordBody::Batch(_)));
        if lock(&self.state).memory_bytes() + needed > bound {
            self.close_active(writer);
            let mut state = lock(&self.state);
            self.forget(&mut state);
            let held = state.memory_bytes();
            // Ticks and outcomes are small and must pass, or the loop 4 -> 8 -> 4 could stand still. A
            // group larger than the bound passes when it is alone, since it would never fit otherwise.
            if telemetry && held > 0 && held + needed > bound {
                metrics::counter!("geophone_log_full_total").increment(1);
                return Err(StoreError::Full { held, bound });
            }
        }
        let segment = match &writer.active {
            Some(active) => active.clone(),
            None => {
                let segment = Arc::new(Segment::new(first, self.now(), Backing::Memory(Mutex::new(Vec::new()))));
                lock(&self.state).segments.push_back(segment.clone());
                writer.active = Some(segment.clone());
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
            for (seq, record) in (first..).zip(records) {
                state.tail.push(seq, record);
            }
        }
        self.show(&state);
        drop(state);
        self.grown.notify_all();
    }

    /// Moment of the newest segment's birth, for tests of ageing.
    #[cfg(test)]
    pub(crate) fn active_since(&self) -> Option<UnixNanos> {
        lock(&self.writer).active.as_ref().map(|active| active.created_at)
    }
}
