//! Rows of the window that closes next, written a block of series at a time before it does: most points of a window
//! are there a while before it is taken to be complete, and whoever closes it then has little left to do.
//!
//! Of metrics only: those are many, and their rows follow from their points alone. Invariant: a row that is given is
//! the one that would be written now, so drafts leave no trace in what is closed. Kept by `window::open::Closing`,
//! which tells what has changed; filled and emptied by the observer. No part of the snapshot.

use super::source::{Frame, SourceIndex, Sources};
use crate::window::{BLOCK, ClosedWindow, WindowRow, open::WindowNumber};
use std::ops::Range;

/// A block that goes on changing is written so often before its window closes.
const TRIES: u8 = 2;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    window: Option<WindowNumber>,
    blocks: Vec<Draft>,
    /// By source: whether its row has changed since it was written; and whether any has.
    stirred: Vec<bool>,
    is_stirred: bool,
    /// All blocks before this one need nothing.
    next: usize,
}

/// The rows of a run of series.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Which series.
    pub series: Range<u32>,
    /// Who measures them.
    pub sources: Range<usize>,
    /// Their rows.
    pub window: Option<ClosedWindow>,
    tries: u8,
}

impl Draft {
    /// No rows, at this series and source.
    pub fn none(series: u32, source: usize) -> Self {
        Self { series: series..series, sources: source..source, ..Self::default() }
    }
}

impl Drafts {
    /// Notes that a source's row of this window may have changed.
    pub fn stir(&mut self, window: WindowNumber, source: SourceIndex) {
        if self.window == Some(window)
            && let Some(stirred) = self.stirred.get_mut(source as usize)
        {
            (*stirred, self.is_stirred) = (true, true);
        }
    }

    /// Writes the rows of one more block of a window. `None` if there is nothing more to write.
    pub fn write(&mut self, sources: &Sources, frame: &Frame) -> Option<&ClosedWindow> {
        if self.window != Some(frame.window) {
            *self = Self { window: Some(frame.window), ..Self::default() };
        }
        self.strike();
        let count = sources.series_end();
        while (self.next * BLOCK) < count as usize {
            let at = self.next;
            self.blocks.resize(self.blocks.len().max(at + 1), Draft::default());
            let series = range_of(at, count);
            let is_done = self.blocks[at].window.is_some() && self.blocks[at].series == series;
            if is_done || self.blocks[at].tries >= TRIES {
                self.next += 1;
                continue;
            }
            let tries = self.blocks[at].tries + 1;
            let from = at.checked_sub(1).map_or(0, |before| self.blocks[before].sources.end.saturating_sub(1));
            let (run, are_metrics) = sources.with_series(from, &series);
            if !are_metrics {
                self.blocks[at] = Draft { series, sources: run, window: None, tries: TRIES };
                continue;
            }
            self.stirred.resize(self.stirred.len().max(run.end), false);
            self.stirred[run.clone()].fill(false);
            let mut rows = Vec::with_capacity(series.len());
            sources.rows(run.clone(), &series, frame, &mut rows);
            let window = ClosedWindow { start_ns: frame.window * frame.length_ns, length_ns: frame.length_ns, amended: false, rows };
            self.blocks[at] = Draft { series, sources: run, window: Some(window), tries };
            return self.blocks[at].window.as_ref();
        }
        None
    }

    /// Forgets the rows of blocks in which something has changed.
    fn strike(&mut self) {
        if !std::mem::take(&mut self.is_stirred) {
            return;
        }
        for (at, block) in self.blocks.iter_mut().enumerate() {
            if block.window.is_some() && self.stirred[block.sources.clone()].contains(&true) {
                block.window = None;
                self.next = self.next.min(at);
            }
        }
    }

    /// Takes what has been written of a window and still holds, in series order; `count` = all series.
    pub fn take(&mut self, window: WindowNumber, count: u32) -> Vec<(Draft, Vec<WindowRow>)> {
        let mut drafts = std::mem::take(self);
        if drafts.window != Some(window) {
            return Vec::new();
        }
        drafts.strike();
        let is_whole = |(at, draft): &(usize, Draft)| draft.series == range_of(*at, count);
        let whole = drafts.blocks.into_iter().enumerate().filter(is_whole);
        whole.filter_map(|(_, mut draft)| draft.window.take().map(|window| (draft, window.rows))).collect()
    }
}

fn range_of(block: usize, count: u32) -> Range<u32> {
    let at = |block: usize| u32::try_from(block * BLOCK).unwrap_or(u32::MAX).min(count);
    at(block)..at(block + 1)
}
