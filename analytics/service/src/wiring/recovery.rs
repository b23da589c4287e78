//! What the disk remembers: log, tables, the brain's last snapshot.

use super::thinker::Memory;
use crate::{config::Config, error::ServiceError, view::View};
use geophone_engine::feature_schema;
use geophone_proto::{Effect, RecordBody, Seq, action::Outcome, record::DecodeExport, seam::Clock};
use geophone_store::{Durability, Log, LogOptions, Store, StoreOptions};
use std::{sync::Arc, time::Duration};

/// Everything found in the data folder.
pub struct Recovered {
    /// The log.
    pub log: Arc<Log>,
    /// The tables.
    pub store: Arc<Store>,
    /// Where the brain goes on.
    pub memory: Memory,
}

/// The walk of the ingest room, for those who read the log.
pub fn decoder() -> DecodeExport {
    Arc::new(geophone_ingest::decode_export)
}

/// Whether the log ends with the process.
pub fn is_in_memory(config: &Config) -> bool {
    &*config.log.durability == "none"
}

/// Opens log and tables, mends what a crash left torn.
pub fn recover(config: &Config, clock: Arc<dyn Clock>) -> Result<Recovered, ServiceError> {
    let store_error = |error: geophone_store::StoreError| ServiceError::room(error.class(), error);
    let durability = match &*config.log.durability {
        "none" => Durability::None,
        "os" => Durability::Os,
        _ => Durability::Fsync,
    };
    let in_memory = is_in_memory(config);
    let share = usize::try_from(config.data_bytes() / if in_memory { 4 } else { 16 }).unwrap_or(usize::MAX);
    let options = LogOptions {
        durability,
        segment_bytes: config.log.segment_bytes,
        segment_age: config.log.segment_age,
        history_bytes: config.log.history_bytes,
        memory_bytes: share,
        ..LogOptions::new(decoder())
    };
    let (log, found) = Log::open(Some(&config.data_dir), options, clock).map_err(store_error)?;
    found.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let options = StoreOptions {
        retention_age: config.retention.age,
        retention_bytes: config.retention.bytes,
        query_bytes_max: usize::try_from(config.data_bytes() / 2).unwrap_or(usize::MAX),
        ..StoreOptions::new(decoder(), feature_schema())
    };
    let store = Store::open(&config.data_dir, options, log.clone()).map_err(store_error)?;
    let memory = recall(&store, &log, in_memory.then_some(Seq(0)));
    tracing::info!("log: {} records up to {}; the brain goes on at {}", found.records, found.head.0, memory.next.0);
    Ok(Recovered { log, store, memory })
}

/// What the brain knew when its memory was last written. A snapshot that lies beyond the log is of another log; so is
/// every one that a log in memory did not see written (`wanted`).
pub fn recall(store: &Store, log: &Log, wanted: Option<Seq>) -> Memory {
    let ours = |next: Seq| wanted.map_or_else(|| next <= log.head().next(), |wanted| next == wanted);
    match store.snapshot_read() {
        Some((seq, bytes)) if ours(seq.next()) => Memory { next: seq.next(), bytes: Arc::new(bytes) },
        Some(_) | None => Memory { next: log.oldest(), bytes: Arc::default() },
    }
}

/// Shows what was kept before the brain says anything.
pub fn show_kept(store: &Store, view: &View) {
    let series = store.series().into_iter().map(Effect::SeriesSeen);
    let anomalies = store.anomalies().into_iter().map(|anomaly| Effect::Anomaly(Box::new((*anomaly).clone())));
    let incidents = store.incidents().into_iter().map(|incident| Effect::Incident(Box::new((*incident).clone())));
    let actions = store.actions().into_iter().map(|action| Effect::Action(Box::new((*action).clone())));
    series.chain(anomalies).chain(incidents).chain(actions).for_each(|effect| view.apply(&effect));
}

/// Outcomes that the log holds beyond the snapshot: their requests were done and must not be done again.
pub fn outcomes(log: &Arc<Log>, from: Seq, see: &mut dyn FnMut(&Outcome)) {
    let mut reader = log.reader(from);
    let head = log.head();
    while reader.position() <= head {
        match reader.next(Duration::ZERO) {
            Ok(Some((_, record))) => {
                if let RecordBody::Outcome(outcome) = &record.body {
                    see(outcome);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::warn!("a part of the log cannot be read: {error}"),
        }
    }
}
