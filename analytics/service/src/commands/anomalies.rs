//! `geophone anomalies`: series that left their band, as a running server knows them.

use super::{
    incidents::{Filter, items},
    output::{Format, FormatArg, print_items, print_value},
    remote::{Remote, escape},
};
use crate::error::ServiceError;
use clap::{Args, Subcommand};
use serde_json::Value;

/// List or show anomalies.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone anomalies list --min-score 0.9\n  geophone anomalies show 77aa01")]
pub struct Anomalies {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Newest first.
    #[command(after_help = "Example:\n  geophone anomalies list --state open --service payment")]
    List {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
        #[command(flatten)]
        filter: Filter,
        /// Only those with at least this score.
        #[arg(long, env = "GEOPHONE_MIN_SCORE", value_name = "0..1")]
        min_score: Option<f32>,
    },
    /// One anomaly with band, contributions, attributes that carry it, exemplars and stacks.
    #[command(after_help = "Example:\n  geophone anomalies show 77aa01 --output json")]
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        format: FormatArg,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("id", "/id"),
    ("state", "/state"),
    ("opened at", "/opened_at"),
    ("service", "/series/service"),
    ("name", "/series/name"),
    ("what", "/series/kind"),
    ("actual", "/actual"),
    ("expected", "/expected"),
    ("score", "/score"),
];

impl Anomalies {
    /// Asks the server and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        match self.what {
            What::List { remote, format, filter, min_score } => {
                let mut params = filter.params();
                params.push(("min_score", min_score.map(|score| score.to_string())));
                let answer = remote.get("/api/v1/anomalies", &params)?;
                print_items(format.format(), &answer, items(&answer), COLUMNS)
            }
            What::Show { id, remote, format } => {
                let mut anomaly = remote.get(&format!("/api/v1/anomalies/{}", escape(&id)), &[])?;
                if format.format() == Format::Table {
                    tell_attributes(&mut anomaly);
                }
                print_value(format.format(), &anomaly)
            }
        }
    }
}

/// Puts the attributes into words.
fn tell_attributes(anomaly: &mut Value) {
    let percent = |number: &Value| format!("{:.0} %", 100.0 * number.as_f64().unwrap_or(f64::NAN));
    let score = |number: &Value| format!("{:.2}", number.as_f64().unwrap_or(f64::NAN));
    let word = |text: &Value| text.as_str().unwrap_or_default().to_owned();
    let now = score(&anomaly["score"]);
    let line = |it: &Value| {
        let (name, was) = (format!("{}={}", word(&it["key"]), word(&it["value"])), percent(&it["baseline_share"]));
        let symptom = if it["outcome"] == Value::Bool(true) { " (a symptom)" } else { "" };
        format!(
            "{name}{symptom}: in {} of it, {was} before; without it the score is {}, not {now}",
            percent(&it["share"]),
            score(&it["score_without"])
        )
    };
    let lines: Vec<String> = anomaly["attributes"].as_array().into_iter().flatten().map(line).collect();
    anomaly["attributes"] = Value::String(lines.join("\n"));
}
