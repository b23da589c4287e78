//! `geophone models`: which models there are and whether a folder holds a sound one.

use super::{
    incidents::items,
    output::{FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::{config::parse_size, error::ServiceError, model_check};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// List models, print a card, check a folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone models list\n  geophone models card default\n  geophone models check ./my-model")]
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
    /// Whether a folder holds a model that may score here; runs it in a child process, bounded in memory and time.
    #[command(after_help = "Example:\n  geophone models check ./my-model")]
    Check {
        /// With model.onnx, card.toml and check.parquet.
        folder: PathBuf,
        /// Memory that the check may use.
        #[arg(long, env = "GEOPHONE_MEMORY_LIMIT", value_name = "SIZE", default_value = "512MiB")]
        memory_limit: String,
        /// Check in this very process.
        #[arg(long, hide = true)]
        in_process: bool,
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
            What::Check { folder, memory_limit, in_process, format } => {
                let wrong = || ServiceError::Usage(format!("--memory-limit `{memory_limit}` is not a size: write `512MiB`"));
                let memory_bytes = parse_size(&memory_limit).ok_or_else(wrong)?;
                let check = if in_process { model_check::in_process } else { model_check::in_child };
                print_value(format.format(), &json!(check(&folder, memory_bytes)?))
            }
            What::Card { name, remote, format } => {
                print_value(format.format(), &remote.get(&format!("/api/v1/models/{}", escape(&name)), &[])?)
            }
        }
    }
}
