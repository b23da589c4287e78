//! What can go wrong here, and what each failure asks of the caller.

use crate::{json::JsonError, walk::WalkError};
use geophone_proto::Class;
use std::{net::SocketAddr, path::PathBuf};

/// A failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or stop what uses it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate, its key or those who vouch for clients cannot be used.
    #[error("cannot use `{path}`: {why}; name PEM files that fit together")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A request that cannot be walked.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A request that is not OTLP/JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl IngestError {
    /// What it asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::Listen { .. } => Class::Fatal,
            Self::Certificate { .. } => Class::Config,
            Self::Walk(error) => error.class(),
            Self::Json(error) => error.class(),
        }
    }
}
