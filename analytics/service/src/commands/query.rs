//! `geophone query`: SQL over everything kept, of a running server or of a data folder.

use super::{
    output::{FormatArg, print_rows},
    remote::Remote,
};
use crate::{api::Answer, error::ServiceError};
use clap::Args;
use serde_json::{Value, json};

/// Run a read-only SQL query.
#[derive(Debug, Args)]
#[command(after_help = "Tables: spans, metric_points, logs, features, scores, anomalies, incidents, actions\n\n\
Examples:\n  geophone query \"SELECT service, count(*) AS n FROM spans GROUP BY service ORDER BY n DESC\"\n  \
geophone query --data-dir ./geophone-data \"SELECT count(*) AS n FROM logs\"")]
pub struct Query {
    /// The statement.
    sql: String,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    format: FormatArg,
}

impl Query {
    /// Asks and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        let answer = self.remote.post("/api/v1/query", &json!({"sql": self.sql}))?;
        print_rows(self.format.format(), answer_of(answer)?)
    }
}

fn answer_of(mut answer: Value) -> Result<Answer, ServiceError> {
    let columns = answer.get_mut("columns").map(Value::take).and_then(|columns| serde_json::from_value(columns).ok());
    let rows = answer.get_mut("rows").map(Value::take).and_then(|rows| serde_json::from_value(rows).ok());
    columns
        .zip(rows)
        .map(|(columns, rows)| Answer { columns, rows })
        .ok_or_else(|| ServiceError::Remote("the server's answer is not one of ours: check --endpoint".into()))
}
