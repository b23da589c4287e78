//! Writes a file front to back in whole blocks, past the kernel's page cache where the file system lets us: the log
//! and Parquet are written once and hardly read, so caching them costs more processor than writing them.
//!
//! Called by the log's committer and the Parquet writer. Invariant: after `flush` the file holds every byte that was
//! put, and zeros up to the next multiple of a block, until `trim`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What devices and file systems want addresses, lengths and places to be a multiple of.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Larger single writes cost several times more a byte where they go through the page cache.
const PIECE_BYTES: usize = 512 * 1024;

/// A file being written.
pub(crate) struct Blocks {
    path: PathBuf,
    file: File,
    is_direct: bool,
    /// Room for a piece, from the first address that is a multiple of a block.
    room: Vec<u8>,
    from: usize,
    /// Where the piece begins in the file: a multiple of a block.
    at: u64,
    filled: usize,
}

fn open(path: &Path, is_direct: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if is_direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options.open(path)
}

impl Blocks {
    /// Goes on writing a file that holds `begun` and nothing else, less than a block.
    pub(crate) fn after(path: &Path, begun: &[u8], past_cache: bool) -> io::Result<Self> {
        let direct = if past_cache { open(path, true).ok() } else { None };
        let is_direct = direct.is_some();
        let file = direct.map_or_else(|| open(path, false), Ok)?;
        let mut room = vec![0; PIECE_BYTES + BLOCK_BYTES];
        let from = room.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        room[from..from + begun.len()].copy_from_slice(begun);
        Ok(Self { path: path.to_owned(), file, is_direct, room, from, at: 0, filled: begun.len() })
    }

    /// Bytes put so far.
    pub(crate) const fn len(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Adds bytes; whole pieces go out at once.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.filled));
            let start = self.from + self.filled;
            self.room[start..start + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == PIECE_BYTES {
                self.write(PIECE_BYTES)?;
                self.at += PIECE_BYTES as u64;
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// Writes what is left. The last block is written again with what follows it: the bytes it has keep their places,
    /// so that whatever a power cut leaves of either write has them.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let whole = self.filled.next_multiple_of(BLOCK_BYTES);
        let end = self.from + self.filled;
        self.room[end..self.from + whole].fill(0);
        self.write(whole)?;
        let done = self.filled - self.filled % BLOCK_BYTES;
        self.room.copy_within(self.from + done..end, self.from);
        self.at += done as u64;
        self.filled -= done;
        Ok(())
    }

    fn write(&mut self, length: usize) -> io::Result<()> {
        let piece = &self.room[self.from..self.from + length];
        match self.file.write_all_at(piece, self.at) {
            // Some file systems say only now that they cannot.
            Err(error) if self.is_direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.is_direct = false;
                self.file = open(&self.path, false)?;
                self.file.write_all_at(piece, self.at)
            }
            done => done,
        }
    }

    /// Cuts the zeros behind the last byte off.
    pub(crate) fn trim(&self) -> io::Result<()> {
        self.file.set_len(self.len())
    }

    /// Makes what was flushed survive a power cut.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// For libraries that write: `flush` here writes nothing, since more may come; `Blocks::flush` does.
impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_at_its_place_whatever_is_flushed_in_between() {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        for past_cache in [false, true] {
            let path = dir.path().join(format!("{past_cache}"));
            std::fs::write(&path, b"head").expect("the folder is writable");
            let mut blocks = Blocks::after(&path, b"head", past_cache).expect("it is there");
            let mut wanted = b"head".to_vec();
            for length in [1, 4091, 4092, 5, 700_000, 0, 8192, 3] {
                let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
                blocks.put(&bytes).expect("there is room");
                wanted.extend_from_slice(&bytes);
                Blocks::flush(&mut blocks).expect("there is room");
                let found = std::fs::read(&path).expect("it is there");
                assert_eq!(blocks.len(), wanted.len() as u64);
                assert!(found[..wanted.len()] == wanted && found[wanted.len()..].iter().all(|byte| *byte == 0));
            }
            blocks.trim().expect("it can be cut");
            assert_eq!(std::fs::read(&path).expect("it is there"), wanted);
        }
    }
}
