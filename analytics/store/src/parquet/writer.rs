//! One Parquet file: written under a temporary name, synced, renamed. The catalog makes it visible.

use crate::{
    catalog::FileEntry,
    durable::{self, Failpoint},
    error::StoreError,
};
use polars::{
    io::parquet::write::{BatchedWriter, ParquetCompression, ParquetWriter},
    prelude::DataFrame,
};
use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

/// Where a file goes.
pub(crate) struct FilePlan {
    pub(crate) table: String,
    pub(crate) hour: String,
    /// Never used before in this data directory.
    pub(crate) number: u64,
}

type Batched = BatchedWriter<BufWriter<File>>;

/// A file being written.
pub(crate) struct FileWriter {
    dir: PathBuf,
    temporary: PathBuf,
    entry: FileEntry,
    writer: Option<Batched>,
    failpoint: Option<Failpoint>,
}

impl FileWriter {
    pub(crate) fn new(dir: &Path, plan: FilePlan, failpoint: Option<Failpoint>) -> Self {
        let path = format!("tables/{}/hour={}/{:010}.parquet", plan.table, plan.hour, plan.number);
        let temporary = dir.join(&path).with_extension("tmp");
        let mut entry = FileEntry::default();
        (entry.table, entry.hour, entry.path, entry.min_ns) = (plan.table, plan.hour, path, u64::MAX);
        Self { dir: dir.to_owned(), temporary, entry, writer: None, failpoint }
    }

    /// What will stand in the catalog; the caller widens its ranges.
    pub(crate) fn entry(&mut self) -> &mut FileEntry {
        &mut self.entry
    }

    /// Appends a row group. All frames of a file have the same columns.
    pub(crate) fn write(&mut self, frame: &DataFrame) -> Result<(), StoreError> {
        if frame.height() == 0 {
            return Ok(());
        }
        let failed = |error: polars::prelude::PolarsError| match error {
            polars::prelude::PolarsError::IO { error, .. } => {
                StoreError::io("write", &self.temporary, std::io::Error::other(error.to_string()))
            }
            other => StoreError::columns("write parquet", other),
        };
        if self.writer.is_none() {
            let file = self.create().map_err(|source| StoreError::io("create", &self.temporary, source))?;
            let writer = ParquetWriter::new(BufWriter::with_capacity(256 * 1024, file))
                .with_compression(ParquetCompression::Lz4Raw)
                .set_parallel(false);
            let schema = frame.schema();
            self.entry.schema = schema_id(frame);
            self.writer = Some(writer.batched(schema).map_err(failed)?);
        }
        if let Some(writer) = &mut self.writer {
            writer.write_batch(frame).map_err(failed)?;
        }
        self.entry.rows += frame.height() as u64;
        Ok(())
    }

    fn create(&self) -> std::io::Result<File> {
        durable::reach(self.failpoint.as_ref(), "seal.create")?;
        if let Some(parent) = self.temporary.parent() {
            let table = parent.parent().unwrap_or(parent);
            durable::create_dir(&self.dir.join("tables"))?;
            durable::create_dir(table)?;
            durable::create_dir(parent)?;
        }
        File::create(&self.temporary)
    }

    /// Finishes, syncs and renames. `None` if nothing was written.
    pub(crate) fn finish(mut self) -> Result<Option<FileEntry>, StoreError> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let path = self.dir.join(&self.entry.path);
        writer.finish().map_err(|error| StoreError::columns("finish parquet", error))?;
        drop(writer);
        let settle = || -> std::io::Result<u64> {
            durable::reach(self.failpoint.as_ref(), "seal.sync")?;
            let file = File::open(&self.temporary)?;
            file.sync_all()?;
            fs::rename(&self.temporary, &path)?;
            path.parent().map_or(Ok(()), durable::sync_dir)?;
            Ok(file.metadata()?.len())
        };
        let bytes = settle().map_err(|source| StoreError::io("finish", &path, source))?;
        let mut entry = std::mem::take(&mut self.entry);
        entry.bytes = bytes;
        Ok(Some(entry))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // Renamed or never created: nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Files with the same id have the same columns.
pub(crate) fn schema_id(frame: &DataFrame) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for (name, dtype) in frame.schema().iter() {
        hasher.update(name.as_bytes());
        hasher.update(format!(":{dtype:?};").as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}
