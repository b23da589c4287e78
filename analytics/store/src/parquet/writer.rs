//! One Parquet file: written under a temporary name, synced, renamed. The catalog makes it visible.

use super::{
    press::{Columns, Joined, SpanPress},
    tables::{LISTS, Telemetry, Type},
};
use crate::{
    blocks::Blocks,
    catalog::FileEntry,
    durable::{self, Failpoint},
    error::StoreError,
};
use polars::{
    io::parquet::write::{BatchedWriter, ParquetCompression, ParquetWriter},
    prelude::{DataFrame, DataType},
};
use polars_parquet::parquet::error::ParquetError;
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

/// What takes the rows: frames of any table, or pressed columns.
enum Sink {
    Frames(Box<BatchedWriter<BufWriter<File>>>),
    Columns(Box<Columns>),
    /// It is complete already.
    Done,
}

/// A file being written.
pub(crate) struct FileWriter {
    dir: PathBuf,
    temporary: PathBuf,
    entry: FileEntry,
    sink: Option<Sink>,
    failpoint: Option<Failpoint>,
}

impl FileWriter {
    pub(crate) fn new(dir: &Path, plan: FilePlan, failpoint: Option<Failpoint>) -> Self {
        let path = format!("tables/{}/hour={}/{:010}.parquet", plan.table, plan.hour, plan.number);
        let temporary = dir.join(&path).with_extension("tmp");
        let mut entry = FileEntry::default();
        (entry.table, entry.hour, entry.path, entry.min_ns) = (plan.table, plan.hour, path, u64::MAX);
        Self { dir: dir.to_owned(), temporary, entry, sink: None, failpoint }
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
        if self.sink.is_none() {
            self.create()?;
            let file = File::create(&self.temporary).map_err(|source| StoreError::io("create", &self.temporary, source))?;
            let writer = ParquetWriter::new(BufWriter::with_capacity(256 * 1024, file))
                .with_compression(ParquetCompression::Lz4Raw)
                .set_parallel(false);
            let schema = frame.schema();
            self.entry.schema = schema_id(schema.iter().map(|(name, dtype)| (name.as_str(), dtype.clone())));
            self.sink = Some(Sink::Frames(Box::new(writer.batched(schema).map_err(failed)?)));
        }
        let Some(Sink::Frames(writer)) = &mut self.sink else { return Err(StoreError::columns("write parquet", MIXED)) };
        writer.write_batch(frame).map_err(failed)?;
        self.entry.rows += frame.height() as u64;
        Ok(())
    }

    /// Appends what is pressed as a row group. All row groups of a file come this way, or none.
    pub(crate) fn write_pressed(&mut self, press: &mut SpanPress) -> Result<(), StoreError> {
        let (rows, columns) = press.take();
        if rows == 0 {
            return Ok(());
        }
        // The library's own errors are those of the file: the columns are ours.
        let failed = |error: ParquetError| StoreError::io("write", &self.temporary, std::io::Error::other(error.to_string()));
        if self.sink.is_none() {
            let columns = Telemetry::Spans.columns();
            self.entry.schema = schema_id(columns.iter().map(|(name, kind)| (*name, dtype_in_files(name, *kind))));
            self.create()?;
            let blocks = Blocks::after(&self.temporary, &[], true).map_err(|source| StoreError::io("create", &self.temporary, source))?;
            self.sink = Some(Sink::Columns(Box::new(Columns::new(blocks, columns, LISTS).map_err(failed)?)));
        }
        let Some(Sink::Columns(writer)) = &mut self.sink else { return Err(StoreError::columns("write parquet", MIXED)) };
        writer.write(rows, columns).map_err(failed)?;
        self.entry.rows += rows as u64;
        Ok(())
    }

    /// Takes the rows of whole files of this schema; false if they are better written anew.
    pub(crate) fn join(&mut self, files: &[PathBuf], schema: &str) -> Result<bool, StoreError> {
        let failed = |source| StoreError::io("join", &self.temporary, source);
        let Some(joined) = Joined::open(files).map_err(failed)? else { return Ok(false) };
        self.create()?;
        let mut blocks = Blocks::after(&self.temporary, &[], true).map_err(failed)?;
        self.entry.rows = joined.write(&mut blocks).map_err(failed)?;
        schema.clone_into(&mut self.entry.schema);
        self.sink = Some(Sink::Done);
        Ok(true)
    }

    fn create(&self) -> Result<(), StoreError> {
        self.created().map(drop).map_err(|source| StoreError::io("create", &self.temporary, source))
    }

    fn created(&self) -> std::io::Result<File> {
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
        let Some(sink) = self.sink.take() else { return Ok(None) };
        let path = self.dir.join(&self.entry.path);
        match sink {
            Sink::Frames(writer) => drop(writer.finish().map_err(|error| StoreError::columns("finish parquet", error))?),
            Sink::Columns(writer) => writer.finish().map_err(|source| StoreError::io("finish", &self.temporary, source))?,
            Sink::Done => {}
        }
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

const MIXED: &str = "a file takes frames or pressed columns, never both";

/// The type that a pressed column has in a file.
fn dtype_in_files(name: &str, kind: Type) -> DataType {
    if LISTS.contains(&name) { DataType::List(Box::new(kind.dtype())) } else { kind.dtype() }
}

/// Files with the same id have the same columns.
fn schema_id<'a>(columns: impl Iterator<Item = (&'a str, DataType)>) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for (name, dtype) in columns {
        hasher.update(name.as_bytes());
        hasher.update(format!(":{dtype:?};").as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}
