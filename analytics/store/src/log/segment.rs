//! One run of consecutive records, in a file or (durability `none`) in memory. Closed segments never
//! change; only the committer thread grows the active one, and only whole groups become visible.

use super::format::{Found, HEADER_BYTES, PREFIX_BYTES, decode_frame, look, u32_at, u64_at};
use crate::error::StoreError;
use bytes::Bytes;
use geophone_proto::{Record, RecordBody, UnixNanos};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Bytes fetched at once when frames are read from a file.
const READ_AHEAD_BYTES: usize = 512 * 1024;

/// Takes a lock whose holder cannot leave a broken state behind, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a segment's records are.
pub(crate) enum Backing {
    /// Frames in a file.
    File { path: PathBuf, file: File },
    /// The records themselves.
    Memory(Mutex<Vec<Record>>),
}

/// A run of records.
pub(crate) struct Segment {
    /// Position of the first record.
    pub(crate) first: u64,
    /// When it was begun.
    pub(crate) created_at: UnixNanos,
    /// Position after the last visible record.
    end: AtomicU64,
    /// Visible bytes: file length, or memory held.
    bytes: AtomicU64,
    closed: AtomicBool,
    pub(crate) backing: Backing,
}

impl Segment {
    pub(crate) fn new(first: u64, created_at: UnixNanos, backing: Backing) -> Self {
        let bytes = if matches!(backing, Backing::File { .. }) { HEADER_BYTES as u64 } else { 0 };
        Self { first, created_at, end: first.into(), bytes: bytes.into(), closed: false.into(), backing }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end() == self.first
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Shows the records up to `end`; called after they are as durable as configured.
    pub(crate) fn publish(&self, end: u64, bytes: u64) {
        self.bytes.store(bytes, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.backing, Backing::Memory(_))
    }

    /// The file's name for messages.
    pub(crate) fn path(&self) -> &Path {
        match &self.backing {
            Backing::File { path, .. } => path,
            Backing::Memory(_) => Path::new("(memory)"),
        }
    }

    /// Removes the file, if there is one. Whoever holds the segment can still read it.
    pub(crate) fn unlink(&self) -> std::io::Result<()> {
        match &self.backing {
            Backing::File { path, .. } => std::fs::remove_file(path),
            Backing::Memory(_) => Ok(()),
        }
    }
}

/// Reads one segment's records in order.
pub(crate) struct Cursor {
    pub(crate) segment: std::sync::Arc<Segment>,
    /// Position of the next record.
    pub(crate) next: u64,
    offset: u64,
    buffer: Bytes,
    buffer_at: u64,
}

impl Cursor {
    /// At the segment's first record.
    pub(crate) fn new(segment: std::sync::Arc<Segment>) -> Self {
        let next = segment.first;
        Self { segment, next, offset: HEADER_BYTES as u64, buffer: Bytes::new(), buffer_at: 0 }
    }

    /// Moves on to position `seq` without decoding what lies between.
    pub(crate) fn skip_to(&mut self, seq: u64) -> Result<(), StoreError> {
        if let Backing::File { path, file } = &self.segment.backing {
            while self.next < seq.min(self.segment.end()) {
                let mut prefix = [0; PREFIX_BYTES + 8];
                file.read_exact_at(&mut prefix, self.offset).map_err(|source| StoreError::io("read", path, source))?;
                if u64_at(&prefix, PREFIX_BYTES) != self.next {
                    return Err(self.corrupt("a frame has the wrong position"));
                }
                self.offset += (PREFIX_BYTES + u32_at(&prefix, 0) as usize) as u64;
                self.next += 1;
            }
        } else {
            self.next = self.next.max(seq).min(self.segment.end());
        }
        Ok(())
    }

    /// The next visible record, `None` at the segment's present end.
    pub(crate) fn read(&mut self) -> Result<Option<(u64, Record)>, StoreError> {
        if self.next >= self.segment.end() {
            return Ok(None);
        }
        let seq = self.next;
        let record = match &self.segment.backing {
            Backing::Memory(records) => {
                let index = usize::try_from(seq - self.segment.first).unwrap_or(usize::MAX);
                match lock(records).get(index) {
                    Some(record) => record.clone(),
                    None => return Err(self.corrupt("a record is missing")),
                }
            }
            Backing::File { .. } => {
                let frame = self.frame()?;
                self.offset += frame.len() as u64;
                if self.offset == self.buffer_at + self.buffer.len() as u64 {
                    // Who waits for the next record does not hold what it has read.
                    self.buffer = Bytes::new();
                }
                decode_frame(&frame).map_err(|detail| self.corrupt(&detail))?
            }
        };
        self.next += 1;
        Ok(Some((seq, record)))
    }

    /// The whole frame at the present offset.
    fn frame(&mut self) -> Result<Bytes, StoreError> {
        let mut wanted = READ_AHEAD_BYTES;
        loop {
            let start = usize::try_from(self.offset.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX).min(self.buffer.len());
            match look(&self.buffer[start..]) {
                Found::Frame(seq, length) if seq == self.next => return Ok(self.buffer.slice(start..start + length)),
                Found::Frame(..) => return Err(self.corrupt("a frame has the wrong position")),
                Found::Bad(detail) => return Err(self.corrupt(detail)),
                Found::Short(length) => {
                    let left = self.segment.bytes().saturating_sub(self.offset);
                    if length as u64 > left {
                        return Err(self.corrupt("the segment ends within a frame"));
                    }
                    wanted = wanted.max(length);
                    self.fill(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))?;
                }
            }
        }
    }

    fn fill(&mut self, bytes: usize) -> Result<(), StoreError> {
        if let Backing::File { path, file } = &self.segment.backing {
            let mut buffer = vec![0; bytes];
            file.read_exact_at(&mut buffer, self.offset).map_err(|source| StoreError::io("read", path, source))?;
            self.buffer = buffer.into();
            self.buffer_at = self.offset;
        }
        Ok(())
    }

    fn corrupt(&self, detail: &str) -> StoreError {
        StoreError::Corrupt { path: self.segment.path().to_owned(), offset: self.offset, detail: detail.to_owned() }
    }
}

/// Memory that a record holds, about.
pub(crate) fn record_bytes(record: &Record) -> usize {
    let fixed = size_of::<Record>() + 64;
    match &record.body {
        RecordBody::Batch(export) => {
            let columns = export.decoded.as_ref().map_or(0, |batch| batch.memory_bytes());
            fixed + export.wire.len() + columns
        }
        RecordBody::Stacks(answer) => fixed + answer.folded_text.len(),
        RecordBody::Tick | RecordBody::Decided(_) | RecordBody::Outcome(_) | RecordBody::Model(_) => fixed,
    }
}
