//! The tables: what is sealed, what is not yet, and the brain's snapshot. Written by the brain's
//! dispatcher (`observe`, `snapshot_write`) and one low-priority thread (`seal`, `retain`); queried by
//! anybody.

use crate::{
    catalog::Catalog,
    derived::{Versions, Windows},
    durable,
    error::StoreError,
    floor,
    log::{Log, LogOptions, lock},
    options::StoreOptions,
    seal::Ahead,
    snapshot,
};
use geophone_proto::{Effect, Seq, Series, action::Action, anomaly::Anomaly, incident::Incident, seam::Clock};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// One value per column in each row.
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// What a seal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Log segments that are Parquet now.
    pub segments: usize,
    /// Rows written, spans, points, logs and derived rows together.
    pub rows: u64,
    /// Files written.
    pub files: usize,
    /// Files merged into one of them.
    pub merged: usize,
}

/// What retention dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainReport {
    /// Parquet files.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Closed anomalies, incidents and actions.
    pub versions: u64,
}

/// What changes together; one short lock.
pub(crate) struct Tables {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) windows: Windows,
    pub(crate) versions: Versions,
}

/// Parquet files, what is newer than they are, and SQL over both.
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) log: Arc<Log>,
    pub(crate) tables: Mutex<Tables>,
    /// Held by whoever seals, merges or drops files; what is pressed but not sealed.
    pub(crate) sealing: Mutex<Option<Ahead>>,
    /// Queries that run now.
    pub(crate) queries: Arc<AtomicUsize>,
    /// Number of the next Parquet file.
    pub(crate) next_file: Arc<AtomicU64>,
    pub(crate) read_only: bool,
    lock: Option<File>,
}

impl Store {
    /// Opens the tables in `dir` for writing; `log` must be opened on the same directory, or in memory.
    pub fn open(dir: &Path, options: StoreOptions, log: Arc<Log>) -> Result<Arc<Self>, StoreError> {
        durable::create_dir(dir).map_err(|source| StoreError::Open { path: dir.to_owned(), source })?;
        // An in-memory log keeps nobody out.
        let held = if log.holds_lock() { None } else { Some(durable::lock(dir)?) };
        let catalog = Catalog::load(dir)?;
        let swept = catalog.sweep(dir);
        metrics::counter!("geophone_store_swept_files_total").increment(swept);
        let mut store = Self::load(dir, options, log, catalog, false)?;
        store.lock = held;
        store.log.raise(floor::of(dir));
        store.log.mark_sealed(lock(&store.tables).catalog.sealed_through);
        Ok(Arc::new(store))
    }

    /// Opens `dir` to query it, beside a running server or without one. Changes nothing. Windows that
    /// a running server has not settled yet, and changes after this call, are not seen.
    pub fn open_read_only(dir: &Path, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        if !dir.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such directory");
            return Err(StoreError::Open { path: dir.to_owned(), source });
        }
        loop {
            let catalog = Catalog::load(dir)?;
            let log = Log::open_read_only(dir, LogOptions::new(options.decode.clone()), clock.clone())?;
            // If a seal came between, its segments may be gone from the log: look again.
            if Catalog::load(dir)?.generation == catalog.generation {
                return Ok(Arc::new(Self::load(dir, options, log, catalog, true)?));
            }
        }
    }

    fn load(dir: &Path, options: StoreOptions, log: Arc<Log>, catalog: Catalog, read_only: bool) -> Result<Self, StoreError> {
        let versions = Versions::open(&dir.join("versions.jsonl"), !read_only)?;
        let mut windows = Windows::new(catalog.settled_through);
        if let Some(snapshot) = snapshot::read(dir)
            && let Err(error) = windows.restore(&snapshot.windows)
        {
            metrics::counter!("geophone_store_bad_snapshots_total").increment(1);
            tracing::warn!("the snapshot's windows cannot be read ({error}); windows before it that were not sealed are missing");
        }
        let next_file = Arc::new(AtomicU64::new(catalog.next_file.max(1)));
        Ok(Self {
            dir: dir.to_owned(),
            options,
            log,
            tables: Mutex::new(Tables { catalog: Arc::new(catalog), windows, versions }),
            sealing: Mutex::new(None),
            queries: Arc::new(AtomicUsize::new(0)),
            next_file,
            read_only,
            lock: None,
        })
    }

    /// Takes what the brain derived: newest versions of series, anomalies, incidents and actions,
    /// windows, and the word that windows are settled. Other effects are none of the store's business.
    /// Seeing an effect again changes nothing.
    pub fn observe(&self, effect: &Effect) {
        let mut tables = lock(&self.tables);
        match effect {
            Effect::Window(window) => {
                if !tables.windows.observe(window.clone()) {
                    metrics::counter!("geophone_store_known_windows_total").increment(1);
                }
            }
            Effect::Settled(at) => tables.windows.settle(*at),
            Effect::SeriesSeen(_) | Effect::Anomaly(_) | Effect::Incident(_) | Effect::Action(_) => {
                if let Err(error) = tables.versions.observe(effect, self.log.now()) {
                    metrics::counter!("geophone_store_journal_errors_total").increment(1);
                    tracing::error!("{error}; the change is in memory, and replay of the log brings it back after a restart");
                }
            }
            Effect::Perform(_)
            | Effect::WantStacks(_)
            | Effect::Budget(_)
            | Effect::LineUp(_)
            | Effect::WantRollback { .. }
            | Effect::Count { .. } => {}
        }
    }

    /// Saves the brain's state, which must include record `seq` and nothing after it, together with
    /// the windows not yet in Parquet. Every effect of records up to `seq` must have been observed.
    /// Afterwards `log.release(seq)` is safe.
    pub fn snapshot_write(&self, seq: Seq, brain: &mut snapshot::Fill<'_>) -> Result<(), StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        let windows = lock(&self.tables).windows.clone();
        snapshot::write(&self.dir, seq.0, brain, &mut |sink| windows.save(sink))
    }

    /// The newest whole snapshot of the brain.
    pub fn snapshot_read(&self) -> Option<(Seq, Vec<u8>)> {
        snapshot::read(&self.dir).map(|snapshot| (Seq(snapshot.seq), snapshot.brain))
    }

    /// Newest versions of all incidents kept, in order of opening.
    pub fn incidents(&self) -> Vec<Arc<Incident>> {
        lock(&self.tables).versions.incidents()
    }

    /// Newest versions of all anomalies kept, in order of opening.
    pub fn anomalies(&self) -> Vec<Arc<Anomaly>> {
        lock(&self.tables).versions.anomalies()
    }

    /// Newest versions of all actions kept, in order of decision.
    pub fn actions(&self) -> Vec<Arc<Action>> {
        lock(&self.tables).versions.actions()
    }

    /// All series ever seen, by service, name and kind.
    pub fn series(&self) -> Vec<Arc<Series>> {
        lock(&self.tables).versions.series()
    }

    /// Waits until there is a closed log segment to seal; false if none came within `timeout`.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        self.log.wait_closed(timeout)
    }
}
