//! The command line: one file per command, data on stdout, errors on stderr, exit 0, 1 or 2.

mod actions;
mod anomalies;
mod attach;
mod check;
mod cli;
mod completion;
mod doctor;
mod glibc;
mod incidents;
mod models;
mod output;
mod profile;
mod progress;
mod query;
mod remote;
mod replay;
mod score;
mod serve;
mod settings;
mod token;
mod validate;

pub use cli::Cli;
pub use output::{Format, FormatArg};
pub use settings::ServiceArgs;
