//! The tables of one query: files of the catalog and rows that are newer, taken at one moment. What is
//! sealed meanwhile stays readable, because the query holds the files and segments it has seen.

use super::function::object_of;
use crate::{
    catalog::{Catalog, FileEntry},
    derived::WindowParts,
    error::StoreError,
    log::{Cursor, Segment, lock},
    parquet::{Derived, Part, Telemetry, Type, action_frame, anomaly_frame, incident_frame},
    store::Store,
};
use geophone_proto::{RecordBody, action::Action, anomaly::Anomaly, incident::Incident};
use polars::{
    lazy::prelude::{AllowedOptimizations, LazyFrame, ScanArgsParquet, UnionArgs, concat},
    prelude::{Column, DataFrame, DataType, Expr, IntoLazy, PlRefPath, PolarsResult, col, lit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Recent rows that are held as batches before they become columns.
const CHUNK_ROWS: usize = 16 * 1024;

/// Names of all tables, as listed.
pub(crate) const TABLES: [&str; 10] =
    ["spans", "metric_points", "logs", "profiles", "features", "scores", "bands", "anomalies", "incidents", "actions"];

/// Everything a query may read, as of one moment.
pub(crate) struct Moment {
    pub(crate) catalog: Arc<Catalog>,
    segments: Vec<Arc<Segment>>,
    end: u64,
    windows: Vec<WindowParts>,
    anomalies: Vec<Arc<Anomaly>>,
    incidents: Vec<Arc<Incident>>,
    actions: Vec<Arc<Action>>,
}

/// Columns of a table, by name.
pub(crate) fn columns_of(store: &Store, table: &str) -> Vec<(String, Type)> {
    if let Some(telemetry) = Telemetry::ALL.into_iter().find(|it| it.as_str() == table) {
        return telemetry.columns().iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    }
    Derived::ALL.into_iter().find(|it| it.as_str() == table).map_or_else(Vec::new, |it| it.columns(&store.options.features))
}

impl Moment {
    /// Takes the moment. Nothing is read yet.
    pub(crate) fn take(store: &Store, tables: &BTreeSet<String>) -> Self {
        let state = lock(&store.tables);
        // Under the lock a seal cannot move rows from log or memory to the catalog.
        let (segments, end) = store.log.pin(state.catalog.sealed_through);
        let wants = |table: Derived| tables.contains(table.as_str());
        let windows = [Derived::Features, Derived::Scores, Derived::Bands].into_iter().any(wants);
        Self {
            catalog: state.catalog.clone(),
            segments,
            end,
            windows: if windows { state.windows.through(u64::MAX) } else { Vec::new() },
            anomalies: if wants(Derived::Anomalies) { state.versions.anomalies() } else { Vec::new() },
            incidents: if wants(Derived::Incidents) { state.versions.incidents() } else { Vec::new() },
            actions: if wants(Derived::Actions) { state.versions.actions() } else { Vec::new() },
        }
    }

    /// Files of a table that holds telemetry or windows.
    pub(crate) fn files(&self, table: &str) -> impl Iterator<Item = &Arc<FileEntry>> {
        let newest = [Derived::Anomalies, Derived::Incidents, Derived::Actions].iter().any(|it| it.as_str() == table);
        self.catalog.files.iter().filter(move |file| !newest && file.table == table)
    }

    /// Recent telemetry of the tables asked for, only the wanted columns. Batches are let go of every few
    /// thousand rows, so that only what the query names is held; more than `bound` bytes are refused.
    pub(crate) fn recent(&self, store: &Store, wanted: &Wanted, bound: usize) -> Result<BTreeMap<Telemetry, DataFrame>, StoreError> {
        let mut gathered: BTreeMap<Telemetry, Gathered> = BTreeMap::new();
        for table in Telemetry::ALL.into_iter().filter(|table| wanted.contains_key(table.as_str())) {
            gathered.insert(table, Gathered::default());
        }
        if gathered.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut held = 0;
        for segment in &self.segments {
            let mut cursor = Cursor::new(segment.clone());
            cursor.skip_to(self.catalog.sealed_through + 1)?;
            while cursor.next < self.end
                && let Some((seq, mut record)) = cursor.read()?
            {
                let RecordBody::Batch(export) = &record.body else { continue };
                let table = Telemetry::of_signal(export.signal);
                let Some(rows) = gathered.get_mut(&table) else { continue };
                store.log.recall(seq, &mut record);
                if let RecordBody::Batch(export) = record.body
                    && let Some(batch) = export.decoded
                {
                    held += rows.push(table, &wanted[table.as_str()], Part { batch, rows: None })?;
                }
                if held > bound {
                    return Err(StoreError::TooMuchMemory { needed: held, bound });
                }
            }
        }
        let whole = gathered.into_iter().map(|(table, mut rows)| {
            rows.settle(table, &wanted[table.as_str()])?;
            Ok((table, rows.frame.unwrap_or_else(DataFrame::empty)))
        });
        whole.collect()
    }

    /// Derived rows that are in no file, only the wanted columns.
    pub(crate) fn derived(&self, store: &Store, table: &str, wanted: &[(String, Type)]) -> PolarsResult<DataFrame> {
        let frame = match Derived::ALL.into_iter().find(|it| it.as_str() == table) {
            Some(Derived::Anomalies) => anomaly_frame(&self.anomalies)?,
            Some(Derived::Incidents) => incident_frame(&self.incidents)?,
            Some(Derived::Actions) => action_frame(&self.actions)?,
            Some(table) => return store.window_frame(table, &self.windows, &names(wanted)),
            None => DataFrame::empty(),
        };
        frame.select(names(wanted))
    }
}

/// Wanted columns by table.
pub(crate) type Wanted = BTreeMap<String, Vec<(String, Type)>>;

fn names(wanted: &[(String, Type)]) -> Vec<&str> {
    wanted.iter().map(|(name, _)| name.as_str()).collect()
}

/// Rows of one table on their way into columns.
#[derive(Default)]
struct Gathered {
    parts: Vec<Part>,
    rows: usize,
    frame: Option<DataFrame>,
}

impl Gathered {
    /// Takes a batch; returns the bytes by which the columns grew.
    fn push(&mut self, table: Telemetry, wanted: &[(String, Type)], part: Part) -> Result<usize, StoreError> {
        self.rows += part.len();
        self.parts.push(part);
        if self.rows < CHUNK_ROWS { Ok(0) } else { self.settle(table, wanted) }
    }

    /// Makes columns of what waits.
    fn settle(&mut self, table: Telemetry, wanted: &[(String, Type)]) -> Result<usize, StoreError> {
        let failed = |error| StoreError::columns("make columns", error);
        let chunk = table.frame(&names(wanted), &self.parts).map_err(failed)?;
        let bytes = chunk.estimated_size();
        self.parts.clear();
        self.rows = 0;
        match &mut self.frame {
            Some(frame) => {
                frame.vstack_mut(&chunk).map_err(failed)?;
            }
            None => self.frame = Some(chunk),
        }
        Ok(bytes)
    }
}

/// Sealed and recent rows as one table.
pub(crate) fn table(store: &Store, moment: &Moment, name: &str, wanted: &[(String, Type)], recent: DataFrame) -> PolarsResult<LazyFrame> {
    let mut by_schema: BTreeMap<&str, Vec<&Arc<FileEntry>>> = BTreeMap::new();
    for file in moment.files(name) {
        by_schema.entry(&file.schema).or_default().push(file);
    }
    let mut frames = Vec::new();
    for files in by_schema.into_values() {
        let paths: Vec<PlRefPath> = files.iter().map(|file| PlRefPath::new(store.dir.join(&file.path).to_string_lossy())).collect();
        let args = ScanArgsParquet { glob: false, cache: false, ..ScanArgsParquet::default() };
        let mut scan = LazyFrame::scan_parquet_files(paths.into(), args)?;
        let there = scan.collect_schema()?;
        // A column that was added later is null in older files.
        let columns: Vec<Expr> = wanted
            .iter()
            .map(|(name, kind)| {
                if matches!(there.get(name), Some(DataType::List(_))) && *kind == Type::Text {
                    object_of(name)
                } else if there.contains(name) {
                    col(name.as_str())
                } else {
                    lit(polars::prelude::NULL).cast(kind.dtype()).alias(name.as_str())
                }
            })
            .collect();
        frames.push(scan.select(columns));
    }
    if recent.height() > 0 || frames.is_empty() {
        frames.push(recent.lazy());
    }
    match frames.len() {
        1 => Ok(frames.remove(0)),
        _ => {
            let union = concat(frames, UnionArgs { maintain_order: false, ..UnionArgs::default() })?;
            // Hides the union from the optimizer's counting shortcut, which needs 128-bit integers; those
            // would have to be compiled for every operation.
            Ok(union.map(Ok, AllowedOptimizations::default(), None, Some("sealed and recent")))
        }
    }
}

/// An answer made by hand.
pub(crate) fn listing(names: &[&str], rows: &[Vec<String>]) -> PolarsResult<DataFrame> {
    let columns: Vec<Column> = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let values: Vec<&str> = rows.iter().filter_map(|row| row.get(place)).map(String::as_str).collect();
            Column::new((*name).into(), values)
        })
        .collect();
    DataFrame::new(rows.len(), columns)
}
