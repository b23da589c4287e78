//! The detector: the fold of closed windows into scores and flags.
//!
//! Two states of the same shape: `settled` has folded every window that can no longer change, `head`
//! every window at all. A late window changes the ring, and the windows after `settled` are folded
//! again for the series concerned. Calibration and seasons learn from settled windows only, and each
//! window keeps how its scores were read; so the order of rows within the lateness leaves no trace in
//! features, raw and calibrated scores.

use super::{
    band,
    baseline::{self, LargestDeviation},
    block::{Around, append, empty},
    calibrate::{self, Calibration, Reading},
    cohort::{Cohorts, Kin, Lender},
    companion::{ABSENT, CompanionState, scores_of},
    company::{Company, ScoredRow},
    comparison::TrialBounds,
    drafts::Drafts,
    explain::{Explained, explain},
    harm,
    heat::{self, Candidate},
    hysteresis::Gate,
    judge::voices,
};
use crate::{
    Settings,
    features::{
        columns::{Columns, Fresh},
        define::*,
        kernel::{self, Prior, Trait},
        ring::Ring,
        season::Season,
    },
    flag::Flag,
    window::{BLOCK, ClosedWindow, SeriesIndex, StatKind, WindowRow},
};
use geophone_proto::{
    SeriesKey, UnixNanos,
    anomaly::Maturity,
    effect::{Part, ScoredWindow},
    feature::FeatureFrame,
    model::{ModelRef, Role},
    seam::Model,
    series::Series,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    hint::black_box,
    ops::Range,
};

/// Windows without score at a series' start: the third ends half a minute after its first row.
const LEARNING: f64 = 3.0;
/// Windows until it may open.
pub(super) const UNTOLD: f64 = 6.0;
/// Windows until a series is held against itself.
const OWN: f64 = 180.0;
/// Deviations below this never open: levels wander in more ways than their past shows.
pub(super) const LEVEL_MIN: f64 = 4.5;
/// The same for sums whose law is known.
pub(super) const OTHER_MIN: f64 = 3.5;
/// Windows with failures of the active model from which on it should go.
const FAILING_MAX: u32 = 3;
/// Series that are read ahead of.
const TOUCHED: usize = 64;
/// Windows between the settled ones and the tail, as far as the fold looks back.
const BEHIND: usize = LONG + SHORT;

/// What one closed window gave.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// The window itself, for the series in its rows.
    pub window: ScoredWindow,
    /// Later windows that late rows have changed too, oldest first.
    pub later: Vec<ScoredWindow>,
    /// Series that are or were anomalous; none for an amended window.
    pub flags: Vec<Flag>,
    /// Series that stand out, most first, flagged or not; none for an amended window.
    pub candidates: Vec<Candidate>,
    /// Counters to add to: name, reason, by how much.
    pub counts: Vec<(&'static str, &'static str, u64)>,
    /// Models that should go, and why.
    pub unfit: Vec<(ModelRef, String)>,
}

/// All state but the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorSnapshot {
    pub(super) window_ns: u64,
    /// Windows that may still change.
    tail: usize,
    alerts_per_week: f64,
    pub(super) traits: Vec<Option<Entry>>,
    pub(super) ring: Ring,
    pub(super) readings: VecDeque<Reading>,
    /// Windows of the ring that are settled.
    pub(super) settled_len: usize,
    pub(super) settled: Columns,
    pub(super) head: Columns,
    pub(super) season: Season,
    pub(super) calibration: Calibration,
    cohorts: Cohorts,
    pub(super) gates: Vec<Gate>,
    /// Windows in which the active model failed, since it is active.
    pub(super) failing: u32,
    /// Heat from which on a series opens by itself.
    pub(super) bar: f64,
    /// Whether spans say nothing about who calls: then requests are few and shown by little else.
    pub(super) is_bare: bool,
    /// Those beside the active model; filled for the snapshot only.
    companions: Vec<CompanionState>,
    /// How many series have their first window at each start.
    births: BTreeMap<u64, usize>,
}

