//! One request's telemetry as columns: what hop 2 makes and every later hop reads.

use crate::{
    columns::{Logs, Points, Resources, Samples, Scopes, Spans},
    ids::Tenant,
    signal::Signal,
    time::UnixNanos,
};

/// One signal's Arrow columns, their origin and their arrival. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// When the request arrived.
    pub arrived_at: UnixNanos,
    /// Who sent: rows of `columns` point into it.
    pub resources: Resources,
    /// By what it was instrumented.
    pub scopes: Scopes,
    /// The rows.
    pub columns: Columns,
}

/// The rows of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Columns {
    /// Spans.
    Traces(Spans),
    /// Data points.
    Metrics(Points),
    /// Log records.
    Logs(Logs),
    /// Samples of profiles.
    Profiles(Samples),
}

impl Batch {
    /// The signal of the rows.
    pub const fn signal(&self) -> Signal {
        match self.columns {
            Columns::Traces(_) => Signal::Traces,
            Columns::Metrics(_) => Signal::Metrics,
            Columns::Logs(_) => Signal::Logs,
            Columns::Profiles(_) => Signal::Profiles,
        }
    }

    /// Number of spans, data points, log records or samples.
    pub fn len(&self) -> usize {
        match &self.columns {
            Columns::Traces(rows) => rows.len(),
            Columns::Metrics(rows) => rows.len(),
            Columns::Logs(rows) => rows.len(),
            Columns::Profiles(rows) => rows.len(),
        }
    }

    /// Event time of every row, in nanoseconds since 1970: of a span its end.
    pub fn event_times(&self) -> &[u64] {
        match &self.columns {
            Columns::Traces(rows) => rows.end_ns().values(),
            Columns::Metrics(rows) => rows.time_ns().values(),
            Columns::Logs(rows) => rows.time_ns().values(),
            Columns::Profiles(rows) => rows.time_ns().values(),
        }
    }

    /// Memory that the columns hold, about.
    pub fn memory_bytes(&self) -> usize {
        let rows = match &self.columns {
            Columns::Traces(rows) => rows.memory_bytes(),
            Columns::Metrics(rows) => rows.memory_bytes(),
            Columns::Logs(rows) => rows.memory_bytes(),
            Columns::Profiles(rows) => rows.memory_bytes(),
        };
        rows + self.resources.memory_bytes() + self.scopes.memory_bytes()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
