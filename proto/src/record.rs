//! What the log holds: everything the brain may learn. State is the fold of these records in order.

use crate::{
    action::{Decision, Outcome},
    batch::Batch,
    ids::Tenant,
    model::ModelStep,
    signal::Signal,
    stacks::StackAnswer,
    time::UnixNanos,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, protobuf or JSON.
    Http,
    /// Read from a file by `replay` or `score`.
    File,
    /// Not received: the service's own, such as stacks of flagged spans.
    Own,
}

impl Transport {
    /// The word in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::File => "file",
            Self::Own => "own",
        }
    }
}

/// One entry of the log. `at` is the wall clock of whoever appended it (arrival, tick), so that a
/// replay sees the same clock.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was appended.
    pub at: UnixNanos,
    /// What happened.
    pub body: RecordBody,
}

/// The kinds of entries.
#[derive(Clone, Debug)]
pub enum RecordBody {
    /// An accepted export request.
    Batch(Export),
    /// Time passed. Appended about once a second so that silence can be noticed.
    Tick,
    /// A person approved or rejected an action.
    Decided(Decision),
    /// What became of an action.
    Outcome(Outcome),
    /// A model is tried, promoted or taken back from here on.
    Model(ModelStep),
    /// Stacks that were asked for.
    Stacks(Box<StackAnswer>),
}

/// An export request as it is kept: the OTLP protobuf bytes, uncompressed (JSON requests are
/// transcoded first). Decoding is cheap and deterministic, so bytes are the log's form and columns
/// the memory's: `decoded` spares readers in the same process the second walk.
#[derive(Clone, Debug)]
pub struct Export {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// Which `Export*ServiceRequest` the bytes are.
    pub signal: Signal,
    /// How it came.
    pub transport: Transport,
    /// The request message.
    pub wire: Bytes,
    /// The columns of `wire`, where somebody has walked it already.
    pub decoded: Option<Arc<Batch>>,
}

/// Walks a request into columns; what the room `ingest` gives to the others through the roof.
/// Rows that break a rule are left out, as they were when the request was answered.
pub type DecodeExport = Arc<dyn Fn(&Export, UnixNanos) -> Arc<Batch> + Send + Sync>;