/// One series as the detector knows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    key: SeriesKey,
    kind: StatKind,
    up: f64,
    down: f64,
    /// Whether going up, or down, may harm anybody.
    pub(super) harms: [bool; 2],
    /// Whom it is like, and what it has borrowed from them.
    kin: Kin,
    prior: Prior,
    /// Start of its first window; the end of time until then.
    born_ns: u64,
}

/// A place in the columns that no series has yet.
pub(super) const NOBODY: Trait = Trait { kind: StatKind::Level, born_ns: u64::MAX, up: 1.0, down: 1.0, prior: Prior::NONE };

impl Entry {
    /// As the fold wants it.
    pub(super) fn traits(&self) -> Trait {
        Trait { kind: self.kind, born_ns: self.born_ns, up: self.up, down: self.down, prior: self.prior }
    }
}

/// Windows in, scores and flags out.
pub struct Detector {
    pub(super) state: DetectorSnapshot,
    pub(super) model: Box<dyn Model>,
    pub(super) company: Company,
    bounds: TrialBounds,
    fallback: LargestDeviation,
    /// Rows by the keys of their series; empty while it must be made anew.
    by_key: Vec<u32>,
    /// Rows of the present window that the active model was asked about, and for which it gave no score.
    pub(super) asked: (usize, usize),
    /// The next window, as far as it has been scored ahead.
    pub(super) drafts: Option<Drafts>,
    /// Columns of the newest window that are not written back yet, by their first rows.
    pub(super) unwritten: Vec<(usize, Columns)>,
}

impl Detector {
    /// A detector that knows no series.
    pub fn new(settings: &Settings, model: Box<dyn Model>) -> Self {
        let window_ns = u64::try_from(settings.window.as_nanos()).unwrap_or(u64::MAX).max(1);
        let lateness_ns = u64::try_from(settings.allowed_lateness.as_nanos()).unwrap_or(u64::MAX);
        let tail = usize::try_from(lateness_ns.div_ceil(window_ns)).unwrap_or(0);
        let tail = if tail == 0 { 0 } else { tail + 2 };
        let state = DetectorSnapshot {
            window_ns,
            tail,
            alerts_per_week: settings.alerts_per_week,
            bar: f64::INFINITY,
            ..DetectorSnapshot::default()
        };
        Self::of(state, model, Company::default(), settings.trial)
    }

    fn of(state: DetectorSnapshot, model: Box<dyn Model>, company: Company, bounds: TrialBounds) -> Self {
        Self {
            state,
            model,
            company,
            bounds,
            fallback: LargestDeviation::default(),
            by_key: Vec::new(),
            asked: (0, 0),
            drafts: None,
            unwritten: Vec::new(),
        }
    }

    /// Goes on from a snapshot, with this model.
    pub fn restore(settings: &Settings, mut snapshot: DetectorSnapshot, model: Box<dyn Model>) -> Self {
        let company = Company::restore(std::mem::take(&mut snapshot.companions));
        Self::of(snapshot, model, company, settings.trial)
    }

    /// All state but the models.
    pub fn snapshot(&mut self) -> &DetectorSnapshot {
        self.settle();
        self.state.companions = self.company.snapshot();
        &self.state
    }

    /// Who scores.
    pub fn model_ref(&self) -> ModelRef {
        self.model.card().model_ref()
    }

    /// Makes a series known, before the first window that has a row of it.
    pub fn series(&mut self, index: SeriesIndex, series: &Series, kind: StatKind) {
        let (up, down) = harm::sides(series.kind);
        let row = index as usize;
        if self.state.traits.len() <= row {
            self.state.resize(row + 1);
            self.company.resize(row + 1);
        }
        let (born_ns, prior) = self.state.traits[row].map_or((u64::MAX, Prior::NONE), |entry| (entry.born_ns, entry.prior));
        let (harms, kin) = (heat::harms(series), Kin::of(series, kind));
        self.state.traits[row] = Some(Entry { key: series.key, kind, up, down, harms, kin, prior, born_ns });
        self.by_key.clear();
        self.forget_drafts([row]);
    }

    /// From now on a series of this heat opens by itself.
    pub fn set_bar(&mut self, bar: f64) {
        self.state.bar = bar;
    }

