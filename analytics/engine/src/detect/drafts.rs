//! A new window, block by block: folded, scored and judged, and then what opens and closes by it.
//!
//! The first is most of the work and changes nothing, so it can be done ahead, on the points that are there, while the
//! window may still change; when it closes, a block whose rows are the same by then is taken as it is, and any other
//! is done anew. What was done ahead is no part of the state, and leaves no trace in what a window gives.

use super::{
    block::{Around, append},
    calibrate::Reading,
    company::ScoredRow,
    detector::{Detector, Scored, UNTOLD},
    heat::{self, Candidate},
    hysteresis::{Change, Evidence},
    judge::{Place, Told},
};
use crate::{
    features::{
        columns::{Columns, Fresh},
        kernel,
        ring::Slot,
    },
    flag::{Flag, Phase},
    window::{BLOCK, ClosedWindow, WindowRow},
};
use geophone_proto::effect::ScoredWindow;
use std::{collections::BTreeMap, ops::Range};

/// The next window, as far as it has been scored ahead.
pub(super) struct Drafts {
    slot: Slot,
    reading: Reading,
    /// By first row.
    blocks: BTreeMap<usize, Block>,
}

/// A block of a window before anything has opened or closed by it.
pub(super) struct Block {
    rows: Range<usize>,
    /// Columns after the window.
    after: Columns,
    window: ScoredWindow,
    looks: Vec<Look>,
    /// Rows that the model was asked about, and for which it gave no score.
    asked: (usize, usize),
}

/// A series that may open or close: judged, `-log10 p` by the active model, and what the law alone says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    told: Told,
    active: f64,
    law: f64,
}

/// What of a block is worth telling.
#[derive(Default)]
pub(super) struct News {
    changed: Vec<(Change, Told)>,
    hot: Vec<(f64, Told)>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.hot.is_empty()
    }
}

/// Rows of the closed window that lie in a block of the brain.
fn within<'a>(rows: &'a [WindowRow], block: &Range<usize>) -> &'a [WindowRow] {
    let until = |end: usize| rows.partition_point(|row| (row.series as usize) < end);
    &rows[until(block.start)..until(block.end)]
}

impl Drafts {
    /// Takes out the block of these rows if it was made of what has come, and clears its place else.
    fn take(&mut self, rows: &Range<usize>, closed: &[WindowRow]) -> Option<Block> {
        let drafted = self.blocks.remove(&rows.start).filter(|block| block.rows == *rows);
        let told = self.slot.told[rows.clone()].iter().filter(|told| **told).count();
        let holds = |row: &WindowRow| self.slot.holds(row.series as usize, row.stat, row.shown);
        let same = drafted.filter(|_| told == closed.len() && closed.iter().all(holds));
        if same.is_none() && told > 0 {
            self.slot.clear(rows.clone());
        }
        same
    }
}

impl Detector {
    /// Scores one block of a window ahead: `rows` are all that it would have if it closed now.
    pub fn draft(&mut self, closed: &ClosedWindow) {
        self.settle();
        let Some(first) = closed.rows.first().map(|row| row.series as usize / BLOCK * BLOCK) else { return };
        let count = self.state.traits.len();
        let block = first..(first + BLOCK).min(count);
        let is_born = |row: &WindowRow| block.contains(&(row.series as usize)) && self.is_born(row.series as usize, closed.start_ns);
        let is_next = self.state.ring.slots.back().is_none_or(|last| last.start_ns < closed.start_ns);
        if !is_next || !self.company.is_empty() || !closed.rows.iter().all(is_born) {
            return;
        }
        let drafts = self.drafts.take().filter(|drafts| drafts.slot.start_ns == closed.start_ns);
        let mut drafts = drafts.unwrap_or_else(|| self.begin(closed.start_ns));
        drafts.slot.resize(count);
        drafts.reading.resize(count);
        drafts.slot.clear(block.clone());
        // As if it had closed, for so long.
        let position = self.state.ring.slots.len();
        self.state.ring.slots.push_back(drafts.slot);
        self.state.readings.push_back(drafts.reading);
        self.state.write(&closed.rows, position);
        let rows: Vec<usize> = closed.rows.iter().map(|row| row.series as usize).collect();
        let drafted = self.block(position, block, &rows);
        drafts.blocks.insert(first, drafted);
        if let (Some(slot), Some(reading)) = (self.state.ring.slots.pop_back(), self.state.readings.pop_back()) {
            (drafts.slot, drafts.reading) = (slot, reading);
            self.drafts = Some(drafts);
        }
    }

