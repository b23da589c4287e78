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
    replay::{Comparison, Keep, Merged, Replay as Fold, Window, compare, find},
    wiring::{SystemClock, decoder},
};
use clap::Args;
use geophone_engine::{Brain, feature_schema};
use geophone_store::{Durability, Log, LogOptions, Recording, Store, StoreOptions};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Find incidents in recorded telemetry.
///
/// Files as the Collector's file exporter writes them: .json or .jsonl (one export request a line), .binpb
/// (a 4-byte big-endian length before each message), each also as .gz or .zst; a folder means all in it.
/// A data directory (of a server that is stopped or runs) means what its log holds: `log.history` of what is in the
/// tables already, and all that is not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  geophone replay traces.jsonl metrics.jsonl.zst\n  geophone replay recorded/ --save ./replayed && geophone query --data-dir ./replayed \"SELECT count(*) AS n FROM spans\"\n  geophone replay recorded/ --compare ./my-model\n  geophone replay ./geophone-data --from 2026-01-31T12:00:00Z --compare mine@2"
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
    /// Replay with this too and tell the difference: a configuration file, the folder of a model, or NAME@VERSION.
    #[arg(long, env = "GEOPHONE_COMPARE", value_name = "MODEL|CONFIG")]
    compare: Option<String>,
    /// Only incidents that lasted at or after this time (RFC 3339); what came before is learnt from.
    #[arg(long, env = "GEOPHONE_FROM", value_name = "TIME")]
    from: Option<String>,
    /// Only incidents that began at or before this time (RFC 3339).
    #[arg(long, env = "GEOPHONE_TO", value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

const COMPARED: &[(&str, &str)] = &[
    ("change", "/change"),
    ("opened at", "/incident/opened_at"),
    ("later s", "/moved/opened_later_s"),
    ("severity", "/incident/severity"),
    ("title", "/incident/title"),
    ("id", "/incident/id"),
];

impl Replay {
    /// Feeds all files and prints the incidents, oldest first, or how two replays differ. Exit 0 with or
    /// without any.
    pub fn run(self) -> Result<(), ServiceError> {
        let window = Window::read(self.from.as_deref(), self.to.as_deref())?;
        let config = read_config(self.config.as_deref())?;
        let keep = self.save.as_deref().map(keep_in).transpose()?;
        let mut folds = vec![Fold::new(brain_of(&config, &config.models.active)?, keep)];
        if let Some(other) = &self.compare {
            folds.push(Fold::new(self.other(other, &config)?, None));
        }
        let refused = match &*self.paths {
            [dir] if is_data_dir(dir) => feed_log(dir, &mut folds)?,
            paths => feed_files(&find(paths)?, &mut folds)?,
        };
        let rows = folds.iter().map(|fold| fold.rows).max().unwrap_or(0);
        if rows == 0 && refused > 0 {
            return Err(ServiceError::Negative(format!("none of {refused} messages could be read")));
        }
        window.meets(folds.iter().find_map(|fold| fold.held))?;
        let names: Vec<Value> = folds.iter().map(|fold| json!(fold.model())).collect();
        let outcomes = folds.into_iter().map(Fold::finish).collect::<Result<Vec<_>, _>>()?;
        match &*outcomes {
            [before, after] => {
                let named = |at: usize, config: Option<&str>| json!({"model": names[at], "config": config});
                let other = self.compare.as_deref().filter(|other| is_config(other));
                let own = self.config.as_deref().and_then(Path::to_str);
                let Comparison { whole, items } = compare((before, after), (named(0, own), named(1, other.or(own))), window);
                print_items(self.format.format(), &whole, &items, COMPARED)
            }
            outcomes => {
                let incidents: Vec<Value> =
                    outcomes.iter().flat_map(|outcome| window.incidents(outcome)).map(|incident| json!(incident)).collect();
                print_items(self.format.format(), &json!(incidents), &incidents, COLUMNS)
            }
        }
    }

    /// The brain to compare with: another configuration, or another model under the same.
    fn other(&self, other: &str, config: &Config) -> Result<Brain, ServiceError> {
        if is_config(other) {
            let other = read_config(Some(Path::new(other)))?;
            return brain_of(&other, &other.models.active);
        }
        brain_of(config, other)
    }
}

/// A file that is no model folder.
fn is_config(text: &str) -> bool {
    Path::new(text).is_file() || text.ends_with(".yaml") || text.ends_with(".yml")
}

fn read_config(file: Option<&Path>) -> Result<Config, ServiceError> {
    let env = |name: &str| std::env::var(name).ok();
    let spec = file.map(|file| Spec::read(file, &env)).unwrap_or_default();
    Config::from_spec(&spec).map_err(ServiceError::Config)
}

fn brain_of(config: &Config, model: &str) -> Result<Brain, ServiceError> {
    Ok(Brain::new(config.settings(), models::load_checked(model, &config.data_dir, config.memory_limit, &config.models.trust)?))
}

/// Every message to every fold; how many messages could not be read.
fn feed_files(files: &[PathBuf], folds: &mut [Fold]) -> Result<u64, ServiceError> {
    let mut merged = Merged::open(files)?;
    let progress = bar(None, "rows");
    while let Some(message) = merged.advance()? {
        for fold in &mut *folds {
            fold.feed(message.clone())?;
            progress.set_position(fold.rows);
        }
    }
    progress.finish_and_clear();
    Ok(merged.refused)
}

/// A server's, not a folder of recorded files.
fn is_data_dir(dir: &Path) -> bool {
    ["log", "tables"].iter().any(|name| dir.join(name).is_dir())
}

/// What the log of a data directory holds, record by record.
fn feed_log(dir: &Path, folds: &mut [Fold]) -> Result<u64, ServiceError> {
    let failed = |error: geophone_store::StoreError| ServiceError::room(error.class(), error);
    let mut recording = Recording::open(dir, decoder()).map_err(failed)?;
    let mut refused = 0;
    let progress = bar(None, "rows");
    loop {
        match recording.advance() {
            Ok(Some((_, record))) => {
                for fold in &mut *folds {
                    fold.feed_record(record.clone())?;
                    progress.set_position(fold.rows);
                }
            }
            Ok(None) => break,
            Err(error) => {
                refused += 1;
                tracing::warn!("a part of the log cannot be read: {error}");
            }
        }
    }
    progress.finish_and_clear();
    if recording.missing > 0 {
        tracing::warn!("{} records are missing in the log of {}: what follows is judged without them", recording.missing, dir.display());
    }
    match folds.iter().find_map(|fold| fold.held) {
        Some((first, last)) => tracing::info!("the log of {} holds telemetry from {first} to {last}", dir.display()),
        None if refused == 0 => {
            return Err(ServiceError::Negative(format!(
                "the log of {} holds no telemetry: `log.history` says how much of it is kept once it is in the tables, and with \
                 `log.durability: none` nothing is",
                dir.display()
            )));
        }
        None => {}
    }
    Ok(refused)
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
