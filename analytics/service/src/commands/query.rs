//! `geophone query`: SQL over everything kept, of a running server or of a data folder.

use super::{
    output::{FormatArg, print_rows},
    remote::Remote,
};
use crate::{
    api::Answer,
    error::ServiceError,
    wiring::{SystemClock, decoder},
};
use clap::Args;
use geophone_engine::feature_schema;
use geophone_store::{Store, StoreOptions};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Run a read-only SQL query.
#[derive(Debug, Args)]
#[command(after_help = "Tables: spans, metric_points, logs, profiles, features, scores, anomalies, incidents, actions\n\n\
Examples:\n  geophone query \"SELECT service, count(*) AS n FROM spans GROUP BY service ORDER BY n DESC\"\n  \
geophone query --data-dir ./geophone-data \"SELECT count(*) AS n FROM logs\"")]
pub struct Query {
    /// The statement.
    sql: String,
    #[command(flatten)]
    remote: Remote,
    /// Read this data folder instead of asking a server; works beside a running one too.
    #[arg(long, env = "GEOPHONE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
}

impl Query {
    /// Asks and prints.
    pub fn run(self) -> Result<(), ServiceError> {
        let answer = match &self.data_dir {
            // The environment of a server names its folder too; a server that was named wins over that.
            Some(dir) if !(self.remote.is_named() && is_from_environment(dir)) => read_folder(dir, &self.sql)?,
            Some(_) | None => answer_of(self.remote.post("/api/v1/query", &json!({"sql": self.sql}))?)?,
        };
        print_rows(self.format.format(), answer)
    }
}

fn is_from_environment(dir: &Path) -> bool {
    std::env::var_os("GEOPHONE_DATA_DIR").is_some_and(|value| value == dir.as_os_str())
}

fn read_folder(dir: &Path, sql: &str) -> Result<Answer, ServiceError> {
    let failed = |error: geophone_store::StoreError| ServiceError::room(error.class(), error);
    let store = Store::open_read_only(dir, StoreOptions::new(decoder(), feature_schema()), Arc::new(SystemClock)).map_err(failed)?;
    let rows = store.query(sql).map_err(failed)?;
    Ok(Answer { columns: rows.columns, rows: rows.rows })
}

fn answer_of(mut answer: Value) -> Result<Answer, ServiceError> {
    let columns = answer.get_mut("columns").map(Value::take).and_then(|columns| serde_json::from_value(columns).ok());
    let rows = answer.get_mut("rows").map(Value::take).and_then(|rows| serde_json::from_value(rows).ok());
    columns
        .zip(rows)
        .map(|(columns, rows)| Answer { columns, rows })
        .ok_or_else(|| ServiceError::Remote("the server's answer is not one of ours: check --endpoint".into()))
}
