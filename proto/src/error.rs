//! What a failure asks of the caller. Each crate's error enum answers `class()`; status codes and
//! exit codes are made from the class, once, at the edge.

/// What the caller of a failed operation should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Try again later: it may work unchanged.
    Retry,
    /// Never try again with the same input.
    Reject,
    /// Over budget: try again after the delay that came with it.
    Busy,
    /// The configuration must change first.
    Config,
    /// The process cannot go on.
    Fatal,
    /// Ours: please report.
    Bug,
}

impl Class {
    /// The word used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Busy => "busy",
            Self::Config => "config",
            Self::Fatal => "fatal",
            Self::Bug => "bug",
        }
    }

    /// The process exit code: 2 where the user must change what was asked, else 1.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Config => 2,
            Self::Retry | Self::Reject | Self::Busy | Self::Fatal | Self::Bug => 1,
        }
    }
}