    /// From now on spans say nothing about who calls, or do.
    pub fn set_bare(&mut self, is_bare: bool) {
        if std::mem::replace(&mut self.state.is_bare, is_bare) != is_bare {
            self.drafts = None;
        }
    }

    /// The key of a series, if it is known.
    pub(crate) fn key_of(&self, index: SeriesIndex) -> Option<SeriesKey> {
        self.state.traits.get(index as usize)?.as_ref().map(|entry| entry.key)
    }

    /// Whether a series had its first window by the one that starts here.
    pub(super) fn is_born(&self, row: usize, start_ns: u64) -> bool {
        self.state.traits.get(row).is_some_and(|entry| entry.is_some_and(|entry| entry.born_ns <= start_ns))
    }

    /// Series scored in the newest window.
    pub fn known(&self) -> usize {
        let newest = self.state.ring.slots.back().map_or(0, |slot| slot.start_ns);
        self.state.born_by(newest)
    }

    /// Takes a closed window: a new one, later than all before, or an amended one. What it leaves for `settle` is done
    /// then, or when the next one comes.
    pub fn window(&mut self, closed: &ClosedWindow) -> Scored {
        self.settle();
        let mut scored = Scored::default();
        let rows: Vec<usize> = closed
            .rows
            .iter()
            .map(|row| row.series as usize)
            .filter(|&row| self.state.traits.get(row).copied().flatten().is_some())
            .collect();
        if rows.len() < closed.rows.len() {
            scored.counts.push(("geophone_engine_rows_ignored_total", "unknown_series", (closed.rows.len() - rows.len()) as u64));
        }
        match self.state.ring.position(closed.start_ns) {
            Some(position) if position >= self.state.settled_len => self.amend(closed, &rows, position, &mut scored),
            None if self.state.ring.slots.back().is_none_or(|last| last.start_ns < closed.start_ns) => {
                self.advance(closed, &rows, &mut scored)
            }
            _ => scored.counts.push(("geophone_engine_rows_ignored_total", "settled", rows.len() as u64)),
        }
        scored
    }

    /// Learns from windows that can no longer change, and forgets what no fold looks back on. Changes nothing that
    /// `window` would give, so it can wait until what the newest window gave has been handed on.
    pub fn settle(&mut self) {
        for (first, columns) in self.unwritten.drain(..) {
            self.state.head.write_back(first, &columns);
        }
        if self.state.settled_len < self.state.settling() {
            if self.by_key.is_empty() {
                // By key, so that the order in which series were first seen leaves no trace in the cohorts.
                self.by_key = (0..).take(self.state.traits.len()).collect();
                self.by_key.sort_by_key(|row| self.state.traits[*row as usize].map(|entry| entry.key));
            }
            self.state.settle(&mut self.company, &self.by_key);
        }
    }

    fn amend(&mut self, closed: &ClosedWindow, rows: &[usize], position: usize, scored: &mut Scored) {
        let was_told: Vec<bool> = rows.iter().map(|&row| self.state.ring.slots[position].told[row]).collect();
        self.forget_drafts(rows.iter().copied());
        if self.state.write(&closed.rows, position) {
            // What is borrowed at a birth changes how scores are read.
            self.drafts = None;
        }
        let limit = self.limit(closed.start_ns);
        let mut windows: Vec<ScoredWindow> = (position..self.state.ring.slots.len()).map(|at| self.empty(at, 0)).collect();
        for (rows, was_told) in rows.chunks(BLOCK).zip(was_told.chunks(BLOCK)) {
            let traits: Vec<Trait> = rows.iter().map(|&row| self.state.trait_of(row)).collect();
            let ring = self.state.ring.gather(rows);
            let mut after = self.state.settled.gather(rows);
            for at in self.state.settled_len..ring.slots.len() {
                let (before, mut fresh) = (after.clone(), Fresh::new(rows.len()));
                kernel::fold((&mut after, &mut fresh), (&ring, 0), at, &traits);
                let Some(place) = at.checked_sub(position) else { continue };
                let around = Around { before: &before, after: &after, traits: &traits };
                let told = rows.iter().copied().zip(0..).filter(|&(row, _)| self.state.ring.slots[at].told[row]);
                let known: Vec<(usize, usize)> = told.collect();
                let window = self.score(at, &known, (around, &fresh), at + 1 == ring.slots.len());
                if at == position {
                    let first: Vec<(usize, usize)> = known.into_iter().filter(|&(_, local)| !was_told[local]).collect();
                    let looks = self.look(at, &first, (around, &fresh), &window);
                    let news = self.step_gates(true, (at, limit), (&looks, &window));
                    self.tell(closed, news, (around, &window), scored);
                }
                append(&mut windows[place], window);
                self.note_failures(scored);
            }
            self.state.head.scatter(rows, &after);
        }
        let mut windows = windows.into_iter();
        scored.window = windows.next().unwrap_or_default();
        scored.later.extend(windows.filter(|window| !window.features.is_empty()));
    }

