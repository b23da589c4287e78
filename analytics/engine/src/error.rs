//! What can go wrong with a brain: only its snapshot. Everything else is counted and goes on.

use geophone_proto::Class;

/// Failures of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The bytes are no snapshot of this version.
    #[error("snapshot cannot be read: {0}; replay the log instead")]
    Unreadable(#[from] postcard::Error),
    /// Whoever should take the bytes takes no more.
    #[error("snapshot cannot be written: {0}")]
    Unwritten(postcard::Error),
    /// Written by another layout of the state.
    #[error("snapshot has layout {found}, this program writes {wanted}; replay the log instead")]
    Layout {
        /// In the snapshot.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// Made under settings that shape the state.
    #[error("snapshot was made with {was}, now {now} is set; replay the log instead")]
    Settings {
        /// In the snapshot.
        was: String,
        /// Asked for.
        now: String,
    },
}

impl EngineError {
    /// What the caller should do: never try these bytes again, or write them another time.
    pub const fn class(&self) -> Class {
        match self {
            Self::Unwritten(_) => Class::Retry,
            Self::Unreadable(_) | Self::Layout { .. } | Self::Settings { .. } => Class::Reject,
        }
    }
}
