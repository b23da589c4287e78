//! Hop 9: closed log segments and settled windows become Parquet. Files are written and synced first;
//! replacing the catalog then moves the rows from log and memory to Parquet in one step. Whatever fails
//! or dies before that step leaves files that nobody names, and the rows where they were.

use crate::{
    catalog::{Catalog, FileEntry},
    derived::{Kind, hour_of},
    durable,
    error::StoreError,
    log::{LogReader, Segment, lock},
    parquet::{Derived, FilePlan, FileWriter, Sealer, action_frame, anomaly_frame, hour_name, incident_frame},
    store::{SealReport, Store, Tables},
};
use geophone_proto::{RecordBody, Seq, UnixNanos};
use polars::prelude::DataFrame;
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Segments that become Parquet in one step.
const SEGMENTS_A_STEP: usize = 4;
/// Records pressed between two looks whether a segment has closed.
const LOOK_EVERY: u64 = 64;

/// Files that are written but not in the catalog yet; removed unless they get there.
pub(crate) struct Written {
    dir: PathBuf,
    pub(crate) entries: Vec<FileEntry>,
}

impl Written {
    pub(crate) fn new(store: &Store) -> Self {
        Self { dir: store.dir.clone(), entries: Vec::new() }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for entry in &self.entries {
            // What cannot be removed now is swept at the next start.
            let _ = fs::remove_file(self.dir.join(&entry.path));
        }
    }
}

/// Rows on their way into files that are not finished yet: records from `from` up to where `reader` stands. Dropped,
/// it leaves nothing behind, and the records where they were.
pub(crate) struct Ahead {
    from: u64,
    reader: LogReader,
    sealer: Sealer,
}

