//! Files that are there whole or not at all: atomic replace, directory sync, the writer's lock.

use crate::error::StoreError;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

/// Tests make named steps fail here; `None` in production.
pub type Failpoint = Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

/// Passes, unless a test wants this step to fail.
pub(crate) fn reach(failpoint: Option<&Failpoint>, step: &'static str) -> io::Result<()> {
    failpoint.map_or(Ok(()), |fail| fail(step))
}

/// Makes names created or removed in `dir` survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates `dir` and makes its name durable in its parent.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Replaces `path` so that a reader, or a restart at any moment, sees the old bytes or the new ones.
pub(crate) fn replace(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    replace_by(path, |file| {
        for bytes in pieces {
            // Large single writes cost several times more a byte than pieces do.
            for piece in bytes.chunks(512 * 1024) {
                file.write_all(piece)?;
            }
        }
        Ok(())
    })
}

/// `replace` by what `fill` writes; where it fails, the old bytes stay.
pub(crate) fn replace_by(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    if let Err(error) = fill(&mut file) {
        // Best effort: the next attempt truncates it anyway.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Takes the one writer's place in `dir`; held until the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let open = |source| StoreError::Open { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(open(source)),
    }
}
