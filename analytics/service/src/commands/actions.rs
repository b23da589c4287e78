//! `geophone actions`: what was done or could be done about incidents.

use super::{
    incidents::items,
    output::{FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::error::ServiceError;
use clap::{Args, Subcommand};

/// List, approve or reject actions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone actions list --state awaiting_approval\n  geophone actions approve 9b3e44")]
pub struct Actions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Newest first.
    #[command(after_help = "Example:\n  geophone actions list --incident 5f1c2a")]
    List {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
        /// Such as awaiting_approval.
        #[arg(long, env = "GEOPHONE_STATE")]
        state: Option<String>,
        /// Only those of this incident.
        #[arg(long, env = "GEOPHONE_INCIDENT", value_name = "ID")]
        incident: Option<String>,
        /// At most so many.
        #[arg(long, env = "GEOPHONE_LIMIT", value_name = "N")]
        limit: Option<u32>,
        /// Go on after a `next_cursor`.
        #[arg(long, env = "GEOPHONE_CURSOR")]
        cursor: Option<String>,
    },
    /// Let a waiting action run.
    #[command(after_help = "Example:\n  geophone actions approve 9b3e44")]
    Approve(One),
    /// Refuse a waiting action.
    #[command(after_help = "Example:\n  geophone actions reject 9b3e44")]
    Reject(One),
}

#[derive(Debug, Args)]
struct One {
    /// Its id.
    id: String,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    format: FormatArg,
}

const COLUMNS: &[(&str, &str)] = &[
    ("id", "/id"),
    ("state", "/state"),
    ("decided at", "/decided_at"),
    ("policy", "/policy"),
    ("incident", "/incident_id"),
    ("reason", "/reason"),
];

impl Actions {
    /// Asks the server and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        match self.what {
            What::List { remote, format, state, incident, limit, cursor } => {
                let params =
                    [("state", state), ("incident_id", incident), ("limit", limit.map(|limit| limit.to_string())), ("cursor", cursor)];
                let answer = remote.get("/api/v1/actions", &params)?;
                print_items(format.format(), &answer, items(&answer), COLUMNS)
            }
            What::Approve(one) => one.decide("approve"),
            What::Reject(one) => one.decide("reject"),
        }
    }
}

impl One {
    fn decide(&self, verb: &str) -> Result<(), ServiceError> {
        let answer = self.remote.post(&format!("/api/v1/actions/{}:{verb}", escape(&self.id)), &serde_json::json!({}))?;
        print_value(self.format.format(), &answer)
    }
}
