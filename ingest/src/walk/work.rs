//! The entrance: one request message in, one batch out.

use super::{
    dictionary::Dictionary,
    envelope::{Envelope, Grant, Place, Rows},
    logs::LogRows,
    metrics::PointRows,
    profiles::ProfileRows,
    refused::Rejected,
    sample::Votes,
    traces::SpanRows,
};
use arrow_schema::ArrowError;
use bytes::Bytes;
use geophone_proto::{
    Batch, Class, Columns, Signal, Tenant, UnixNanos,
    columns::{Logs, Points, Resources, Samples, Scopes, Spans},
    record::Export,
};
use std::sync::Arc;

/// A request larger than this is refused: Arrow's offsets end at 2 GiB.
const WIRE_BYTES_MAX: usize = 1 << 30;

/// What senders of the old form are told.
const OLD_PROFILES: &str = "profile schema 1.9 detected: samples number their fields as before 1.10; they were read as such, but update the sender, \
     since other receivers will misread them";

/// Why a whole request is refused: its framing is broken, so nothing in it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A length or number reaches beyond the end.
    #[error("malformed protobuf: the message ends within a field, send it whole")]
    Truncated,
    /// A varint has more than ten bytes or more than 64 bits.
    #[error("malformed protobuf: a varint is cut short or longer than 64 bits")]
    Varint,
    /// A key has field number 0 or more than 32 bits.
    #[error("malformed protobuf: a field key is none")]
    Key,
    /// A field has another wire type than its number asks for.
    #[error("malformed protobuf: a field has a wrong wire type, check that the message fits the path")]
    WireType,
    /// A group ends that did not begin.
    #[error("malformed protobuf: a group is not balanced")]
    Group,
    /// Groups nest too deep to find their end.
    #[error("malformed protobuf: groups nest more than a hundred levels")]
    Depth,
    /// Too large for Arrow's offsets.
    #[error("message of {0} bytes is too large to be read in one piece, send less at once")]
    TooLarge(usize),
    /// Whoever grants memory for columns said no.
    #[error("the columns of this request need more memory than there is")]
    NotGranted,
    /// The columns do not fit together.
    #[error("columns do not fit together: {0}; please report this")]
    Columns(String),
}

impl WalkError {
    /// What it asks of the sender.
    pub const fn class(&self) -> Class {
        match self {
            Self::Truncated | Self::Varint | Self::Key | Self::WireType | Self::Group | Self::Depth | Self::TooLarge(_) => Class::Reject,
            Self::NotGranted => Class::Busy,
            Self::Columns(_) => Class::Bug,
        }
    }
}

impl From<ArrowError> for WalkError {
    fn from(error: ArrowError) -> Self {
        Self::Columns(error.to_string())
    }
}

/// A request in columns.
#[derive(Clone, Debug)]
pub struct Walked {
    /// The accepted rows.
    pub batch: Batch,
    /// The others.
    pub rejected: Vec<Rejected>,
    /// What the sender should know although its rows were taken.
    pub warning: Option<&'static str>,
}

impl Walked {
    /// Number of rows left out.
    pub fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|rejected| rejected.rows).sum()
    }
}

/// Walks an `Export*ServiceRequest` into columns. Rows that break a rule are left out and counted;
/// broken framing refuses the whole. Cost: a fraction of a microsecond a row; no row is looked at twice.
pub fn walk(signal: Signal, wire: Bytes, tenant: Tenant, at: UnixNanos) -> Result<Walked, WalkError> {
    walk_within(signal, wire, (tenant, at), None)
}

/// The same; asks `grant` before the columns grow, and ends where it says no. What a request makes of
/// its bytes is the sender's choice: two bytes are a row of a hundred.
pub(crate) fn walk_within(
    signal: Signal,
    wire: Bytes,
    (tenant, at): (Tenant, UnixNanos),
    grant: Option<Grant<'_>>,
) -> Result<Walked, WalkError> {
    if wire.len() > WIRE_BYTES_MAX {
        return Err(WalkError::TooLarge(wire.len()));
    }
    let mut warning = None;
    let mut place = Place::new(wire.len(), grant);
    let columns = match signal {
        Signal::Traces => Columns::Traces(through(&wire, SpanRows::new(wire.len()), &mut place)?.finish()?),
        Signal::Metrics => Columns::Metrics(through(&wire, PointRows::new(wire.len()), &mut place)?.finish()?),
        Signal::Logs => Columns::Logs(through(&wire, LogRows::new(wire.len()), &mut place)?.finish()?),
        Signal::Profiles => {
            let votes = Votes::count(&wire)?;
            warning = votes.any_old().then_some(OLD_PROFILES);
            let dictionary = Dictionary::read(&wire)?;
            // Resources may point to the strings as well.
            place = place.with_strings(dictionary.strings.clone());
            Columns::Profiles(through(&wire, Box::new(ProfileRows::new(&dictionary, votes.winner())), &mut place)?.finish()?)
        }
    };
    let (resources, scopes, rejected) = place.finish()?;
    Ok(Walked { batch: Batch { tenant, arrived_at: at, resources, scopes, columns }, rejected, warning })
}

fn through<R: Rows>(wire: &[u8], mut rows: Box<R>, place: &mut Place<'_>) -> Result<Box<R>, WalkError> {
    Envelope { place, rows: &mut *rows }.walk(wire)?;
    Ok(rows)
}

/// The columns of a logged request: those it already carries, else a walk. Bytes that no walk
/// accepts (they were never acknowledged) give no row, and are counted.
pub fn decode_export(export: &Export, at: UnixNanos) -> Arc<Batch> {
    if let Some(batch) = &export.decoded {
        return Arc::clone(batch);
    }
    let walked = walk(export.signal, export.wire.clone(), export.tenant.clone(), at);
    Arc::new(walked.map_or_else(
        |error| {
            tracing::error!(%error, signal = export.signal.as_str(), "logged request cannot be read");
            metrics::counter!("geophone_unreadable_exports_total", "signal" => export.signal.as_str()).increment(1);
            empty(export, at)
        },
        |walked| walked.batch,
    ))
}

fn empty(export: &Export, at: UnixNanos) -> Batch {
    let columns = match export.signal {
        Signal::Traces => Columns::Traces(Spans::empty()),
        Signal::Metrics => Columns::Metrics(Points::empty()),
        Signal::Logs => Columns::Logs(Logs::empty()),
        Signal::Profiles => Columns::Profiles(Samples::empty()),
    };
    Batch { tenant: export.tenant.clone(), arrived_at: at, resources: Resources::empty(), scopes: Scopes::empty(), columns }
}
