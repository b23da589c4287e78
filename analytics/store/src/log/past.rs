//! What of the log is kept once neither brain nor tables need it, so that it can be replayed: closed segments, moved
//! aside whole. It is promised to nobody, so it goes first where room is short.

use super::{recovery, segment::Segment};
use geophone_proto::UnixNanos;
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folder beside the segments that are needed.
pub(crate) const FOLDER: &str = "past";

/// A kept file.
struct Kept {
    path: PathBuf,
    bytes: u64,
    /// When it was moved here; of what an earlier run left, when it was last written.
    at: UnixNanos,
}

/// Kept segments, oldest first.
#[derive(Default)]
pub(crate) struct Past {
    dir: PathBuf,
    bytes_max: u64,
    held: VecDeque<Kept>,
    bytes: u64,
}

impl Past {
    /// What an earlier run left in `log_dir`, within these bounds.
    pub(crate) fn open(log_dir: &Path, bytes_max: u64) -> Self {
        let dir = log_dir.join(FOLDER);
        let mut past = Self { bytes_max, ..Self::default() };
        // What cannot be listed is no promise; it is tried again at the next start.
        for path in recovery::list(&dir).unwrap_or_default() {
            let Ok(found) = fs::metadata(&path) else { continue };
            let written = found.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            let at = UnixNanos(written.and_then(|at| u64::try_from(at.as_nanos()).ok()).unwrap_or(0));
            past.push(Kept { path, bytes: found.len(), at });
        }
        past.dir = dir;
        past.trim();
        past
    }

    /// Takes a segment that nobody needs any more, or removes its file where none is kept.
    pub(crate) fn take(&mut self, segment: &Segment, now: UnixNanos) -> io::Result<()> {
        let name = segment.path().file_name().filter(|_| self.bytes_max > 0 && !segment.is_memory() && !segment.is_empty());
        let Some(name) = name else { return segment.unlink() };
        let path = self.dir.join(name);
        if let Err(error) = fs::create_dir_all(&self.dir).and_then(|()| fs::rename(segment.path(), &path)) {
            tracing::warn!("{} is not kept for replay: {error}", segment.path().display());
            return segment.unlink();
        }
        self.push(Kept { path, bytes: segment.bytes(), at: now });
        self.trim();
        Ok(())
    }

    fn push(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.held.push_back(kept);
    }

    /// No more than is allowed, nor than is left free for others.
    fn trim(&mut self) {
        let free = free_bytes(&self.dir).unwrap_or(u64::MAX);
        let most = self.bytes_max.min(free.saturating_add(self.bytes) / 2);
        self.drop_while("size", |past, _| past.bytes > most);
        self.show();
    }

    /// Drops what was moved here before.
    pub(crate) fn forget_before(&mut self, before: UnixNanos) {
        self.drop_while("age", |_, oldest| oldest.at < before);
        self.show();
    }

    /// Drops everything: the disk is full.
    pub(crate) fn give_way(&mut self) {
        self.drop_while("disk_full", |_, _| true);
        self.show();
    }

    fn drop_while(&mut self, reason: &'static str, is_over: impl Fn(&Self, &Kept) -> bool) {
        while let Some(oldest) = self.held.front()
            && is_over(self, oldest)
        {
            if let Err(error) = fs::remove_file(&oldest.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                // Tried again with the next segment.
                tracing::warn!("cannot remove {}: {error}", oldest.path.display());
                return;
            }
            let bytes = oldest.bytes;
            self.bytes = self.bytes.saturating_sub(bytes);
            self.held.pop_front();
            metrics::counter!("geophone_log_history_dropped_bytes_total", "reason" => reason).increment(bytes);
        }
    }

    fn show(&self) {
        #[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
        metrics::gauge!("geophone_log_history_bytes").set(self.bytes as f64);
    }
}

/// Bytes that the file system of `dir`, or of the nearest folder above that exists, has for us.
fn free_bytes(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.is_dir())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