impl Ahead {
    /// Presses the next record; false if there is none yet.
    fn take(&mut self) -> Result<bool, StoreError> {
        let position = self.reader.position().0;
        match self.reader.next(Duration::ZERO) {
            Ok(None) => Ok(false),
            Ok(Some((seq, record))) => {
                if let RecordBody::Batch(export) = &record.body
                    && let Some(batch) = &export.decoded
                {
                    self.sealer.push(seq.0, record.at, batch)?;
                }
                Ok(true)
            }
            // Damage below us: what can be read is kept, the rest of this segment is lost, and said so.
            Err(error @ StoreError::Corrupt { .. }) => {
                let next = self.reader.position().0;
                metrics::counter!("geophone_store_lost_records_total").increment(next - position);
                tracing::error!("{error}; records {position} to {} are lost", next - 1);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }
}

/// What one step of sealing found.
struct Step {
    written: Written,
    through: u64,
    segments: usize,
    rows: u64,
}

impl Store {
    /// Moves closed log segments and settled windows to Parquet, merges small files, and reports. Called
    /// by one low-priority thread; blocks nobody but another seal. On an error everything stays visible
    /// where it was, and the next call tries again.
    pub fn seal(&self) -> Result<SealReport, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        let mut sealing = lock(&self.sealing);
        let sealed = self.seal_all(&mut sealing);
        if let Err(error) = &sealed {
            metrics::counter!("geophone_store_seal_errors_total").increment(1);
            if let StoreError::Io { source, .. } = error {
                self.log.give_way(source);
            }
            tracing::error!("sealing failed and is tried again: {error}");
        }
        sealed
    }

    fn seal_all(&self, ahead: &mut Option<Ahead>) -> Result<SealReport, StoreError> {
        self.log.roll_if_due();
        let mut report = SealReport::default();
        loop {
            let step = self.seal_segments(ahead)?;
            let (segments, through) = (step.segments, step.through);
            if segments == 0 {
                break;
            }
            report.segments += segments;
            report.rows += step.rows;
            report.files += step.written.entries.len();
            self.commit(step.written, |catalog| {
                catalog.sealed_through = catalog.sealed_through.max(through);
                Vec::new()
            })?;
            self.log.mark_sealed(through);
        }
        self.seal_windows(&mut report)?;
        self.seal_versions(&mut report)?;
        report.merged = self.merge()?;
        let catalog = lock(&self.tables).catalog.clone();
        #[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
        {
            metrics::gauge!("geophone_store_files").set(catalog.files.len() as f64);
            metrics::gauge!("geophone_store_bytes").set(catalog.files.iter().map(|file| file.bytes).sum::<u64>() as f64);
        }
        Ok(report)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes the oldest closed segments that are not sealed yet, and what of the next one was pressed ahead.
    fn seal_segments(&self, ahead: &mut Option<Ahead>) -> Result<Step, StoreError> {
        let sealed = lock(&self.tables).catalog.sealed_through;
        let (pinned, _) = self.log.pin(sealed);
        let closed: Vec<Arc<Segment>> = pinned.into_iter().take_while(|segment| segment.is_closed()).take(SEGMENTS_A_STEP).collect();
        let mut written = Written::new(self);
        let Some(last) = closed.last() else { return Ok(Step { written, through: sealed, segments: 0, rows: 0 }) };
        let mut pressed = self.ahead(ahead.take(), sealed);
        while pressed.reader.position().0 < last.end() {
            if !pressed.take()? {
                break;
            }
        }
        let through = pressed.reader.position().0 - 1;
        let Ahead { reader, sealer, .. } = pressed;
        let rows = sealer.finish(&mut written.entries)?;
        // Goes on from here, unless the catalog cannot be replaced: the log keeps columns in memory for its reader.
        *ahead = Some(Ahead { from: through + 1, reader, sealer: self.sealer() });
        for (table, rows) in &rows {
            metrics::counter!("geophone_store_sealed_rows_total", "table" => table.as_str()).increment(*rows);
        }
        Ok(Step { written, through, segments: closed.len(), rows: rows.values().sum() })
    }

    /// What was pressed ahead, if it goes on from where the tables end; else nothing yet.
    fn ahead(&self, ahead: Option<Ahead>, sealed: u64) -> Ahead {
        ahead.filter(|ahead| ahead.from == sealed + 1).unwrap_or_else(|| Ahead {
            from: sealed + 1,
            reader: self.log.reader(Seq(sealed + 1)),
            sealer: self.sealer(),
        })
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(self.dir.clone(), self.next_file.clone(), self.options.failpoint.clone())
    }

    /// Follows the log, so that rows are pressed while their columns are still in memory, and little is left to do
    /// when a segment closes. Waits `patience` for that, then looks what there is; says how many records there were.
    /// Called by the thread that seals, which seals where `wait_closed` says so.
    pub fn follow(&self, patience: Duration) -> Result<u64, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        // A closed segment comes first: it is what memory and disk wait for.
        if self.log.wait_closed(patience) {
            return Ok(0);
        }
        let mut sealing = lock(&self.sealing);
        let sealed = lock(&self.tables).catalog.sealed_through;
        let mut ahead = self.ahead(sealing.take(), sealed);
        let mut records = 0;
        while ahead.take()? {
            records += 1;
            if records % LOOK_EVERY == 0 && self.log.wait_closed(Duration::ZERO) {
                break;
            }
        }
        *sealing = Some(ahead);
        Ok(records)
    }

    fn write_frame(&self, table: Derived, hour: u64, frame: &DataFrame, range: (u64, u64)) -> Result<Option<FileEntry>, StoreError> {
        let plan = FilePlan { table: table.as_str().to_owned(), hour: hour_name(hour), number: self.next_number() };
        let mut writer = FileWriter::new(&self.dir, plan, self.options.failpoint.clone());
        writer.write(frame)?;
        let entry = writer.entry();
        (entry.min_ns, entry.max_ns) = range;
        entry.arrived_ns = self.log.now().0;
        writer.finish()
    }

    /// Writes the hours of anomalies, incidents and actions in which something changed, in place of what
    /// stood there. SQL reads these three from memory; the files are for notebooks.
    fn seal_versions(&self, report: &mut SealReport) -> Result<(), StoreError> {
        let dirty = lock(&self.tables).versions.take_dirty();
        if dirty.is_empty() {
            return Ok(());
        }
        let done = self.write_versions(&dirty, report);
        if done.is_err() {
            lock(&self.tables).versions.give_back(dirty);
        }
        done
    }

    fn write_versions(&self, dirty: &BTreeSet<(Kind, u64)>, report: &mut SealReport) -> Result<(), StoreError> {
        let mut written = Written::new(self);
        for (kind, hour) in dirty {
            let within = |at: UnixNanos| hour_of(at) == *hour;
            let (table, frame) = {
                let tables = lock(&self.tables);
                let versions = &tables.versions;
                match kind {
                    Kind::Anomalies => {
                        let all: Vec<_> = versions.anomalies().into_iter().filter(|it| within(it.opened_at)).collect();
                        (Derived::Anomalies, anomaly_frame(&all))
                    }
                    Kind::Incidents => {
                        let all: Vec<_> = versions.incidents().into_iter().filter(|it| within(it.opened_at)).collect();
                        (Derived::Incidents, incident_frame(&all))
                    }
                    Kind::Actions => {
                        let all: Vec<_> = versions.actions().into_iter().filter(|it| within(it.decided_at)).collect();
                        (Derived::Actions, action_frame(&all))
                    }
                }
            };
            let frame = frame.map_err(|error| StoreError::columns("make columns", error))?;
            let start = hour.saturating_mul(3_600_000_000_000);
            written.entries.extend(self.write_frame(table, *hour, &frame, (start, start.saturating_add(3_599_999_999_999)))?);
        }
        let replaced: BTreeSet<(&str, String)> = dirty
            .iter()
            .map(|(kind, hour)| {
                let table = match kind {
                    Kind::Anomalies => Derived::Anomalies,
                    Kind::Incidents => Derived::Incidents,
                    Kind::Actions => Derived::Actions,
                };
                (table.as_str(), hour_name(*hour))
            })
            .collect();
        report.files += written.entries.len();
        self.commit(written, |catalog| {
            let (gone, kept) = std::mem::take(&mut catalog.files)
                .into_iter()
                .partition(|file| replaced.contains(&(file.table.as_str(), file.hour.clone())));
            catalog.files = kept;
            gone
        })
    }

    /// `commit_with` that changes nothing besides the catalog.
    pub(crate) fn commit(&self, written: Written, change: impl FnOnce(&mut Catalog) -> Vec<Arc<FileEntry>>) -> Result<(), StoreError> {
        self.commit_with(written, change, |_| {})
    }

    /// Makes a changed catalog the one that holds, on disk and then in memory. `change` returns the files
    /// that nobody needs any more. The caller holds `sealing`.
    pub(crate) fn commit_with(
        &self,
        mut written: Written,
        change: impl FnOnce(&mut Catalog) -> Vec<Arc<FileEntry>>,
        after: impl FnOnce(&mut Tables),
    ) -> Result<(), StoreError> {
        let mut catalog = Catalog::clone(&lock(&self.tables).catalog);
        let gone = change(&mut catalog);
        catalog.next_file = self.next_file.load(Ordering::Relaxed);
        durable::reach(self.options.failpoint.as_ref(), "seal.catalog").map_err(|source| StoreError::io("replace", &self.dir, source))?;
        // From here on the catalog on disk may name these files even if saving fails, so they stay.
        catalog.files.extend(std::mem::take(&mut written.entries).into_iter().map(Arc::new));
        catalog.save(&self.dir)?;
        {
            let mut tables = lock(&self.tables);
            tables.catalog = Arc::new(catalog);
            after(&mut tables);
        }
        gone.iter().for_each(|file| file.doom(&self.dir));
        durable::reach(self.options.failpoint.as_ref(), "seal.done").map_err(|source| StoreError::io("finish", &self.dir, source))
    }
}
