//! Kept rows of all operations and log templates, in bounded memory: the last windows one by one, the
//! half hour before in blocks.
//!
//! Called by `observe` for every row (a glance, rarely a copy) and when a window settles. When the
//! bound is near, everybody keeps half as many from the next window on; far above it nobody keeps any.

use super::cell::{Cell, Glance, Kept, Room, Row};
use crate::{
    hash::{FixedMap, FixedSet},
    window::open::{Cells, WindowNumber},
};
use geophone_proto::attributes::trimmed;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Windows merged into one block.
const BLOCK_WINDOWS: u64 = 12;
/// Blocks kept, and how old the oldest may be.
const BLOCKS_MAX: usize = 12;
const BLOCK_AGE_MAX: u64 = 4 * BLOCK_WINDOWS * BLOCKS_MAX as u64;
/// An attribute longer than this, and attributes of a row beyond this, are not kept.
const PAIR_BYTES_MAX: usize = 256;
const ROW_BYTES_MAX: usize = 2_048;
/// What a sender takes beside its attributes.
const SENDER_BYTES: usize = 64;
/// Steps of thinning; at the last nothing is kept.
const THINNEST: u32 = 5;
/// Settled windows between two looks for senders that no row names any more.
const SWEEP_EVERY: u64 = 30;

/// Whose rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Spans of an operation, by its number.
    Operation(u32),
    /// Records of a log template, by the number of its source.
    Log(u32),
}

/// Where a row came from and what it says; asked for only if it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Hash of the resource.
    pub sender: u64,
    /// The resource's `attributes::Encoded`.
    pub resource: &'a [u8],
    /// The row's.
    pub attributes: &'a [u8],
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Block {
    first: WindowNumber,
    last: WindowNumber,
    cell: Cell,
}

/// What is kept of one subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Album {
    open: Cells<Cell>,
    blocks: VecDeque<Block>,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gallery {
    operations: Vec<Option<Box<Album>>>,
    logs: Vec<Option<Box<Album>>>,
    /// Resource attributes by hash.
    senders: FixedMap<u64, Box<[u8]>>,
    bytes_max: usize,
    bytes: usize,
    thinned: u32,
    windows: u64,
    #[serde(skip)]
    passed_over: u64,
}

/// The rows of an anomaly and those of before it.
#[derive(Debug, Default)]
pub(crate) struct Sides<'a> {
    pub(crate) anomaly: Vec<Kept<'a>>,
    pub(crate) baseline: Vec<Kept<'a>>,
}