    /// The window at a position of the ring, without rows.
    pub(super) fn empty(&self, position: usize, rows: usize) -> ScoredWindow {
        let at = UnixNanos(self.state.ring.slots[position].start_ns).plus(self.state.window_ns);
        empty(at, self.state.window_ns, self.model_ref(), (WIDTH, rows))
    }

    /// The level that opens, by the budget and the number of series.
    pub(super) fn limit(&self, start_ns: u64) -> f64 {
        let series = self.state.born_by(start_ns);
        calibrate::level_of_budget(self.state.alerts_per_week, series, self.state.window_ns)
    }

    /// Scores some series in the window at `position`. `known` = their places in the brain and in the block.
    pub(super) fn score(
        &mut self,
        position: usize,
        known: &[(usize, usize)],
        (around, fresh): (Around<'_>, &Fresh),
        is_new: bool,
    ) -> ScoredWindow {
        let Around { before, after, traits } = around;
        let mut window = self.empty(position, known.len());
        let start_ns = self.state.ring.slots[position].start_ns;
        window.features.keys.extend(known.iter().map(|&(row, _)| self.state.key(row)));
        window.features.x.resize(known.len() * WIDTH, 0.0);
        for (&(row, at), x) in known.iter().zip(window.features.x.chunks_mut(WIDTH)) {
            kernel::write_row((after, fresh), at, traits[at], self.state.season.usual(row, start_ns), x);
        }
        let features = std::mem::take(&mut window.features);
        let mut raw = self.raw(&features, &mut window.parts);
        let mut scored_rows = Vec::with_capacity(known.len());
        for (place, &(row, at)) in known.iter().enumerate() {
            let its = traits[at];
            let is_learning = after.age[at] < LEARNING;
            if is_learning {
                raw[place] = f32::NAN;
            }
            let voices = voices(raw[place], features.row(place));
            let slot = &mut self.state.ring.slots[position];
            (slot.raw[row], slot.voices[row]) = (raw[place], [voices[1] as f32, voices[2] as f32]);
            scored_rows.push(ScoredRow { row, kind: its.kind, voices: slot.voices(row) });
            if raw[place] == ABSENT {
                raw[place] = baseline::raw(features.row(place));
            }
            let level = self.state.level(position, row, its.kind);
            let one = self.state.ring.span(position, 1, row, (its.kind, 1));
            let band = band::band(before, at, its, one);
            window.score.push(if is_learning { f32::NAN } else { calibrate::score_of(level) });
            window.actual.push(if one.present > 0.0 { self.state.ring.slots[position].shown[row] } else { f64::NAN });
            window.expected.push(band.expected);
            window.lower.push(band.lower);
            window.upper.push(band.upper);
            window.maturity.push(self.state.maturity(its.kind, after.age[at]));
        }
        window.raw = raw;
        window.features = features;
        self.company.score(position, &scored_rows, &mut window, is_new);
        window
    }

    /// The active model's scores; `ABSENT`, and the baseline named for it, where it gives none.
    fn raw(&mut self, features: &FeatureFrame, parts: &mut Vec<Part>) -> Vec<f32> {
        if features.is_empty() {
            return Vec::new();
        }
        let (raw, absent) = scores_of(self.model.as_mut(), features);
        self.asked = (self.asked.0 + features.len(), self.asked.1 + absent);
        if absent > 0 {
            let rows = raw.iter().zip(0u32..).filter(|(raw, _)| **raw == ABSENT).map(|(_, place)| place).collect();
            parts.push(Part { model: self.fallback.card().model_ref(), role: Role::Active, rows, ..Part::default() });
        }
        raw
    }

    /// A window has been scored: what of it models failed on counts once.
    pub(super) fn note_failures(&mut self, scored: &mut Scored) {
        self.company.note_failures();
        let (asked, absent) = std::mem::take(&mut self.asked);
        if absent > 0 {
            let reason = if absent == asked { "model_failed" } else { "not_finite" };
            scored.counts.push(("geophone_engine_model_fallbacks_total", reason, absent as u64));
            let mostly = absent * 2 > asked;
            self.state.failing = self.state.failing.saturating_add(if mostly { FAILING_MAX } else { 1 });
            self.company.note_active_failure(mostly);
        }
    }

    /// Models that should go, seen at the end of a window.
    pub(super) fn unfit(&mut self, now: UnixNanos) -> Vec<(ModelRef, String)> {
        let mut unfit = self.company.close_looks(&self.bounds, now);
        if self.state.failing >= FAILING_MAX {
            unfit.push((self.model_ref(), "it failed or gave no number".to_owned()));
        }
        unfit
    }
}

impl Detector {
    /// The score of a row, taken apart by the model that gave it.
    pub(super) fn explain(&mut self, (speaker, role): (&ModelRef, Role), x: &[f32], raw: f32) -> Explained {
        let canary = if role == Role::Canary { self.company.canary() } else { None };
        let model = match canary {
            Some(canary) => Some(canary),
            None if *speaker == self.model.card().model_ref() => Some(self.model.as_mut()),
            None => None,
        };
        let explained = model.and_then(|model| explain(model, x, raw).ok());
        explained.unwrap_or_else(|| explain(&mut self.fallback, x, baseline::raw(x)).unwrap_or_default())
    }
}

impl DetectorSnapshot {
    fn resize(&mut self, rows: usize) {
        self.traits.resize(rows, None);
        self.ring.resize(rows);
        self.readings.iter_mut().for_each(|reading| reading.resize(rows));
        self.settled.resize(rows);
        self.head.resize(rows);
        self.season.resize(rows);
        self.calibration.resize(rows);
        self.gates.resize(rows, Gate::default());
    }

