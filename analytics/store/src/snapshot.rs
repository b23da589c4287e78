//! The brain's state at a position of the log, and with it the windows that are not in Parquet yet:
//! one file, replaced atomically, so that the two always fit together.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `GEOPSNAP` |
//! | 4 | version 2 |
//! | 4 | crc32 of everything after it |
//! | 8 | position: the state includes this record |
//! | 8 | length of the brain's bytes |
//! | | the brain's bytes, then the windows as postcard |

use crate::{durable, error::StoreError};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

const MAGIC: &[u8; 8] = b"GEOPSNAP";
const HEADER_BYTES: usize = 32;
/// Raised with the layout of the windows.
const VERSION: u8 = 2;
const NAME: &str = "snapshot.bin";
/// Large single writes cost several times more a byte than pieces do.
const PIECE_BYTES: usize = 512 << 10;

/// What the file holds.
pub(crate) struct Snapshot {
    pub(crate) seq: u64,
    pub(crate) brain: Vec<u8>,
    pub(crate) windows: Vec<u8>,
}

/// Writes the bytes of a part to the sink, piece by piece.
pub type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// Replaces the snapshot; if a part fails, the one before stays.
pub(crate) fn write(dir: &Path, seq: u64, brain: &mut Fill<'_>, windows: &mut Fill<'_>) -> Result<(), StoreError> {
    let path = dir.join(NAME);
    let fill = |file: &mut File| {
        file.write_all(&[0; HEADER_BYTES])?;
        let (brain_hash, brain_length) = part(file, brain)?;
        let (windows_hash, _) = part(file, windows)?;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8] = VERSION;
        header[16..24].copy_from_slice(&seq.to_le_bytes());
        header[24..].copy_from_slice(&brain_length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[16..]);
        [brain_hash, windows_hash].iter().for_each(|part| hasher.combine(part));
        header[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
        file.write_all_at(&header, 0)
    };
    durable::replace_by(&path, fill).map_err(|source| StoreError::io("replace", &path, source))
}

/// A part on its way into the file.
struct Part<'a> {
    file: &'a mut File,
    hasher: crc32fast::Hasher,
    length: u64,
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Checksum and length of what was filled in.
fn part(file: &mut File, fill: &mut Fill<'_>) -> io::Result<(crc32fast::Hasher, u64)> {
    let part = Part { file, hasher: crc32fast::Hasher::new(), length: 0 };
    let mut buffered = BufWriter::with_capacity(PIECE_BYTES, part);
    fill(&mut buffered)?;
    let part = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((part.hasher, part.length))
}

/// Reads the snapshot; a damaged or foreign one is none, since the log can rebuild the state.
pub(crate) fn read(dir: &Path) -> Option<Snapshot> {
    let mut bytes = fs::read(dir.join(NAME)).ok()?;
    let word = |at: usize| bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let crc = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
    let split = HEADER_BYTES.checked_add(usize::try_from(word(24)?).ok()?)?;
    if bytes.get(..8)? != MAGIC || bytes[8] != VERSION || split > bytes.len() || crc32fast::hash(&bytes[16..]) != crc {
        metrics::counter!("geophone_store_bad_snapshots_total").increment(1);
        tracing::warn!("{} is damaged; the state is rebuilt from the log", dir.join(NAME).display());
        return None;
    }
    let seq = word(16)?;
    let windows = bytes.split_off(split);
    bytes.drain(..HEADER_BYTES);
    Some(Snapshot { seq, brain: bytes, windows })
}

/// Only the position, without checking the rest; 0 if there is none.
pub(crate) fn seq(dir: &Path) -> u64 {
    let mut header = [0; HEADER_BYTES];
    let read = File::open(dir.join(NAME)).and_then(|mut file| file.read_exact(&mut header));
    let mut word = [0; 8];
    word.copy_from_slice(&header[16..24]);
    if read.is_ok() && &header[..8] == MAGIC { u64::from_le_bytes(word) } else { 0 }
}
