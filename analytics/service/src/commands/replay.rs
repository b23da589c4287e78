//! `geophone replay`: recorded telemetry through the same path, as fast as possible.

use super::{
    incidents::COLUMNS,
    output::{FormatArg, print_items},
    progress::bar,
};
use crate::{
    config::{Config, Spec},
    error::ServiceError,
    models,
    replay::{Keep, Merged, Replay as Fold, find},
    wiring::{SystemClock, decoder},
};
use clap::Args;
use geophone_engine::{Brain, feature_schema};
use geophone_store::{Durability, Log, LogOptions, Store, StoreOptions};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Find incidents in recorded telemetry.
///
/// Files as the Collector's file exporter writes them: .json or .jsonl (one export request a line), .binpb
/// (a 4-byte big-endian length before each message), each also as .gz or .zst; a folder means all in it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  geophone replay traces.jsonl metrics.jsonl.zst\n  geophone replay recorded/ --save ./replayed && geophone query --data-dir ./replayed \"SELECT count(*) AS n FROM spans\""
)]
pub struct Replay {
    /// Files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Configuration file; detection, actions and models count.
    #[arg(long, env = "GEOPHONE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep rows, scores and incidents in this folder, for `query --data-dir`.
    #[arg(long, env = "GEOPHONE_SAVE", value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
}

impl Replay {
    /// Feeds all files and prints the incidents, oldest first. Exit 0 with or without any.
    pub fn run(self) -> Result<(), ServiceError> {
        let env = |name: &str| std::env::var(name).ok();
        let spec = self.config.as_deref().map(|file| Spec::read(file, &env)).unwrap_or_default();
        let config = Config::from_spec(&spec).map_err(ServiceError::Config)?;
        let files = find(&self.paths)?;
        let brain = Brain::new(config.settings(), models::load(&config.model, &config.data_dir)?);
        let keep = self.save.as_deref().map(keep_in).transpose()?;
        let mut fold = Fold::new(brain, keep);
        let mut merged = Merged::open(&files)?;
        let progress = bar(None, "rows");
        while let Some(message) = merged.advance()? {
            fold.feed(message)?;
            progress.set_position(fold.rows);
        }
        progress.finish_and_clear();
        if fold.rows == 0 && merged.refused > 0 {
            return Err(ServiceError::Negative(format!("none of {} messages could be read", merged.refused)));
        }
        let incidents: Vec<Value> = fold.finish()?.iter().map(|incident| json!(incident)).collect();
        print_items(self.format.format(), &json!(incidents), &incidents, COLUMNS)
    }
}

fn keep_in(dir: &Path) -> Result<Keep, ServiceError> {
    let failed = |error: geophone_store::StoreError| ServiceError::room(error.class(), error);
    let options = LogOptions { durability: Durability::Os, ..LogOptions::new(decoder()) };
    let (log, found) = Log::open(Some(dir), options, Arc::new(SystemClock)).map_err(failed)?;
    if found.head.0 > 0 {
        return Err(ServiceError::Usage(format!("--save {}: there is telemetry in it already; name a new folder", dir.display())));
    }
    let store = Store::open(dir, StoreOptions::new(decoder(), feature_schema()), log.clone()).map_err(failed)?;
    Ok(Keep { log, store })
}