    /// What is fixed of a run of neighbours.
    pub(super) fn traits(&self, rows: Range<usize>) -> Vec<Trait> {
        self.traits[rows].iter().map(|entry| entry.as_ref().map_or(NOBODY, Entry::traits)).collect()
    }

    /// What is fixed of one series.
    pub(super) fn trait_of(&self, row: usize) -> Trait {
        self.traits.get(row).and_then(Option::as_ref).map_or(NOBODY, Entry::traits)
    }

    pub(super) fn key(&self, row: usize) -> SeriesKey {
        self.traits[row].map_or(SeriesKey(0), |entry| entry.key)
    }

    fn maturity(&self, kind: StatKind, age: f64) -> Maturity {
        match age {
            age if age < LEARNING => Maturity::Learning,
            age if age >= OWN && self.calibration.is_known(kind) => Maturity::Calibrated,
            _ => Maturity::Provisional,
        }
    }

    /// Writes rows of a window into its slot; a series' first row is its birth, and whether there was any is returned.
    pub(super) fn write(&mut self, rows: &[WindowRow], position: usize) -> bool {
        let (start_ns, mut is_birth) = (self.ring.slots[position].start_ns, false);
        for row in rows {
            let at = row.series as usize;
            let Some(Some(entry)) = self.traits.get_mut(at) else { continue };
            if start_ns < entry.born_ns {
                is_birth = true;
                if let Some(count) = self.births.get_mut(&std::mem::replace(&mut entry.born_ns, start_ns)) {
                    *count -= 1;
                }
                *self.births.entry(start_ns).or_default() += 1;
                let loan = self.cohorts.lend(entry.kin, start_ns, self.tail as u64 * self.window_ns);
                entry.prior = loan.map_or(Prior::NONE, |loan| loan.prior);
                if let Some(loan) = loan {
                    self.calibration.borrow(at, loan.lent);
                }
            }
            self.ring.slots[position].set(at, row.stat, row.shown);
        }
        is_birth
    }

