//! Folded stacks on disk, one file an anomaly: too long for the API's JSON, wanted again after a restart.

use crate::error::ServiceError;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Files kept, two an anomaly; the oldest go first.
const FILES_MAX: usize = 2_000;

/// Whose stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of the flagged spans.
    Flagged,
    /// Of as many normal spans of the same operation.
    Normal,
}

/// The folder of folded stacks.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The shelf below a data folder; made with the first file.
    pub fn below(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("stacks") }
    }

    /// Keeps a text of an anomaly, whole or not at all.
    pub fn keep(&self, anomaly_id: &str, side: Side, folded: &str) -> Result<(), ServiceError> {
        let Some(path) = self.path(anomaly_id, side) else {
            return Err(ServiceError::Usage(format!("`{anomaly_id}` is no id of an anomaly")));
        };
        let failed = || format!("keep stacks in {}", path.display());
        fs::create_dir_all(&self.folder).map_err(ServiceError::io(failed()))?;
        let young = path.with_extension(if side == Side::Flagged { "folded-new" } else { "normal-new" });
        fs::write(&young, folded).and_then(|()| fs::rename(&young, &path)).map_err(ServiceError::io(failed()))?;
        self.forget_the_oldest().map_err(ServiceError::io(failed()))
    }

    /// A text of an anomaly.
    pub fn read(&self, anomaly_id: &str, side: Side) -> Option<String> {
        fs::read_to_string(self.path(anomaly_id, side)?).ok()
    }

    /// Only what an id is made of: nothing that leads out of the folder.
    fn path(&self, anomaly_id: &str, side: Side) -> Option<PathBuf> {
        let plain = !anomaly_id.is_empty() && anomaly_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let ending = if side == Side::Flagged { "folded" } else { "normal" };
        plain.then(|| self.folder.join(format!("{anomaly_id}.{ending}")))
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let excess = files.len().saturating_sub(FILES_MAX);
        files.into_iter().take(excess).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let shelf = Shelf::below(dir.path());
        assert_eq!(shelf.read("an-1", Side::Flagged), None);
        shelf.keep("an-1", Side::Flagged, "a;b 1\n").expect("written");
        assert_eq!(shelf.read("an-1", Side::Flagged).as_deref(), Some("a;b 1\n"));
        assert_eq!(shelf.read("an-1", Side::Normal), None);
        for id in ["", "../an-1", "an/1", "an-1.folded"] {
            assert!(shelf.keep(id, Side::Flagged, "x").is_err(), "{id}");
            assert_eq!(shelf.read(id, Side::Flagged), None, "{id}");
        }
    }
}
