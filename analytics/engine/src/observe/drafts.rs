//! Rows of the window that closes next, written a block of series at a time before it does: most points of a window
//! are there a while before it is taken to be complete, and whoever closes it then has little left to do. A block is
//! written once as many points have come for it as in the window before, and again, if it has changed, once the window
//! is over.
//!
//! Of metrics only: those are many, and their rows follow from their points alone. Invariant: a row that is given is
//! the one that would be written now, so drafts leave no trace in what is closed. Kept by `window::open::Closing`,
//! which tells what has changed; filled and emptied by the observer. No part of the snapshot.

use super::source::{Frame, SourceIndex, Sources};
use crate::window::{BLOCK, ClosedWindow, WindowRow, open::WindowNumber};
use std::{collections::BTreeMap, ops::Range};

/// A block that goes on changing is written so often before its window is over, and before it closes.
const TRIES_EARLY: u8 = 1;
const TRIES: u8 = 3;
/// The home of a source that is not known yet.
const NOWHERE: u32 = u32::MAX;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    window: Option<WindowNumber>,
    blocks: Vec<Draft>,
    /// By source: whether its row has changed since it was written; and whether any has.
    stirred: Vec<bool>,
    is_stirred: bool,
    /// Blocks of sources, and sources of blocks, as far as they are known.
    homes: Vec<u32>,
    runs: Vec<Range<usize>>,
    /// How many points have come for each block, by window.
    arrived: BTreeMap<WindowNumber, Vec<u32>>,
}

/// The rows of a run of series.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Which series.
    pub series: Range<u32>,
    /// Who measures them.
    pub sources: Range<usize>,
    window: Option<ClosedWindow>,
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

    /// Notes that a point has come.
    pub fn arrive(&mut self, window: WindowNumber, source: SourceIndex) {
        self.stir(window, source);
        if let Some(home) = self.homes.get(source as usize).copied().filter(|home| *home != NOWHERE) {
            let arrived = self.arrived.entry(window).or_default();
            arrived.resize(arrived.len().max(home as usize + 1), 0);
            arrived[home as usize] += 1;
        }
    }

    /// Writes the rows of one more block of a window; `is_over` = its time is. `None` if nothing is worth writing now.
    pub fn write(&mut self, sources: &Sources, frame: &Frame, is_over: bool) -> Option<&ClosedWindow> {
        self.turn_to(frame.window);
        self.strike();
        let count = sources.series_end();
        let blocks = (count as usize).div_ceil(BLOCK);
        self.blocks.resize(self.blocks.len().max(blocks), Draft::default());
        self.runs.resize(self.runs.len().max(blocks), 0..0);
        loop {
            let at = self.wanted(count, is_over)?;
            let (series, tries) = (range_of(at, count), self.blocks[at].tries + 1);
            let from = at.checked_sub(1).map_or(0, |before| self.runs[before].end.saturating_sub(1));
            let (run, are_metrics) = sources.with_series(from, &series);
            self.learn_home(at, &run);
            if !are_metrics {
                self.blocks[at] = Draft { series, sources: run, window: None, tries: TRIES };
                continue;
            }
            let mut rows = Vec::with_capacity(series.len());
            sources.rows(run.clone(), &series, frame, &mut rows);
            let window = ClosedWindow { start_ns: frame.window * frame.length_ns, length_ns: frame.length_ns, amended: false, rows };
            self.blocks[at] = Draft { series, sources: run, window: Some(window), tries };
            return self.blocks[at].window.as_ref();
        }
    }

    fn turn_to(&mut self, window: WindowNumber) {
        if self.window != Some(window) {
            self.window = Some(window);
            self.blocks.clear();
            // How many points the window before had tells how many to expect.
            self.arrived = self.arrived.split_off(&window.saturating_sub(1));
        }
    }

    /// The first block that is worth writing now.
    fn wanted(&self, count: u32, is_over: bool) -> Option<usize> {
        let window = self.window?;
        let arrived = |window: WindowNumber| self.arrived.get(&window).map_or(&[][..], Vec::as_slice);
        let (before, now) = (arrived(window.saturating_sub(1)), arrived(window));
        let is_full = |at: usize| before.get(at).is_some_and(|before| *before > 0 && now.get(at).is_some_and(|now| now >= before));
        self.blocks.iter().enumerate().position(|(at, block)| {
            let is_done = block.window.is_some() && block.series == range_of(at, count);
            let may_try = if is_over { block.tries < TRIES } else { block.tries < TRIES_EARLY && is_full(at) };
            !is_done && may_try
        })
    }

    /// Notes who measures a block, and that none of them has changed so far.
    fn learn_home(&mut self, at: usize, run: &Range<usize>) {
        self.homes.resize(self.homes.len().max(run.end), NOWHERE);
        self.homes[run.clone()].fill(u32::try_from(at).unwrap_or(NOWHERE));
        self.stirred.resize(self.stirred.len().max(run.end), false);
        self.stirred[run.clone()].fill(false);
        self.runs[at] = run.clone();
    }

    /// Forgets the rows of blocks in which something has changed.
    fn strike(&mut self) {
        if std::mem::take(&mut self.is_stirred) {
            let changed = |block: &Draft| self.stirred[block.sources.clone()].contains(&true);
            self.blocks.iter_mut().filter(|block| block.window.is_some() && changed(block)).for_each(|block| block.window = None);
        }
    }

    /// Takes what has been written of a window and still holds, in series order; `count` = all series.
    pub fn take(&mut self, window: WindowNumber, count: u32) -> Vec<(Draft, Vec<WindowRow>)> {
        self.strike();
        let blocks = std::mem::take(&mut self.blocks);
        if self.window.take() != Some(window) {
            return Vec::new();
        }
        let is_whole = |(at, draft): &(usize, Draft)| draft.series == range_of(*at, count);
        let whole = blocks.into_iter().enumerate().filter(is_whole);
        whole.filter_map(|(_, mut draft)| draft.window.take().map(|window| (draft, window.rows))).collect()
    }
}

fn range_of(block: usize, count: u32) -> Range<u32> {
    let at = |block: usize| u32::try_from(block * BLOCK).unwrap_or(u32::MAX).min(count);
    at(block)..at(block + 1)
}
