//! Newest versions on disk: `versions.jsonl`, one line per change, `crc32 in 8 hex digits, space, JSON`.
//! Lines are handed to the operating system at once (they survive kill -9); after a power cut replay
//! of the log brings what is missing. A line that is torn or damaged is skipped.

use crate::{durable, error::StoreError};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// The open file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

fn line<T: Serialize>(entry: &T) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(entry)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

/// Reads all whole lines.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let bytes = fs::read(path).unwrap_or_default();
    let mut skipped = 0u64;
    let mut entries = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = line.split_at_checked(9).and_then(|(crc, json)| {
            let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.trim_end(), 16).ok()?;
            (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok()).flatten()
        });
        match entry {
            Some(entry) => entries.push(entry),
            None => skipped += 1,
        }
    }
    if skipped > 0 {
        metrics::counter!("geophone_store_bad_journal_lines_total").increment(skipped);
        tracing::warn!("{}: {skipped} lines are torn or damaged and were skipped", path.display());
    }
    entries
}

impl Journal {
    /// Replaces the file by `entries` and opens it for more.
    pub(crate) fn rewrite<T: Serialize>(path: &Path, entries: impl Iterator<Item = T>) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend(line(&entry).map_err(|error| StoreError::columns("write the journal", error))?);
        }
        let open = || -> std::io::Result<File> {
            durable::replace(path, &[&bytes])?;
            OpenOptions::new().append(true).open(path)
        };
        let file = open().map_err(|source| StoreError::io("write", path, source))?;
        Ok(Self { path: path.to_owned(), file, bytes: bytes.len() as u64 })
    }

    /// Adds one change.
    pub(crate) fn add<T: Serialize>(&mut self, entry: &T) -> Result<(), StoreError> {
        let line = line(entry).map_err(|error| StoreError::columns("write the journal", error))?;
        self.file.write_all(&line).map_err(|source| StoreError::io("write", &self.path, source))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Present length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