    /// Series whose first window starts at this or earlier.
    fn born_by(&self, start_ns: u64) -> usize {
        self.births.range(..=start_ns).map(|(_, count)| count).sum()
    }

    /// Windows of the ring that can no longer change, settled or not.
    pub(super) fn settling(&self) -> usize {
        self.ring.slots.len().saturating_sub(self.tail)
    }

    /// Folds one window for good.
    fn fold_settled(&mut self, position: usize) {
        for first in (0..self.traits.len()).step_by(BLOCK) {
            let block = first..(first + BLOCK).min(self.traits.len());
            let (mut columns, mut fresh) = (self.settled.part(block.clone()), Fresh::new(block.len()));
            kernel::fold((&mut columns, &mut fresh), (&self.ring, first), position, &self.traits(block));
            self.settled.write_back(first, &columns);
            self.season.learn(self.ring.slots[position].start_ns, first, (&fresh.z_6, &fresh.present));
        }
    }

    /// Folds for good what can no longer change, and forgets what no fold looks back on.
    fn settle(&mut self, company: &mut Company, by_key: &[u32]) {
        while self.settled_len < self.settling() {
            let position = self.settled_len;
            self.fold_settled(position);
            for rows in by_key.chunks(TOUCHED) {
                black_box(rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(self.touch(position, *row as usize))));
                let slot = &self.ring.slots[position];
                for &row in rows {
                    let row = row as usize;
                    let (kind, voices) = (self.traits[row].map_or(NOBODY.kind, |entry| entry.kind), slot.voices(row));
                    // A series without any sample so far teaches nothing.
                    if slot.raw[row].is_finite() && self.settled.mass[row] > 0.0 {
                        self.calibration.learn(row, kind, voices);
                    }
                    company.learn((position, row), kind, voices);
                }
            }
            self.ring.slots[position].settle();
            self.readings[position].settle();
            self.settled_len += 1;
            if self.cohorts.is_due() {
                let start_ns = self.ring.slots[position].start_ns;
                let known = self.traits.iter().enumerate().filter_map(|(row, entry)| Some((row, entry.as_ref()?)));
                let lender = |(row, of): (usize, &Entry)| Lender { kin: of.kin, kind: of.kind, row, lent: self.calibration.lend(row) };
                let lenders: Vec<Lender> = known.map(lender).collect();
                self.cohorts.learn(start_ns, &lenders, &self.settled);
            }
        }
        while self.settled_len > BEHIND {
            self.ring.slots.pop_front();
            self.readings.pop_front();
            company.forget_window();
            self.settled_len -= 1;
        }
        // Nobody asks any more when exactly who was there before that was born.
        let recent = self.births.split_off(&self.ring.slots.front().map_or(0, |slot| slot.start_ns));
        let older = std::mem::replace(&mut self.births, recent).into_values().sum();
        self.births.insert(0, older);
    }

    /// Reads what learning from a settled window will want of a series. In the order of keys each lies elsewhere: read
    /// for many at once, they are waited for together.
    fn touch(&self, position: usize, row: usize) -> u64 {
        let slot = &self.ring.slots[position];
        let kind = self.traits[row].map_or(NOBODY.kind, |entry| entry.kind);
        let heard = slot.voices(row).map(f64::to_bits).into_iter().fold(kind as u64, u64::wrapping_add);
        heard.wrapping_add(self.settled.mass[row].to_bits()).wrapping_add(self.calibration.touch(row))
    }

    /// `-log10` of the probability of a scored window of the ring.
    pub(super) fn level(&self, position: usize, row: usize, kind: StatKind) -> f64 {
        self.readings[position].level(row, kind, self.ring.slots[position].voices(row))
    }
}
