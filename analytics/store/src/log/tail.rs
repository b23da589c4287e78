//! The newest records, decoded, for readers that keep up. Bounded in bytes; dropping an entry loses
//! nothing, since the segment has it.

use super::segment::record_bytes;
use geophone_proto::Record;
use std::collections::VecDeque;

/// A run of consecutive records that ends at the head.
#[derive(Default)]
pub(crate) struct Tail {
    first: u64,
    bytes: usize,
    bound: usize,
    records: VecDeque<(Record, usize)>,
}

impl Tail {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, ..Self::default() }
    }

    /// Adds the record at position `seq`.
    pub(crate) fn push(&mut self, seq: u64, record: Record) {
        if self.first + self.records.len() as u64 != seq {
            self.records.clear();
            self.bytes = 0;
        }
        if self.records.is_empty() {
            self.first = seq;
        }
        let bytes = record_bytes(&record);
        self.bytes += bytes;
        self.records.push_back((record, bytes));
        while self.bytes > self.bound {
            self.pop();
        }
    }

    /// Forgets records below `seq`: every reader is past them.
    pub(crate) fn forget(&mut self, seq: u64) {
        while self.first < seq && !self.records.is_empty() {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, bytes)) = self.records.pop_front() {
            self.bytes -= bytes;
            self.first += 1;
        }
    }

    /// The record at position `seq`, if it is still here.
    pub(crate) fn get(&self, seq: u64) -> Option<&Record> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.records.get(index).map(|(record, _)| record)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
