//! A second model beside the active one: scores the same rows, is calibrated by itself, and is heard
//! for no series (shadow), for some (canary), or no more (the model before a promotion).
//!
//! Keeps one entry per window of the detector's ring, so that late rows are read as the window was.
//! Called by `company`; knows nothing of the other companions.

use super::{
    calibrate::{Calibration, Reading},
    comparison::{Look, trial},
    hysteresis::{Evidence, Gate},
};
use crate::window::StatKind;
use geophone_proto::{
    SeriesKey, UnixNanos,
    feature::FeatureFrame,
    model::{ModelRef, Stage, Trial},
    seam::Model,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Stands in the ring for a score that the model did not give: read without its voice, never learnt.
pub(crate) const ABSENT: f32 = f32::INFINITY;

/// All of a companion but its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CompanionState {
    /// Which model this is.
    pub(crate) model: ModelRef,
    pub(crate) trial: Trial,
    /// Scores nothing, waits for a rollback.
    pub(crate) is_asleep: bool,
    pub(crate) calibration: Calibration,
    pub(crate) readings: VecDeque<Reading>,
    pub(crate) raws: VecDeque<Vec<f32>>,
    /// What would be open if the voice that is not heard were.
    gates: Vec<Gate>,
    /// Open by both since.
    paired: Vec<bool>,
    look: Look,
}

/// A companion at work; without its model (not found after a restart) it is silent.
pub(crate) struct Companion {
    pub(crate) state: CompanionState,
    pub(crate) model: Option<Box<dyn Model>>,
    /// Rows of the present window that it was asked about, and for which it gave no score.
    pub(crate) asked: (usize, usize),
}

/// How the detector stands.
pub(crate) struct Standing<'a> {
    /// Series.
    pub(crate) rows: usize,
    /// Windows in the ring.
    pub(crate) windows: usize,
    /// The active model and its calibration.
    pub(crate) active: ModelRef,
    pub(crate) calibration: &'a Calibration,
    /// End of the newest window.
    pub(crate) now: UnixNanos,
}

impl Companion {
    /// Begins a trial; the cohorts know nothing of this model yet.
    pub(crate) fn begin(model: Box<dyn Model>, (stage, percent): (Stage, u32), standing: &Standing<'_>) -> Self {
        let mut calibration = standing.calibration.clone();
        calibration.forget_model();
        let own = model.card().model_ref();
        let mut state = CompanionState {
            model: own.clone(),
            trial: trial(own, standing.active.clone(), (stage, percent), standing.now),
            is_asleep: false,
            calibration,
            readings: VecDeque::new(),
            raws: VecDeque::new(),
            gates: vec![Gate::default(); standing.rows],
            paired: vec![false; standing.rows],
            look: Look::default(),
        };
        state.fill(standing.windows, standing.rows);
        Self { state, model: Some(model), asked: (0, 0) }
    }

    /// The model's scores of these rows, `ABSENT` where it gives none.
    pub(crate) fn raw(&mut self, features: &FeatureFrame) -> Option<Vec<f32>> {
        if self.state.is_asleep {
            return None;
        }
        let (raw, failed) = scores_of(self.model.as_deref_mut()?, features);
        self.asked = (self.asked.0 + features.len(), self.asked.1 + failed);
        Some(raw)
    }

    /// A window has been scored: what of it the model failed on counts once.
    pub(crate) fn note_failures(&mut self) {
        let (asked, failed) = std::mem::take(&mut self.asked);
        if failed > 0 && self.state.trial.stage != Stage::Probation {
            self.state.note_failure(failed * 2 > asked);
        }
    }
}

/// Scores of these rows, `ABSENT` where there is none, and how many are absent.
pub(crate) fn scores_of(model: &mut dyn Model, features: &FeatureFrame) -> (Vec<f32>, usize) {
    let mut raw = Vec::with_capacity(features.len());
    let answer = model.score(features, &mut raw);
    if answer.is_err() || raw.len() != features.len() {
        return (vec![ABSENT; features.len()], features.len());
    }
    let mut absent = 0;
    for score in raw.iter_mut().filter(|score| !score.is_finite()) {
        *score = ABSENT;
        absent += 1;
    }
    (raw, absent)
}

impl CompanionState {
    /// Notes that the model on trial failed in this window.
    pub(crate) fn note_failure(&mut self, mostly: bool) {
        self.look.failed.0 = true;
        self.look.failed.1 |= mostly;
    }

    pub(crate) fn resize(&mut self, rows: usize) {
        self.calibration.resize(rows);
        self.readings.iter_mut().for_each(|reading| reading.resize(rows));
        self.raws.iter_mut().for_each(|raws| raws.resize(rows, f32::NAN));
        self.gates.resize(rows, Gate::default());
        self.paired.resize(rows, false);
    }

