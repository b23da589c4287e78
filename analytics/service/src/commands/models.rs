//! `geophone models`: which models there are, whether a folder holds a sound one, and the steps of a
//! model's life.

use super::{
    incidents::items,
    output::{FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::{
    config::parse_size,
    error::ServiceError,
    models::{ModelFiles, in_child, in_process},
};
use clap::{Args, Subcommand};
use geophone_models::Trust;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// List models, print a card, check a folder; add, try, promote and take back models.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  geophone models list\n  geophone models card default\n  geophone models check ./my-model\n  geophone models add ./my-model\n  \
geophone models shadow mine@1\n  geophone models promote mine@1\n  geophone models rollback"
)]
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
        /// Refuse a folder that none of these minisign public keys has signed; may be given again.
        #[arg(long, value_name = "KEY")]
        trusted_key: Vec<String>,
        /// Check in this very process.
        #[arg(long, hide = true)]
        in_process: bool,
        #[command(flatten)]
        format: FormatArg,
    },
    /// One model as it stands: state, trial, latency.
    #[command(after_help = "Example:\n  geophone models show mine@1")]
    Show(Step),
    /// Give the server a model; it is checked there, and scores nothing yet.
    #[command(after_help = "Example:\n  geophone models add ./my-model")]
    Add {
        /// With model.onnx, card.toml and check.parquet.
        folder: PathBuf,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Score beside the active model, unheard: `models list` tells how it does.
    #[command(after_help = "Example:\n  geophone models shadow mine@1")]
    Shadow(Step),
    /// Speak for some of the series, chosen by their hash.
    #[command(after_help = "Example:\n  geophone models canary mine@1 --percent 10")]
    Canary {
        #[command(flatten)]
        step: Step,
        /// Of a hundred series [default: models.canary_percent].
        #[arg(long, env = "GEOPHONE_PERCENT", value_name = "N", value_parser = clap::value_parser!(u32).range(1..100))]
        percent: Option<u32>,
    },
    /// Speak for all series.
    #[command(after_help = "Example:\n  geophone models promote mine@1")]
    Promote(Step),
    /// Go back to the model before the last promotion, or end the trial that is named.
    #[command(after_help = "Examples:\n  geophone models rollback\n  geophone models rollback mine@2")]
    Rollback {
        /// NAME or NAME@VERSION [default: the active model].
        name: Option<String>,
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

/// One step of one model.
#[derive(Debug, Args)]
struct Step {
    /// NAME or NAME@VERSION.
    name: String,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    format: FormatArg,
}

const COLUMNS: &[(&str, &str)] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("state", "/state"),
    ("agreement", "/trial/agreement"),
    ("alerts +", "/trial/alerts_added"),
    ("alerts -", "/trial/alerts_removed"),
    ("p99 ms", "/latency/p99_ms"),
    ("reason", "/reason"),
    ("runtime", "/runtime"),
    ("sha256", "/sha256"),
];

impl Models {
    /// Asks the server and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        match self.what {
            What::List { remote, format } => {
                let answer = remote.get("/api/v1/models", &[])?;
                print_items(format.format(), &answer, items(&answer), COLUMNS)
            }
            What::Check { folder, memory_limit, trusted_key, in_process, format } => {
                let wrong = || ServiceError::Usage(format!("--memory-limit `{memory_limit}` is not a size: write `512MiB`"));
                let memory_bytes = parse_size(&memory_limit).ok_or_else(wrong)?;
                let trust = Trust::in_keys(trusted_key).map_err(|error| ServiceError::Usage(error.to_string()))?;
                let report =
                    if in_process { self::in_process(&folder, memory_bytes, &trust) } else { in_child(&folder, memory_bytes, &trust) };
                print_value(format.format(), &json!(report?))
            }
            What::Show(step) => step.show(),
            What::Add { folder, remote, format } => add(&folder, &remote, format),
            What::Shadow(step) => step.take("shadow", &json!({})),
            What::Canary { step, percent } => {
                step.take("canary", &percent.map_or_else(|| json!({}), |percent| json!({"percent": percent})))
            }
            What::Promote(step) => step.take("promote", &json!({})),
            What::Rollback { name, remote, format } => {
                let name = name.map_or_else(|| active(&remote), Ok)?;
                Step { name, remote, format }.take("rollback", &json!({}))
            }
            What::Card { name, remote, format } => {
                print_value(format.format(), &remote.get(&format!("/api/v1/models/{}", escape(&name)), &[])?)
            }
        }
    }
}

impl Step {
    fn take(&self, verb: &str, body: &Value) -> Result<(), ServiceError> {
        print_value(self.format.format(), &self.remote.post(&format!("/api/v1/models/{}:{verb}", escape(&self.name)), body)?)
    }

    fn show(&self) -> Result<(), ServiceError> {
        let answer = self.remote.get("/api/v1/models", &[])?;
        let (name, version) = self.name.split_once('@').map_or((&*self.name, None), |(name, version)| (name, Some(version)));
        let found =
            items(&answer).iter().rev().find(|item| item["name"] == name && version.is_none_or(|version| item["version"] == version));
        let missing = || ServiceError::Negative(format!("no model has the id `{}`", self.name));
        print_value(self.format.format(), found.ok_or_else(missing)?)
    }
}

/// The server checks; nothing of the folder is run here.
fn add(folder: &Path, remote: &Remote, format: FormatArg) -> Result<(), ServiceError> {
    let files = ModelFiles::read(folder)?;
    let card = geophone_models::read_card(folder).map_err(|error| ServiceError::Negative(error.to_string()))?;
    let (body, kind) = files.to_multipart();
    print_value(format.format(), &remote.post_content(&format!("/api/v1/models/{}/versions", escape(&card.name)), (body, &kind))?)
}

/// Name of the active model.
fn active(remote: &Remote) -> Result<String, ServiceError> {
    let answer = remote.get("/api/v1/models", &[("state", Some("active".into()))])?;
    let item = items(&answer).first().ok_or_else(|| ServiceError::Negative("no model is active yet: try again".into()))?;
    Ok(item["name"].as_str().unwrap_or_default().to_owned())
}
