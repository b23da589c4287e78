//! Settled windows to Parquet, a row group after the other: what is held at once does not grow with the number of
//! series. Called by `Store::seal`, after the log's segments.

use crate::{
    derived::{WindowParts, WindowRow, hour_of, newest},
    error::StoreError,
    log::lock,
    parquet::{Derived, FilePlan, FileWriter, FrameRow, hour_name},
    seal::Written,
    store::{SealReport, Store},
};
use geophone_proto::{Series, SeriesKind, Tenant};
use polars::prelude::{DataFrame, PolarsResult};
use std::{collections::BTreeMap, sync::Arc};

/// Rows that become columns at once.
const GROUP_ROWS: usize = 16 * 1024;
const TABLES: [Derived; 3] = [Derived::Features, Derived::Scores, Derived::Bands];

/// Rows of one hour on their way into its three files.
struct Hour<'a> {
    store: &'a Store,
    hour: u64,
    waiting: Vec<WindowRow>,
    ends: (u64, u64),
    files: [(Derived, FileWriter); 3],
    rows: u64,
}

impl<'a> Hour<'a> {
    fn new(store: &'a Store, hour: u64) -> Self {
        let file = |table: Derived| {
            let plan = FilePlan { table: table.as_str().to_owned(), hour: hour_name(hour), number: store.next_number() };
            (table, FileWriter::new(&store.dir, plan, store.options.failpoint.clone()))
        };
        Self { store, hour, waiting: Vec::new(), ends: (u64::MAX, 0), files: TABLES.map(file), rows: 0 }
    }

    fn push(&mut self, row: WindowRow) -> Result<(), StoreError> {
        let end = row.0.features.at.0;
        self.ends = (self.ends.0.min(end), self.ends.1.max(end));
        self.waiting.push(row);
        if self.waiting.len() < GROUP_ROWS { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let rows = self.store.with_series(self.waiting.drain(..));
        for (table, file) in &mut self.files {
            let columns = table.columns(&self.store.options.features);
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let frame = table.window_frame(&rows, &names, &self.store.options.features);
            let frame = frame.map_err(|error| StoreError::columns("make columns", error))?;
            file.write(&frame)?;
            self.rows += frame.height() as u64;
            metrics::counter!("geophone_store_sealed_rows_total", "table" => table.as_str()).increment(frame.height() as u64);
        }
        Ok(())
    }

    fn finish(mut self, written: &mut Written) -> Result<u64, StoreError> {
        self.write()?;
        for (_, mut file) in self.files {
            let entry = file.entry();
            (entry.min_ns, entry.max_ns) = self.ends;
            entry.arrived_ns = self.store.log.now().0;
            written.entries.extend(file.finish()?);
        }
        Ok(self.rows)
    }
}

impl Store {
    /// Writes windows that will not change any more.
    pub(crate) fn seal_windows(&self, report: &mut SealReport) -> Result<(), StoreError> {
        let (through, windows) = {
            let tables = lock(&self.tables);
            let settled = tables.windows.settled();
            if settled <= tables.catalog.settled_through {
                return Ok(());
            }
            (settled, tables.windows.through(settled))
        };
        if windows.is_empty() {
            // Nothing to write; the position moves with the next windows that exist.
            return Ok(());
        }
        let mut written = Written::new(self);
        let mut open: Option<Hour<'_>> = None;
        for parts in &windows {
            let Some(hour) = parts.first().map(|part| hour_of(part.features.at)) else { continue };
            if let Some(over) = open.take_if(|open| open.hour != hour) {
                report.rows += over.finish(&mut written)?;
            }
            let files = open.get_or_insert_with(|| Hour::new(self, hour));
            newest(parts, &mut |row| files.push(row))?;
        }
        if let Some(over) = open {
            report.rows += over.finish(&mut written)?;
        }
        report.files += written.entries.len();
        self.commit_with(
            written,
            |catalog| {
                catalog.settled_through = catalog.settled_through.max(through);
                Vec::new()
            },
            |tables| tables.windows.forget(through),
        )
    }

    /// Rows with the services of their series.
    fn with_series(&self, rows: impl Iterator<Item = WindowRow>) -> Vec<FrameRow> {
        let unknown = Arc::new(Series::new(Tenant::default(), "", "", SeriesKind::Value, BTreeMap::new()));
        let tables = lock(&self.tables);
        let named = rows.map(|(window, row)| {
            let service = tables.versions.series_of(&window.features.keys[row]).unwrap_or(&unknown).clone();
            FrameRow { window, row, service }
        });
        named.collect()
    }

    /// The named columns of all rows of these windows.
    pub(crate) fn window_frame(&self, table: Derived, windows: &[WindowParts], names: &[&str]) -> PolarsResult<DataFrame> {
        let features = &self.options.features;
        let mut whole = table.window_frame(&[], names, features)?;
        let mut waiting: Vec<WindowRow> = Vec::new();
        let mut add = |rows: &mut Vec<WindowRow>| -> PolarsResult<()> {
            whole.vstack_mut(&table.window_frame(&self.with_series(rows.drain(..)), names, features)?)?;
            Ok(())
        };
        for parts in windows {
            newest(parts, &mut |row| {
                waiting.push(row);
                if waiting.len() < GROUP_ROWS { Ok(()) } else { add(&mut waiting) }
            })?;
        }
        add(&mut waiting)?;
        Ok(whole)
    }
}
