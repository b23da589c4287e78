//! The brain's memory on its way to the disk, piece by piece: whole it is as large as the brain itself.

use geophone_proto::Seq;
use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Bytes that travel together.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces under way; more, and the brain waits for the disk.
const PIECES: usize = 128;

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// What the writer of a memory holds.
#[derive(Debug)]
pub struct Saving {
    /// Position after the last record in it.
    pub next: Seq,
    pieces: Receiver<Piece>,
    /// Dropped with this: tells that the memory is kept, or has failed.
    _through: SyncSender<()>,
}

/// What the brain writes into.
pub struct Mouth {
    pieces: SyncSender<Piece>,
    held: Vec<u8>,
    told: u64,
}

/// Resolves once a memory is kept, or has failed.
#[derive(Debug)]
pub struct Through(Receiver<()>);

/// A memory that is about to be told.
pub fn saving(next: Seq) -> (Mouth, Saving, Through) {
    let (sender, pieces) = sync_channel(PIECES);
    let (through, is_through) = sync_channel(0);
    (
        Mouth { pieces: sender, held: Vec::with_capacity(PIECE_BYTES), told: 0 },
        Saving { next, pieces, _through: through },
        Through(is_through),
    )
}

impl Saving {
    /// Writes all that comes; fails where the end does not.
    pub fn write(&self, sink: &mut dyn Write) -> io::Result<()> {
        loop {
            match self.pieces.recv() {
                Ok(Piece::Bytes(bytes)) => sink.write_all(&bytes)?,
                Ok(Piece::End) => return Ok(()),
                Err(_) => return Err(io::Error::other("the brain did not tell all of it")),
            }
        }
    }
}

impl Mouth {
    /// That was all. Bytes told; an error if nobody listens any more.
    pub fn end(mut self) -> io::Result<u64> {
        self.flush()?;
        self.pieces.send(Piece::End).map_err(|_| gone())?;
        Ok(self.told)
    }
}

impl Write for Mouth {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        self.held.extend_from_slice(bytes);
        self.told += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.held, Vec::with_capacity(PIECE_BYTES));
        self.pieces.send(Piece::Bytes(piece)).map_err(|_| gone())
    }
}

impl Through {
    /// Waits for it.
    pub fn wait(&self) {
        // Nothing is ever sent: the other end goes.
        let _ = self.0.recv();
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody keeps it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_arrives_whole_or_not_at_all() {
        let (mut mouth, saving, through) = saving(Seq(3));
        let told: Vec<u8> = (0..PIECE_BYTES * 3 + 7).map(|at| (at % 251) as u8).collect();
        mouth.write_all(&told).and_then(|()| mouth.end()).expect("it listens");
        let mut heard = Vec::new();
        saving.write(&mut heard).expect("all was told");
        assert!(heard == told);
        drop(saving);
        through.wait();
    }

    #[test]
    fn a_memory_without_an_end_is_none_and_one_that_nobody_keeps_fails() {
        let (mut mouth, saving, _through) = saving(Seq(3));
        mouth.write_all(b"half of it").and_then(|()| mouth.flush()).expect("it listens");
        drop(mouth);
        assert!(saving.write(&mut Vec::new()).is_err());
        let (mut mouth, saving, _through) = super::saving(Seq(3));
        drop(saving);
        assert!(mouth.write_all(b"all of it").and_then(|()| mouth.end()).is_err());
    }
}
