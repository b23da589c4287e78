//! `geophone models`: which models there are and whether a folder holds a sound one.

use super::{
    incidents::items,
    output::{FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::error::ServiceError;
use clap::{Args, Subcommand};

/// List models, print a card.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone models list\n  geophone models card default")]
pub struct Models {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Models that the server knows, and what runs them.
    #[command(after_help = "Example:\n  geophone models list --output json")]
    List {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Card of a model: feature schema, features, input and output.
    #[command(after_help = "Example:\n  geophone models card default@1")]
    Card {
        /// NAME or NAME@VERSION.
        name: String,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
    },
}

const COLUMNS: &[(&str, &str)] =
    &[("name", "/name"), ("version", "/version"), ("state", "/state"), ("runtime", "/runtime"), ("sha256", "/sha256")];

impl Models {
    /// Asks the server and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        match self.what {
            What::List { remote, format } => {
                let answer = remote.get("/api/v1/models", &[])?;
                print_items(format.format(), &answer, items(&answer), COLUMNS)
            }
            What::Card { name, remote, format } => {
                print_value(format.format(), &remote.get(&format!("/api/v1/models/{}", escape(&name)), &[])?)
            }
        }
    }
}
