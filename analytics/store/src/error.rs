//! Everything that can go wrong in the log, the tables and SQL, and what it asks of the caller.

use geophone_proto::Class;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// One situation per variant; messages say what, which value, what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Records could not be made durable; none of them is in the log.
    #[error("cannot append to {path}: {source}; nothing was kept, free disk space and send again")]
    Append {
        /// The segment file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bounded in-memory log is full and nothing in it may be forgotten yet.
    #[error("the in-memory log holds {held} of {bound} bytes that nobody has read and sealed yet; send again later")]
    Full {
        /// Bytes held.
        held: usize,
        /// `LogOptions::memory_bytes`.
        bound: usize,
    },
    /// Another process writes here.
    #[error("{dir} is in use by another geophone: stop it, or choose another --data-dir")]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot use {path} as data directory: {source}; choose another --data-dir or mend its permissions")]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file operation failed; it may work again later.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes on disk are not what was written.
    #[error("{path} is damaged at byte {offset}: {detail}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// This `Log` or `Store` was opened read-only.
    #[error("this directory was opened read-only; start the server to write")]
    ReadOnly,
    /// The statement is not one that may run here.
    #[error("{0}")]
    Refused(String),
    /// The statement names what does not exist or does not make sense.
    #[error("{0}")]
    Statement(String),
    /// The answer is too large; nothing was cut.
    #[error("the answer has more than {limit} rows: add `LIMIT {limit}` or narrow the WHERE clause")]
    TooManyRows {
        /// `StoreOptions::query_rows_max`.
        limit: usize,
    },
    /// The statement would need too much memory.
    #[error("the query would hold about {needed} bytes, {bound} are allowed: narrow the WHERE clause or select fewer columns")]
    TooMuchMemory {
        /// Estimate.
        needed: usize,
        /// `StoreOptions::query_bytes_max`.
        bound: usize,
    },
    /// The statement ran too long.
    #[error("the query took longer than {}s: narrow the time range or select fewer columns", .0.as_secs_f64())]
    TimedOut(Duration),
    /// All query slots are taken.
    #[error("{0} queries run already: try again in a moment")]
    TooManyQueries(usize),
    /// Parquet or columns refused what we gave them.
    #[error("cannot {what}: {detail}")]
    Columns {
        /// The verb.
        what: &'static str,
        /// Why.
        detail: String,
    },
}

impl StoreError {
    /// What the failure asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::Append { .. } | Self::Io { .. } => Class::Retry,
            Self::Full { .. } | Self::TooManyQueries(_) => Class::Busy,
            Self::Locked { .. } | Self::Open { .. } | Self::ReadOnly => Class::Config,
            Self::Corrupt { .. } => Class::Fatal,
            Self::Refused(_) | Self::Statement(_) | Self::TooManyRows { .. } | Self::TooMuchMemory { .. } | Self::TimedOut(_) => {
                Class::Reject
            }
            Self::Columns { .. } => Class::Bug,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn columns(what: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Columns { what, detail: detail.to_string() }
    }
}
