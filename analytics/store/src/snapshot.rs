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
    io::Read,
    path::Path,
};

const MAGIC: &[u8; 8] = b"GEOPSNAP";
const HEADER_BYTES: usize = 32;
/// Raised with the layout of the windows.
const VERSION: u8 = 2;
const NAME: &str = "snapshot.bin";

/// What the file holds.
pub(crate) struct Snapshot {
    pub(crate) seq: u64,
    pub(crate) brain: Vec<u8>,
    pub(crate) windows: Vec<u8>,
}

/// Replaces the snapshot.
pub(crate) fn write(dir: &Path, seq: u64, brain: &[u8], windows: &[u8]) -> Result<(), StoreError> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8] = VERSION;
    header[16..24].copy_from_slice(&seq.to_le_bytes());
    header[24..].copy_from_slice(&(brain.len() as u64).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    [&header[16..], brain, windows].iter().for_each(|part| hasher.update(part));
    header[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    let path = dir.join(NAME);
    durable::replace(&path, &[&header, brain, windows]).map_err(|source| StoreError::io("replace", &path, source))
}

/// Reads the snapshot; a damaged or foreign one is none, since the log can rebuild the state.
pub(crate) fn read(dir: &Path) -> Option<Snapshot> {
    let bytes = fs::read(dir.join(NAME)).ok()?;
    let word = |at: usize| bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let crc = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
    let split = HEADER_BYTES.checked_add(usize::try_from(word(24)?).ok()?)?;
    if bytes.get(..8)? != MAGIC || bytes[8] != VERSION || split > bytes.len() || crc32fast::hash(&bytes[16..]) != crc {
        metrics::counter!("geophone_store_bad_snapshots_total").increment(1);
        tracing::warn!("{} is damaged; the state is rebuilt from the log", dir.join(NAME).display());
        return None;
    }
    Some(Snapshot { seq: word(16)?, brain: bytes[HEADER_BYTES..split].to_vec(), windows: bytes[split..].to_vec() })
}

/// Only the position, without checking the rest; 0 if there is none.
pub(crate) fn seq(dir: &Path) -> u64 {
    let mut header = [0; HEADER_BYTES];
    let read = File::open(dir.join(NAME)).and_then(|mut file| file.read_exact(&mut header));
    let mut word = [0; 8];
    word.copy_from_slice(&header[16..24]);
    if read.is_ok() && &header[..8] == MAGIC { u64::from_le_bytes(word) } else { 0 }
}
