//! What each receiver has been told, on disk: an incident is entered when it is first seen and leaves
//! when its end was delivered, so nothing is lost and nothing is told twice for ever over a restart.

use super::notice::Identity;
use crate::error::ServiceError;
use geophone_proto::UnixNanos;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// One incident at one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Fixed labels.
    pub identity: Identity,
    /// Severity as last told; `None` before the first delivery.
    pub told_severity: Option<String>,
    /// Last delivery.
    pub sent_at: Option<UnixNanos>,
}

/// Entries of one receiver.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl Ledger {
    /// Reads the ledger, empty where there is none. A broken one is set aside, named in the log, and
    /// begun anew: open incidents are then told once more.
    pub fn open(folder: &Path, receiver: &str) -> Result<Self, ServiceError> {
        fs::create_dir_all(folder).map_err(ServiceError::io(format!("create {}", folder.display())))?;
        let name = format!("{:016x}.json", xxhash_rust::xxh3::xxh3_64(receiver.as_bytes()));
        let path = folder.join(name);
        let entries = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(ServiceError::io(format!("read {}", path.display()))(error)),
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let aside = path.with_extension("broken");
                tracing::warn!(path = %path.display(), %error, "the ledger of alerts is broken; it is set aside and begun anew");
                let _ = fs::rename(&path, aside);
                BTreeMap::new()
            }),
        };
        Ok(Self { path, entries })
    }

    /// All entries, by incident.
    pub const fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Enters an incident if it is new; says whether it was.
    pub fn enter(&mut self, incident: &str, identity: impl FnOnce() -> Identity) -> bool {
        let is_new = !self.entries.contains_key(incident);
        if is_new {
            self.entries.insert(incident.into(), Entry { identity: identity(), told_severity: None, sent_at: None });
        }
        is_new
    }

    /// Notes a delivery.
    pub fn told(&mut self, incident: &str, severity: &str, at: UnixNanos) {
        if let Some(entry) = self.entries.get_mut(incident) {
            entry.told_severity = Some(severity.into());
            entry.sent_at = Some(at);
        }
    }

    /// Strikes an incident out: its end was delivered, or can never be.
    pub fn strike(&mut self, incident: &str) {
        self.entries.remove(incident);
    }

    /// Writes the ledger so that a crash leaves the old or the new one; `is_synced` = so that a power cut does, too,
    /// which takes as long as the disk does.
    pub fn save(&self, is_synced: bool) -> Result<(), ServiceError> {
        let saved = || {
            let new = self.path.with_extension("new");
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(&self.entries)?)?;
            if is_synced {
                file.sync_all()?;
            }
            fs::rename(&new, &self.path)
        };
        saved().map_err(ServiceError::io(format!("write {}", self.path.display())))
    }
}