    fn fill(&mut self, windows: usize, rows: usize) {
        self.calibration.resize(rows);
        self.readings = vec![self.calibration.reading(); windows].into();
        self.raws = vec![vec![f32::NAN; rows]; windows].into();
    }

    pub(crate) fn open_window(&mut self, rows: usize) {
        if !self.is_asleep {
            self.readings.push_back(self.calibration.reading());
            self.raws.push_back(vec![f32::NAN; rows]);
        }
    }

    pub(crate) fn forget_window(&mut self) {
        self.readings.pop_front();
        self.raws.pop_front();
    }

    /// Scores no more; the calibration stays as it is.
    pub(crate) fn fall_asleep(&mut self) {
        self.is_asleep = true;
        (self.readings, self.raws) = (VecDeque::new(), VecDeque::new());
    }

    /// Is there again, before the ring's newest window.
    pub(crate) fn wake(&mut self, windows: usize, rows: usize) {
        if std::mem::take(&mut self.is_asleep) {
            self.fill(windows, rows);
        }
    }

    /// Another trial of the same model; `gates` are those that were heard so far.
    pub(crate) fn begin_again(&mut self, trial: Trial, gates: &[Gate]) {
        self.trial = trial;
        self.paired = gates.iter().map(|gate| gate.is_open).collect();
        self.gates = gates.to_vec();
        self.look = Look::default();
    }

    /// Whether it speaks for this series: the hash decides, so the same series do as long as it lasts.
    pub(crate) fn speaks_for(&self, key: SeriesKey) -> bool {
        self.trial.stage == Stage::Canary && (key.0 >> 64) as u64 % 100 < u64::from(self.trial.percent)
    }

    /// `-log10 p` of a row by this model, where it gave a score.
    pub(crate) fn level(&self, (position, row): (usize, usize), kind: StatKind, [_, normal, sudden]: [f64; 3]) -> Option<f64> {
        let raw = *self.raws.get(position)?.get(row)?;
        let reading = self.readings.get(position)?;
        (!raw.is_nan() && raw != ABSENT).then(|| reading.level(row, kind, [f64::from(raw), normal, sudden]))
    }

    /// Takes a settled window of one series.
    pub(crate) fn learn(&mut self, (position, row): (usize, usize), kind: StatKind, [_, normal, sudden]: [f64; 3]) {
        let raw = self.raws.get(position).and_then(|raws| raws.get(row)).copied().unwrap_or(f32::NAN);
        if raw.is_finite() {
            self.calibration.learn(row, kind, [f64::from(raw), normal, sudden]);
        }
    }

    /// Notes how both read one row: raw and calibrated, the active model's first.
    pub(crate) fn compare(&mut self, raw: (f32, f32), score: (f32, f32)) {
        if raw.0.is_finite() && raw.1.is_finite() {
            self.look.raw.push(raw);
            self.look.difference.0 += f64::from((score.0 - score.1).abs());
            self.look.difference.1 += 1;
        }
    }

    /// Judges one row as it would be if the voice that is not heard were. `heard` = evidence of the
    /// voice that is, and whether the series is open by it.
    pub(crate) fn weigh(&mut self, row: usize, (heard, is_open): (Evidence, bool), unheard: f64, window_ns: u64) {
        let Some(gate) = self.gates.get_mut(row) else { return };
        let was_open = gate.is_open;
        gate.step(Evidence { level: unheard, ..heard }, window_ns);
        let opened = !was_open && gate.is_open;
        let both = gate.is_open && is_open;
        let is_above = |level: f64| u64::from(level >= heard.limit);
        // A shadow is not heard; a canary and a model on probation are.
        let (on_trial, other) = if self.trial.stage == Stage::Shadow { (unheard, heard.level) } else { (heard.level, unheard) };
        self.look.judged += 1;
        self.look.above[0] += is_above(on_trial);
        self.look.above[1] += is_above(other);
        self.trial.alerts[if self.trial.stage == Stage::Shadow { 0 } else { 1 }] += u64::from(opened);
        if both && !self.paired[row] {
            self.trial.alerts[2] += 1;
        }
        self.paired[row] = both || (self.paired[row] && (gate.is_open || is_open));
    }

    /// Counts an anomaly that the heard voice opened.
    pub(crate) fn note_opened(&mut self) {
        self.trial.alerts[if self.trial.stage == Stage::Shadow { 1 } else { 0 }] += 1;
    }

    /// The window is over.
    pub(crate) fn close_look(&mut self) {
        self.look.close(&mut self.trial);
    }
}
