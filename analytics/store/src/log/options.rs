//! How durable and how large the log is.

use crate::durable::Failpoint;
use geophone_proto::record::DecodeExport;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an ack promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// On the disk: survives a power cut.
    #[default]
    Fsync,
    /// Handed to the operating system: survives kill -9.
    Os,
    /// In the process's memory: survives nothing. Telemetry is still sealed to Parquet.
    None,
}

/// Bounds of the log.
#[derive(Clone)]
pub struct LogOptions {
    /// What an ack promises.
    pub durability: Durability,
    /// A segment is closed when it is this large.
    pub segment_bytes: u64,
    /// A segment is closed when it is this old.
    pub segment_age: Duration,
    /// With durability `none`, all that the log may hold; else decoded records kept for readers.
    pub memory_bytes: usize,
    /// Closed segments that nobody needs are kept up to this size, for replays; 0 keeps none.
    pub history_bytes: u64,
    /// Walks the wire bytes of a batch that comes from disk.
    pub decode: DecodeExport,
    /// Makes named steps fail; tests only.
    pub failpoint: Option<Failpoint>,
}

impl LogOptions {
    /// Defaults: fsync, segments of 64 MiB or 30 s, 32 MiB of memory, no history.
    pub fn new(decode: DecodeExport) -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(30),
            memory_bytes: 32 << 20,
            history_bytes: 0,
            decode,
            failpoint: None,
        }
    }
}
