//! The manifest: which Parquet files there are, and up to where log and windows are in them. Replacing
//! `catalog.json` is the one moment at which rows move from the log to Parquet, so a row is visible
//! from exactly one of the two, whenever the process dies.

use crate::{durable, error::StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// Name of the manifest in the data directory.
pub(crate) const MANIFEST: &str = "catalog.json";

/// One Parquet file. It is deleted when the catalog has let go of it and the last query has, too.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Table it belongs to.
    pub(crate) table: String,
    /// Hour of event time, `2026-11-24T05`, or `mixed`.
    pub(crate) hour: String,
    /// Path below the data directory.
    pub(crate) path: String,
    /// Hash of its columns' names: files of one schema are scanned together.
    pub(crate) schema: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Least and greatest event time.
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
    /// When its newest row arrived: retention counts from there.
    pub(crate) arrived_ns: u64,
    /// Log positions it came from; 0 for derived tables.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Set to the whole path once no catalog names it any more.
    #[serde(skip)]
    grave: OnceLock<PathBuf>,
}

impl FileEntry {
    /// Deletes the file when nobody uses it any more.
    pub(crate) fn doom(&self, dir: &Path) {
        let _ = self.grave.set(dir.join(&self.path));
    }
}

impl Drop for FileEntry {
    fn drop(&mut self) {
        if let Some(path) = self.grave.get()
            && let Err(error) = fs::remove_file(path)
        {
            // Not named by the catalog: the next start removes it.
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// All that is sealed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Catalog {
    version: u32,
    /// Grows by one with every replacement.
    pub(crate) generation: u64,
    /// Log records up to here are in `files`.
    pub(crate) sealed_through: u64,
    /// Windows that end at or before this are in `files`, and will not change.
    pub(crate) settled_through: u64,
    /// Number of the next file, so that a name is never used twice.
    pub(crate) next_file: u64,
    pub(crate) files: Vec<Arc<FileEntry>>,
}

const VERSION: u32 = 1;

impl Catalog {
    /// Reads the manifest; an absent one is an empty catalog.
    pub(crate) fn load(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, ..Self::default() });
            }
            Err(source) => return Err(StoreError::Open { path, source }),
        };
        let catalog: Self = serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
            path: path.clone(),
            offset: error.column() as u64,
            detail: error.to_string(),
        })?;
        if catalog.version != VERSION {
            let detail = format!("version {} is not {VERSION}: it was written by a newer geophone", catalog.version);
            return Err(StoreError::Corrupt { path, offset: 0, detail });
        }
        Ok(catalog)
    }

    /// Replaces the manifest; after this the catalog holds, before it the previous one.
    pub(crate) fn save(&mut self, dir: &Path) -> Result<(), StoreError> {
        self.generation += 1;
        let path = dir.join(MANIFEST);
        let bytes = serde_json::to_vec(self).map_err(|error| StoreError::columns("write the catalog", error))?;
        durable::replace(&path, &[&bytes]).map_err(|source| StoreError::io("replace", &path, source))
    }

    /// Removes files of interrupted seals. Only the writer calls this, at start.
    pub(crate) fn sweep(&self, dir: &Path) -> u64 {
        let named: HashSet<PathBuf> = self.files.iter().map(|file| dir.join(&file.path)).collect();
        let mut swept = 0;
        for table in subdirectories(&dir.join("tables")) {
            for hour in subdirectories(&table) {
                let Ok(entries) = fs::read_dir(&hour) else { continue };
                for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
                    if path.is_file() && !named.contains(&path) && fs::remove_file(&path).is_ok() {
                        swept += 1;
                    }
                }
                // Fails, as it should, where files are left.
                let _ = fs::remove_dir(&hour);
            }
        }
        swept
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
