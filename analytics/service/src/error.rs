//! What can go wrong on the roof, and what each failure asks of the caller.

use crate::config::Problem;
use geophone_proto::{Class, seam::SeamError};
use std::io;

/// A failure of a command or of the service. Exit codes come from `class()`, once, in `main`.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration cannot be used; every problem is listed.
    #[error("{}", list_of(.0))]
    Config(Vec<Problem>),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The answer is no: the work ran and says so.
    #[error("{0}")]
    Negative(String),
    /// A file or socket failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done, with the name of the thing.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Another room failed.
    #[error("{message}")]
    Room {
        /// What it asks of us.
        class: Class,
        /// Its own words.
        message: String,
    },
    /// The server that a command talks to answered with an error or not at all.
    #[error("{0}")]
    Remote(String),
    /// A part of the service has stopped, so that it cannot go on.
    #[error("the {0} has stopped; see the log above, then restart")]
    Stopped(&'static str),
}

impl ServiceError {
    /// What this asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::Config(_) | Self::Usage(_) => Class::Config,
            Self::Negative(_) => Class::Reject,
            Self::Io { .. } | Self::Stopped(_) => Class::Fatal,
            Self::Remote(_) => Class::Retry,
            Self::Room { class, .. } => *class,
        }
    }

    /// Names what was being done when the system said no.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Wraps the error of another room.
    pub fn room(class: Class, error: impl std::fmt::Display) -> Self {
        Self::Room { class, message: error.to_string() }
    }
}

impl From<SeamError> for ServiceError {
    fn from(error: SeamError) -> Self {
        Self::Room { class: error.class, message: error.message }
    }
}

fn list_of(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    format!("the configuration has {} problem{}\n  {}", lines.len(), if lines.len() == 1 { "" } else { "s" }, lines.join("\n  "))
}
