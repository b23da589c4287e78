//! Opening what an earlier run left: whole frames are kept, a torn end is cut, damage is set aside.

use super::{
    format::{Found, HEADER_BYTES, PREFIX_BYTES, decode_header, look, u32_at, u64_at},
    segment::{Backing, Segment},
};
use crate::{blocks::BLOCK_BYTES, durable, error::StoreError};
use geophone_proto::Seq;
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

/// What opening the log found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records found whole.
    pub records: u64,
    /// The newest of them.
    pub head: Seq,
    /// Bytes of unfinished frames cut off the end of segments.
    pub torn_bytes: u64,
    /// Bytes moved to `log/quarantine/` because something before them is damaged.
    pub quarantined_bytes: u64,
    /// What was done, one sentence each, for the operator.
    pub notes: Vec<String>,
}

/// Name of the file of the segment that begins at `first`.
pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

/// Segment files in `dir`, in order.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StoreError::Open { path: dir.to_owned(), source }),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| StoreError::Open { path: dir.to_owned(), source })?.path();
        let digits = path.file_stem().is_some_and(|stem| stem.len() == 20 && stem.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        if digits && path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Opens one segment. With `repair` the file is mended, otherwise its bad end is only left out.
/// `None` where nothing of it can be used.
pub(crate) fn open(path: &Path, repair: bool, recovery: &mut Recovery) -> Result<Option<Segment>, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // A running server may remove a sealed segment while we look.
        Err(error) if !repair && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let (first, created_at) = match decode_header(&bytes) {
        Ok(header) => header,
        Err(detail) => {
            if repair {
                set_aside(path, &bytes, 0, detail, recovery)?;
                fs::remove_file(path).map_err(failed)?;
            }
            return Ok(None);
        }
    };
    let (end, good, detail) = scan(&bytes, first);
    if good < bytes.len() && repair {
        if bytes.len() - good < BLOCK_BYTES && bytes[good..].iter().all(|byte| *byte == 0) {
            // The rest of the last block: it never was a record.
        } else if later_frame(&bytes[good..], end) {
            set_aside(path, &bytes, good, detail, recovery)?;
        } else {
            recovery.torn_bytes += (bytes.len() - good) as u64;
            recovery.notes.push(format!("{}: cut {} bytes of an unfinished write off the end", path.display(), bytes.len() - good));
        }
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(good as u64).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    let file = File::open(path).map_err(failed)?;
    let segment = Segment::new(first, created_at, Backing::File { path: path.to_owned(), file });
    segment.publish(end, good as u64);
    recovery.records += end - first;
    Ok(Some(segment))
}

/// Position after the last whole frame, its end in bytes, and what stopped the scan.
fn scan(bytes: &[u8], first: u64) -> (u64, usize, &'static str) {
    let (mut seq, mut offset) = (first, HEADER_BYTES);
    loop {
        match look(&bytes[offset..]) {
            Found::Frame(found, length) if found == seq => {
                offset += length;
                seq += 1;
            }
            Found::Frame(..) => return (seq, offset, "a frame has the wrong position"),
            Found::Short(_) => return (seq, offset, "a frame is longer than the rest of the file"),
            Found::Bad(detail) => return (seq, offset, detail),
        }
    }
}

/// Whether a whole frame with a later position lies somewhere in `bytes`: then this is damage in the
/// middle, not an unfinished write.
fn later_frame(bytes: &[u8], seq: u64) -> bool {
    (1..bytes.len().saturating_sub(PREFIX_BYTES + 8)).any(|offset| {
        let here = &bytes[offset..];
        let found = u64_at(here, PREFIX_BYTES);
        let length = u32_at(here, 0) as usize;
        found > seq && found - seq < 1 << 32 && length <= here.len() && matches!(look(here), Found::Frame(..))
    })
}

fn set_aside(path: &Path, bytes: &[u8], from: usize, detail: &str, recovery: &mut Recovery) -> Result<(), StoreError> {
    let rest = &bytes[from..];
    if rest.is_empty() {
        return Ok(());
    }
    let dir = path.with_file_name("quarantine");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let target = dir.join(format!("{stem}-{from}.bin"));
    durable::create_dir(&dir)
        .and_then(|()| durable::replace(&target, &[rest]))
        .map_err(|source| StoreError::Open { path: target.clone(), source })?;
    recovery.quarantined_bytes += rest.len() as u64;
    recovery.notes.push(format!(
        "{} is damaged at byte {from}: {detail}; the {} bytes from there on were moved to {} and are not read",
        path.display(),
        rest.len(),
        target.display()
    ));
    Ok(())
}