    fn begin(&self, start_ns: u64) -> Drafts {
        let slot = Slot::empty(start_ns, self.state.traits.len());
        Drafts { slot, reading: self.state.calibration.reading(), blocks: BTreeMap::new() }
    }

    /// What was scored ahead of these series no longer holds.
    pub(super) fn forget_drafts(&mut self, rows: impl IntoIterator<Item = usize>) {
        if let Some(drafts) = &mut self.drafts {
            rows.into_iter().for_each(|row| drop(drafts.blocks.remove(&(row / BLOCK * BLOCK))));
        }
    }

    /// Takes a new window, later than all before. `rows` = its series, ascending, as far as they are known.
    pub(super) fn advance(&mut self, closed: &ClosedWindow, rows: &[usize], scored: &mut Scored) {
        let count = self.state.traits.len();
        let drafts = self.drafts.take().filter(|drafts| drafts.slot.start_ns == closed.start_ns && self.company.is_empty());
        let mut drafts = drafts.unwrap_or_else(|| self.begin(closed.start_ns));
        drafts.slot.resize(count);
        drafts.reading.resize(count);
        let blocks = (0..count).step_by(BLOCK).map(|first| first..(first + BLOCK).min(count));
        let blocks: Vec<(Range<usize>, Option<Block>)> =
            blocks.map(|block| (block.clone(), drafts.take(&block, within(&closed.rows, &block)))).collect();
        let position = self.state.ring.slots.len();
        self.state.ring.slots.push_back(drafts.slot);
        self.state.readings.push_back(drafts.reading);
        self.company.open_window(count);
        for (block, _) in blocks.iter().filter(|(_, drafted)| drafted.is_none()) {
            self.state.write(within(&closed.rows, block), position);
        }
        let limit = self.limit(closed.start_ns);
        scored.window = self.empty(position, rows.len());
        let mut rows = rows;
        for (block, drafted) in blocks {
            let (of_block, others) = rows.split_at(rows.partition_point(|row| *row < block.end));
            rows = others;
            let block = drafted.unwrap_or_else(|| self.block(position, block, of_block));
            self.decide(closed, (position, limit), block, scored);
        }
        heat::keep_hottest(&mut scored.candidates, |candidate| (candidate.heat, candidate.flag.series as usize));
        self.note_failures(scored);
        scored.unfit = self.unfit(scored.window.features.at);
    }

    /// Folds, scores and judges a block of the window at `position`, which is the newest; `rows` = what came of it.
    fn block(&mut self, position: usize, rows: Range<usize>, told: &[usize]) -> Block {
        let first = rows.start;
        let known: Vec<(usize, usize)> = told.iter().map(|&row| (row, row - first)).collect();
        let traits = self.state.traits(rows.clone());
        let before = self.state.head.part(rows.clone());
        let (mut after, mut fresh) = (before.clone(), Fresh::new(rows.len()));
        kernel::fold((&mut after, &mut fresh), (&self.state.ring, first), position, &traits);
        let around = Around { before: &before, after: &after, traits: &traits };
        let asked = std::mem::take(&mut self.asked);
        let window = self.score(position, &known, (around, &fresh), true);
        let looks = self.look(position, &known, (around, &fresh), &window);
        let asked = std::mem::replace(&mut self.asked, asked);
        Block { rows, after, window, looks, asked }
    }