impl Gallery {
    /// Bounds what may be kept; 0 keeps nothing.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Looks at a row. Cost: a few comparisons; one copy if it is kept.
    pub fn look<'a>(&mut self, subject: Subject, window: WindowNumber, glance: Glance, origin: impl FnOnce() -> Origin<'a>) {
        if self.thinned >= THINNEST || self.bytes >= self.bytes_max {
            self.passed_over += 1;
            return;
        }
        let (albums, at) = match subject {
            Subject::Operation(number) => (&mut self.operations, number as usize),
            Subject::Log(number) => (&mut self.logs, number as usize),
        };
        if albums.len() <= at {
            albums.resize(at + 1, None);
        }
        let (senders, mut of_sender) = (&mut self.senders, 0);
        let cell = albums[at].get_or_insert_default().open.at(window);
        let (came, went) = cell.look(glance, Room::thinned(self.thinned), || {
            let Origin { sender, resource, attributes } = origin();
            senders.entry(sender).or_insert_with(|| {
                let kept = trimmed(resource, PAIR_BYTES_MAX, ROW_BYTES_MAX);
                of_sender = kept.len() + SENDER_BYTES;
                kept
            });
            Row::new(glance, sender, trimmed(attributes, PAIR_BYTES_MAX, ROW_BYTES_MAX))
        });
        self.bytes = (self.bytes + came + of_sender).saturating_sub(went);
    }

    fn album(&self, subject: Subject) -> Option<&Album> {
        let (albums, at) = match subject {
            Subject::Operation(number) => (&self.operations, number as usize),
            Subject::Log(number) => (&self.logs, number as usize),
        };
        albums.get(at)?.as_deref()
    }

    /// Reads where the open windows of a subject lie, ahead of `look`.
    pub fn touch(&self, subject: Subject) -> usize {
        self.album(subject).map_or(0, |album| album.open.len())
    }

    /// Reads what of the newest window `look` will want to see first.
    pub fn touch_cell(&self, subject: Subject) -> u64 {
        self.album(subject).and_then(|album| album.open.newest()).map_or(0, Cell::touch)
    }

    /// The window is final: it joins a block. Old blocks go.
    pub fn settle(&mut self, window: WindowNumber) {
        let room = Room::thinned(self.thinned);
        let (mut bytes, mut settled) = (self.senders.values().map(|cell| cell.len() + SENDER_BYTES).sum::<usize>(), 0);
        for slot in self.operations.iter_mut().chain(&mut self.logs) {
            let Some(album) = slot else { continue };
            album.settle(window, room);
            let (open, blocks) = album.bytes();
            bytes += open + blocks;
            settled += blocks;
            if album.is_empty() {
                *slot = None;
            }
        }
        self.bytes = bytes;
        self.windows += 1;
        // By what is settled, so that the order in which rows came leaves no trace.
        let before = self.thinned;
        if settled * 2 > self.bytes_max && self.thinned < THINNEST {
            self.thinned += 1;
        } else if settled * 8 < self.bytes_max && self.thinned > 0 {
            self.thinned -= 1;
        }
        if self.thinned > before {
            let room = Room::thinned(self.thinned);
            let albums = self.operations.iter_mut().chain(&mut self.logs).flatten();
            albums.flat_map(|album| &mut album.blocks).for_each(|block| block.cell.thin(room));
        }
        if self.windows.is_multiple_of(SWEEP_EVERY) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let albums = self.operations.iter().chain(&self.logs).flatten();
        let named: FixedSet<u64> =
            albums.flat_map(|album| album.cells().map(|(_, cell)| cell)).flat_map(Cell::rows).map(|row| row.sender).collect();
        self.senders.retain(|sender, _| named.contains(sender));
    }

    /// Rows not looked at since the last call, because memory is short.
    pub fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }

    /// What is held, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows of windows `from` to `to`, and those of before `onset`.
    pub(crate) fn sides(&self, subject: Subject, onset: WindowNumber, (from, to): (WindowNumber, WindowNumber)) -> Sides<'_> {
        let (albums, at) = match subject {
            Subject::Operation(number) => (&self.operations, number as usize),
            Subject::Log(number) => (&self.logs, number as usize),
        };
        let mut sides = Sides::default();
        let Some(album) = albums.get(at).and_then(Option::as_ref) else { return sides };
        for ((first, last), cell) in album.cells() {
            if last < onset {
                sides.baseline.extend(cell.kept());
            } else if first >= from && last <= to {
                sides.anomaly.extend(cell.kept());
            }
        }
        sides
    }

    /// Attributes of a resource.
    pub(crate) fn resource(&self, sender: u64) -> &[u8] {
        self.senders.get(&sender).map_or(&[], |cell| cell)
    }
}

impl Album {
    fn settle(&mut self, window: WindowNumber, room: Room) {
        if let Some(cell) = self.open.settle(window) {
            let number = window / BLOCK_WINDOWS;
            match self.blocks.back_mut().filter(|block| block.first / BLOCK_WINDOWS == number) {
                Some(block) => {
                    block.last = window;
                    block.cell.merge(cell, room);
                }
                None => self.blocks.push_back(Block { first: window, last: window, cell }),
            }
        }
        let is_old = |block: &Block| block.last + BLOCK_AGE_MAX < window;
        while self.blocks.len() > BLOCKS_MAX || self.blocks.front().is_some_and(is_old) {
            self.blocks.pop_front();
        }
    }

    /// First and last window of each cell, and the cell; oldest first.
    fn cells(&self) -> impl Iterator<Item = ((WindowNumber, WindowNumber), &Cell)> {
        let blocks = self.blocks.iter().map(|block| ((block.first, block.last), &block.cell));
        blocks.chain(self.open.iter().map(|(window, cell)| ((window, window), cell)))
    }

    /// Of open windows, and of blocks.
    fn bytes(&self) -> (usize, usize) {
        let open = self.open.iter().map(|(_, cell)| cell.bytes()).sum();
        (open, self.blocks.iter().map(|block| block.cell.bytes()).sum())
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.blocks.is_empty()
    }
}
