//! One user's place in the log. Records come in order, each once; batches come decoded.

use super::{
    segment::{Cursor, Segment, lock},
    shared::{Log, State},
};
use crate::error::StoreError;
use geophone_proto::{Record, RecordBody, Seq};
use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Whoever waits for readers hears of them every so many records.
const TELL_EVERY: u64 = 16;

/// Pulls records; meant for a plain OS thread.
pub struct LogReader {
    log: Arc<Log>,
    position: Arc<AtomicU64>,
    cursor: Option<Cursor>,
}

/// Where the next record is.
enum Place {
    Tail(Record),
    Segment(Arc<Segment>),
    /// Records before this position are gone.
    Gone(u64),
}

impl LogReader {
    pub(crate) fn new(log: Arc<Log>, position: Arc<AtomicU64>) -> Self {
        Self { log, position, cursor: None }
    }

    /// Position of the next record that `next` will give.
    pub fn position(&self) -> Seq {
        Seq(self.position.load(Ordering::Acquire))
    }

    /// The next record, or `None` if none came within `timeout` (zero: look once). After an error the
    /// reader stands behind the damage: what was lost is counted.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<(Seq, Record)>, StoreError> {
        let mut next = self.position().0;
        loop {
            match self.place(next, timeout) {
                None => return Ok(None),
                Some(Place::Tail(record)) => return Ok(Some(self.give(next, record))),
                Some(Place::Gone(oldest)) => {
                    metrics::counter!("geophone_log_reader_skipped_records_total").increment(oldest - next);
                    tracing::warn!("records {next} to {} are not in the log any more; a reader goes on after them", oldest - 1);
                    next = oldest;
                    self.position.store(next, Ordering::Release);
                }
                Some(Place::Segment(segment)) => match self.read(next, segment) {
                    Ok(Some((seq, record))) => return Ok(Some(self.give(seq, record))),
                    Ok(None) => return Ok(None),
                    Err((error, after)) => {
                        metrics::counter!("geophone_log_reader_skipped_records_total").increment(after - next);
                        self.position.store(after, Ordering::Release);
                        self.cursor = None;
                        return Err(error);
                    }
                },
            }
        }
    }

    /// Waits for the record at `next` and says where it is.
    fn place(&self, next: u64, timeout: Duration) -> Option<Place> {
        let state = lock(&self.log.state);
        let behind = |state: &mut State| state.next <= next;
        let (state, _) = self.log.grown.wait_timeout_while(state, timeout, behind).unwrap_or_else(PoisonError::into_inner);
        if state.next <= next {
            return None;
        }
        if let Some(record) = state.tail.get(next) {
            return Some(Place::Tail(record.clone()));
        }
        let segment = state.segments.iter().find(|segment| segment.end() > next);
        Some(match segment {
            Some(segment) if segment.first <= next => Place::Segment(segment.clone()),
            Some(segment) => Place::Gone(segment.first),
            None => Place::Gone(state.next),
        })
    }

    /// Reads from a segment; an error comes with the position to go on from.
    fn read(&mut self, next: u64, segment: Arc<Segment>) -> Result<Option<(u64, Record)>, (StoreError, u64)> {
        let end = segment.end();
        let mut cursor = match self.cursor.take() {
            Some(cursor) if Arc::ptr_eq(&cursor.segment, &segment) && cursor.next <= next => cursor,
            Some(_) | None => Cursor::new(segment),
        };
        let record = cursor.skip_to(next).and_then(|()| cursor.read()).map_err(|error| (error, end))?;
        self.cursor = Some(cursor);
        Ok(record)
    }

    fn give(&self, seq: u64, mut record: Record) -> (Seq, Record) {
        self.position.store(seq + 1, Ordering::Release);
        if seq.is_multiple_of(TELL_EVERY) {
            self.log.passed.notify_all();
        }
        self.log.decode(&mut record);
        (Seq(seq), record)
    }
}

impl Log {
    /// Fills in a batch's columns: those that the tail still has, else by walking it.
    pub(crate) fn recall(&self, seq: u64, record: &mut Record) {
        if let RecordBody::Batch(export) = &mut record.body
            && export.decoded.is_none()
            && let Some(Record { body: RecordBody::Batch(kept), .. }) = lock(&self.state).tail.get(seq)
        {
            export.decoded.clone_from(&kept.decoded);
        }
        self.decode(record);
    }

    /// Fills in a batch's columns where nobody has walked it yet.
    pub(crate) fn decode(&self, record: &mut Record) {
        if let RecordBody::Batch(export) = &mut record.body
            && export.decoded.is_none()
        {
            export.decoded = Some((self.options.decode)(export, record.at));
        }
    }
}
