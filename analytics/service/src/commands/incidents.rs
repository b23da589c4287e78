//! `geophone incidents`: what went wrong, as a running server knows it.

use super::{
    output::{FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::error::ServiceError;
use clap::{Args, Subcommand};
use serde_json::Value;

/// List or show incidents.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone incidents list --state open\n  geophone incidents show 5f1c2a --output json")]
pub struct Incidents {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Newest first.
    #[command(after_help = "Example:\n  geophone incidents list --service payment --from 2026-01-31T12:00:00Z")]
    List {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
        #[command(flatten)]
        filter: Filter,
    },
    /// One incident with its suspects and timeline.
    #[command(after_help = "Example:\n  geophone incidents show 5f1c2a")]
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
    },
}

/// Which ones.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only those of this service.
    #[arg(long, env = "GEOPHONE_SERVICE")]
    service: Option<String>,
    /// open or closed.
    #[arg(long, env = "GEOPHONE_STATE")]
    state: Option<String>,
    /// Only those that lasted at or after this time (RFC 3339).
    #[arg(long, env = "GEOPHONE_FROM", value_name = "TIME")]
    from: Option<String>,
    /// Only those that began at or before this time (RFC 3339).
    #[arg(long, env = "GEOPHONE_TO", value_name = "TIME")]
    to: Option<String>,
    /// At most so many.
    #[arg(long, env = "GEOPHONE_LIMIT", value_name = "N")]
    limit: Option<u32>,
    /// Go on after a `next_cursor`.
    #[arg(long, env = "GEOPHONE_CURSOR")]
    cursor: Option<String>,
}

impl Filter {
    pub fn params(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("service", self.service.clone()),
            ("state", self.state.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ]
    }
}

pub(crate) const COLUMNS: &[(&str, &str)] = &[
    ("id", "/id"),
    ("state", "/state"),
    ("severity", "/severity"),
    ("opened at", "/opened_at"),
    ("first suspect", "/suspects/0/service"),
    ("title", "/title"),
];

/// Items of a list as the API answers it.
pub(crate) fn items(answer: &Value) -> &[Value] {
    answer.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Incidents {
    /// Asks the server and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        match self.what {
            What::List { remote, format, filter } => {
                let answer = remote.get("/api/v1/incidents", &filter.params())?;
                print_items(format.format(), &answer, items(&answer), COLUMNS)
            }
            What::Show { id, remote, format } => {
                print_value(format.format(), &remote.get(&format!("/api/v1/incidents/{}", escape(&id)), &[])?)
            }
        }
    }
}