    /// Opens and closes what a block says, and adds its rows to the window.
    fn decide(&mut self, closed: &ClosedWindow, at: (usize, f64), block: Block, scored: &mut Scored) {
        let Block { rows, after, window, looks, asked } = block;
        self.asked = (self.asked.0 + asked.0, self.asked.1 + asked.1);
        let news = self.step_gates(closed.amended, at, (&looks, &window));
        // Mostly nothing: what was before is only copied where somebody asks.
        if !news.is_empty() {
            let (before, traits) = (self.state.head.part(rows.clone()), self.state.traits(rows.clone()));
            self.tell(closed, news, (Around { before: &before, after: &after, traits: &traits }, &window), scored);
        }
        append(&mut scored.window, window);
        self.unwritten.push((rows.start, after));
    }

    /// Judges the `known` series (places in the brain and in the block) of a scored window of that block.
    pub(super) fn look(
        &self,
        position: usize,
        known: &[(usize, usize)],
        (around, fresh): (Around<'_>, &Fresh),
        window: &ScoredWindow,
    ) -> Vec<Look> {
        // Feature rows stand in the same order, some of them not asked about.
        let mut places = window.features.keys.iter().enumerate();
        let mut looks = Vec::with_capacity(known.len());
        for &(row, local) in known {
            let (key, its) = (self.state.key(row), around.traits[local]);
            let Some((place, _)) = places.find(|(_, other)| **other == key) else { break };
            if window.raw[place].is_nan() || around.after.age[local] < UNTOLD {
                continue;
            }
            let x = window.features.row(place);
            let law = self.state.law_level(position, row, its.kind, x);
            let active = self.state.level(position, row, its.kind).max(law);
            let judged = self.state.judge(x, Place { position, row, local }, (around, fresh));
            looks.push(Look { told: Told { row, local, place, judged }, active, law });
        }
        looks
    }

    /// Opens and closes series.
    pub(super) fn step_gates(&mut self, amended: bool, (position, limit): (usize, f64), (looks, window): (&[Look], &ScoredWindow)) -> News {
        let mut news = News::default();
        for &Look { told, active, law } in looks {
            let row = told.row;
            // What companions hear is gathered only where there are any.
            let other = (!self.company.is_empty()).then(|| {
                let voices = self.state.ring.slots[position].voices(row);
                (window.features.keys[told.place], ScoredRow { row, kind: self.state.trait_of(row).kind, voices })
            });
            let canary = other.and_then(|(key, of)| self.company.canary_level(key, (position, row), (of.kind, of.voices)));
            let level = canary.unwrap_or(active).max(law);
            let evidence = Evidence { level, limit, bar: self.state.bar, ..told.judged.evidence };
            let change = self.state.gates[row].step(evidence, self.state.window_ns);
            if let Some(other) = other {
                let heard = (evidence, self.state.gates[row].is_open, change == Some(Change::Opened));
                self.company.weigh((position, row), other, heard, (active, self.state.window_ns));
            }
            let heat = self.state.gates[row].heat();
            if heat >= heat::HEARD && !amended {
                news.hot.push((heat, told));
            }
            news.changed.extend(change.map(|change| (change, told)));
        }
        heat::keep_hottest(&mut news.hot, |(heat, told)| (*heat, told.row));
        news
    }

    /// Puts into words what has opened, goes on and has closed, and what stands out.
    pub(super) fn tell(
        &mut self,
        closed: &ClosedWindow,
        News { changed, hot }: News,
        (around, window): (Around<'_>, &ScoredWindow),
        scored: &mut Scored,
    ) {
        for (change, told) in changed {
            let explained = self.explain(window.speaker(told.place), window.features.row(told.place), window.raw[told.place]);
            let of = closed.rows.binary_search_by_key(&told.row, |of| of.series as usize);
            scored.flags.push(Flag {
                phase: match change {
                    Change::Opened => Phase::Opened,
                    Change::Continues => Phase::Continues,
                    Change::Closed => Phase::Closed,
                },
                raw: explained.raw,
                raw_baseline: explained.baseline,
                contributions: explained.parts,
                exemplars: of.map_or_else(|_| Vec::new(), |at| closed.rows[at].exemplars.clone()),
                ..self.state.flag(told, around, window)
            });
        }
        let candidates = hot.into_iter().map(|(heat, told)| Candidate { flag: self.state.flag(told, around, window), heat });
        scored.candidates.extend(candidates);
    }
}
