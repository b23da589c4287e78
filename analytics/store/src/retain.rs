//! What keeps the tables small: merging files of one hour, and dropping what is too old or too much.

use crate::{
    catalog::{Catalog, FileEntry},
    error::StoreError,
    log::lock,
    parquet::{Derived, FilePlan, FileWriter, Telemetry},
    seal::Written,
    store::{RetainReport, Store},
};
use geophone_proto::UnixNanos;
use polars::prelude::{ParquetReader, SerReader};
use std::{collections::BTreeMap, fs::File, path::PathBuf, sync::Arc};

/// Files larger than this are not merged any more: a query opens them quickly enough, and each row of a merge is
/// decoded and encoded again, for more than it cost to seal.
const MERGED_BYTES_MAX: u64 = 8 << 20;

impl Store {
    /// Merges files of one table and hour that are about as large as each other, when there are many.
    /// Each row is rewritten about once per fourfold growth. Returns the number of files that went in.
    pub(crate) fn merge(&self) -> Result<usize, StoreError> {
        let catalog = lock(&self.tables).catalog.clone();
        let mut groups: BTreeMap<(&str, &str, &str, u32), Vec<&Arc<FileEntry>>> = BTreeMap::new();
        for file in catalog.files.iter().filter(|file| file.bytes <= MERGED_BYTES_MAX) {
            let size_class = (file.bytes >> 16).checked_ilog(4).map_or(0, |class| class + 1);
            groups.entry((&file.table, &file.hour, &file.schema, size_class)).or_default().push(file);
        }
        let mut merged = 0;
        for files in groups.into_values().filter(|files| files.len() > self.options.files_per_hour_max) {
            self.merge_files(&files)?;
            merged += files.len();
        }
        metrics::counter!("geophone_store_merged_files_total").increment(merged as u64);
        Ok(merged)
    }

    fn merge_files(&self, files: &[&Arc<FileEntry>]) -> Result<(), StoreError> {
        let Some(first) = files.first() else { return Ok(()) };
        let plan = FilePlan { table: first.table.clone(), hour: first.hour.clone(), number: self.next_number() };
        let mut writer = FileWriter::new(&self.dir, plan, self.options.failpoint.clone());
        let paths: Vec<PathBuf> = files.iter().map(|file| self.dir.join(&file.path)).collect();
        let is_joined = first.table == Telemetry::Spans.as_str() && writer.join(&paths, &first.schema)?;
        for (file, path) in files.iter().zip(&paths) {
            if !is_joined {
                let opened = File::open(path).map_err(|source| StoreError::io("open", path, source))?;
                let frame = ParquetReader::new(opened).finish().map_err(|error| StoreError::columns("read parquet", error))?;
                writer.write(&frame)?;
            }
            let entry = writer.entry();
            entry.min_ns = entry.min_ns.min(file.min_ns);
            entry.max_ns = entry.max_ns.max(file.max_ns);
            entry.arrived_ns = entry.arrived_ns.max(file.arrived_ns);
            entry.first_seq = if entry.first_seq == 0 { file.first_seq } else { entry.first_seq.min(file.first_seq) };
            entry.last_seq = entry.last_seq.max(file.last_seq);
        }
        let mut written = Written::new(self);
        written.entries.extend(writer.finish()?);
        self.commit(written, |catalog| take(catalog, |file| files.iter().any(|merged| merged.path == file.path)))
    }

    /// Drops whole files: those whose newest row arrived longer ago than the retention age, then the
    /// longest-arrived ones until the rest fits the retention size. Forgets closed anomalies, incidents
    /// and actions of that age. Age counts from arrival, not event time: old telemetry sent now is kept.
    pub fn retain(&self, now: UnixNanos) -> Result<RetainReport, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly);
        }
        let _sealing = lock(&self.sealing);
        let age = u64::try_from(self.options.retention_age.as_nanos()).unwrap_or(u64::MAX);
        let before = now.minus(age);
        self.log.forget_past(before);
        let catalog = lock(&self.tables).catalog.clone();
        let newest = [Derived::Anomalies, Derived::Incidents, Derived::Actions].map(Derived::as_str);
        let mut files: Vec<&Arc<FileEntry>> = catalog.files.iter().filter(|file| !newest.contains(&file.table.as_str())).collect();
        files.sort_by_key(|file| (file.arrived_ns, file.max_ns));
        let mut held: u64 = catalog.files.iter().map(|file| file.bytes).sum();
        let mut report = RetainReport::default();
        let mut gone: Vec<&str> = Vec::new();
        for file in files {
            let reason = if file.arrived_ns < before.0 {
                "age"
            } else if held > self.options.retention_bytes {
                "size"
            } else {
                break;
            };
            held = held.saturating_sub(file.bytes);
            report.files += 1;
            report.rows += file.rows;
            report.bytes += file.bytes;
            metrics::counter!("geophone_retention_dropped_rows_total", "table" => file.table.clone(), "reason" => reason)
                .increment(file.rows);
            gone.push(&file.path);
        }
        if !gone.is_empty() {
            self.commit(Written::new(self), |catalog| take(catalog, |file| gone.contains(&file.path.as_str())))?;
        }
        let mut tables = lock(&self.tables);
        report.versions = tables.versions.forget(before);
        metrics::counter!("geophone_retention_dropped_versions_total").increment(report.versions);
        tables.versions.compact()?;
        Ok(report)
    }
}

/// Takes the files that `is_gone` out of the catalog.
fn take(catalog: &mut Catalog, is_gone: impl Fn(&FileEntry) -> bool) -> Vec<Arc<FileEntry>> {
    let (gone, kept) = std::mem::take(&mut catalog.files).into_iter().partition(|file| is_gone(file));
    catalog.files = kept;
    gone
}
