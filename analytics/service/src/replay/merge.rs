//! Many files as one stream, by the time of their next message.

use super::{
    files::{Layout, Messages},
    recognise::{json_signal, wire_signal},
};
use crate::error::ServiceError;
use bytes::Bytes;
use geophone_ingest::{json_to_wire, walk};
use geophone_proto::{Batch, Columns, Signal, Tenant, Transport, UnixNanos, record::Export, time::SECOND_NS};
use std::{cmp::Reverse, collections::BinaryHeap, path::PathBuf, sync::Arc};

/// Rows further than this beyond the middle row say nothing about when a request was sent.
const STRAY_NS: u64 = 600 * SECOND_NS;

/// So many messages of a file are told one by one.
const TOLD_MAX: u32 = 3;

/// One request with its time.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it was probably sent: time of its newest row.
    pub at: UnixNanos,
    /// The request, decoded.
    pub export: Export,
}

/// One file and its next message.
struct Stream {
    messages: Messages,
    signal: Option<Signal>,
    next: Option<Message>,
    /// Messages that could not be read.
    refused: u32,
}

/// All files as one stream; holds one message of each.
pub struct Merged {
    streams: Vec<Stream>,
    order: BinaryHeap<Reverse<(UnixNanos, usize)>>,
    /// Messages that could not be read.
    pub refused: u64,
}

impl Merged {
    /// Opens all files.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ServiceError> {
        let mut merged = Self { streams: Vec::new(), order: BinaryHeap::new(), refused: 0 };
        for path in paths {
            merged.streams.push(Stream { messages: Messages::open(path)?, signal: None, next: None, refused: 0 });
            merged.refill(merged.streams.len() - 1)?;
        }
        Ok(merged)
    }

    /// The message that is next in time.
    pub fn advance(&mut self) -> Result<Option<Message>, ServiceError> {
        let Some(Reverse((_, index))) = self.order.pop() else { return Ok(None) };
        let message = self.streams[index].next.take();
        self.refill(index)?;
        Ok(message)
    }

    /// Reads on until a message is understood; what is not is counted and told.
    fn refill(&mut self, index: usize) -> Result<(), ServiceError> {
        let stream = &mut self.streams[index];
        while let Some(bytes) = stream.messages.next()? {
            match stream.understand(bytes) {
                Ok(Some(message)) => {
                    self.order.push(Reverse((message.at, index)));
                    stream.next = Some(message);
                    return Ok(());
                }
                Ok(None) => {}
                Err(reason) => {
                    self.refused += 1;
                    metrics::counter!("geophone_replay_refused_messages_total").increment(1);
                    stream.refused = stream.refused.saturating_add(1);
                    match stream.refused {
                        ..=TOLD_MAX => tracing::warn!("{}: {reason}; it is left out", stream.messages.place()),
                        told if told == TOLD_MAX + 1 => {
                            tracing::warn!("{}: {reason}; further ones of this file are counted only", stream.messages.place());
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

impl Stream {
    /// A message, or `None` where there is no row.
    fn understand(&mut self, bytes: Vec<u8>) -> Result<Option<Message>, String> {
        let (signal, wire) = match self.messages.layout() {
            Layout::Json => {
                let signal = json_signal(&bytes).or(self.signal).ok_or("is no OTLP request")?;
                (signal, json_to_wire(signal, &bytes).map_err(|error| error.to_string())?)
            }
            Layout::Protobuf => match wire_signal(&bytes).or(self.signal) {
                Some(signal) => (signal, Bytes::from(bytes)),
                None if bytes.is_empty() => return Ok(None),
                None => return Err("is no OTLP request, or has no rows".into()),
            },
        };
        self.signal = Some(signal);
        let walked = walk(signal, wire.clone(), Tenant::default(), UnixNanos(0)).map_err(|error| error.to_string())?;
        for rejected in &walked.rejected {
            metrics::counter!("geophone_replay_rejected_rows_total", "reason" => rejected.reason).increment(rejected.count);
        }
        let Some(at) = time_of(&walked.batch) else { return Ok(None) };
        // What is newer than the request itself cannot be known before the walk: the arrival is set after it.
        let batch = Batch { arrived_at: at, ..walked.batch };
        let export = Export { tenant: Tenant::default(), signal, transport: Transport::File, wire, decoded: Some(Arc::new(batch)) };
        Ok(Some(Message { at, export }))
    }
}

/// Time of the newest row that is not a stray; `None` without rows.
fn time_of(batch: &Batch) -> Option<UnixNanos> {
    let mut times: Vec<u64> = match &batch.columns {
        Columns::Traces(spans) => spans.end_ns().values().to_vec(),
        Columns::Metrics(points) => points.time_ns().values().to_vec(),
        Columns::Logs(logs) => logs.time_ns().values().to_vec(),
        Columns::Profiles(samples) => samples.time_ns().values().to_vec(),
    };
    times.sort_unstable();
    let middle = *times.get(times.len() / 2)?;
    times.into_iter().rev().find(|time| *time <= middle.saturating_add(STRAY_NS)).map(UnixNanos)
}
