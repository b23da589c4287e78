//! One plain series of numbers, row by row, strictly causal.

use super::{
    alarm::{Alarm, THRESHOLD},
    evidence::{Evidence, Mixed, RULED},
    fading::Fading,
    forest::Forest,
    sensor::Sensor,
};
use crate::detect::calibrate::score_of;

/// Least score of a row that alerts.
const ALERTING: f64 = 0.9;
/// How much of the forests' corrections counts, of a series alone and of an entity: found by
/// `examples/train_score cross`.
const BEGINS: [f64; 2] = [0.5, 1.3];
const LIES: [f64; 2] = [0.6, 0.5];
/// What a corrected level is divided by, for the one threshold.
const HIGHER: [f64; 2] = [1.0, 1.23];

/// What one row got.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// How anomalous this row and those just before it are, 0 to 1; 0.9 and more only where `alert`.
    pub score: f64,
    /// Whether an anomaly begins here.
    pub alert: bool,
}

/// Whether it is an entity, the hand-made level's logarithm, the faded level.
fn ruled(evidence: &[f32]) -> [f64; 3] {
    RULED.map(|place| f64::from(evidence.get(place).copied().unwrap_or(0.0)))
}

/// The level as the forest moves it.
fn moved(evidence: &[f32], begins: f64) -> f64 {
    let [is_entity, level, _] = ruled(evidence);
    let kind = usize::from(is_entity > 0.5);
    (level + BEGINS[kind] * begins).exp()
}

/// From evidence and what the forests say of it to what is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judgement {
    alarm: Alarm,
    /// Of an entity's corrected level.
    fading: Fading,
    shown: f64,
}

impl Judgement {
    /// The hand-made levels among the evidence, moved by the two forests' corrections: one decides on
    /// alerts, the faded one is shown. Of an entity the level fades as the forest moved it, which tells more; of a
    /// series alone as the rule gave it: there that helped one kind of series and harmed another as much.
    pub fn row(&mut self, evidence: &[f32], [begins, lies]: [f64; 2]) -> Row {
        let [is_entity, _, faded] = ruled(evidence);
        let kind = usize::from(is_entity > 0.5);
        let level = moved(evidence, begins);
        let alert = self.alarm.row(level / HIGHER[kind]);
        let faded = if kind == 1 { self.fading.level(level) } else { faded };
        self.shown = f64::from(score_of((faded + LIES[kind] * lies).max(0.0)));
        Row { score: if alert { ALERTING + (1.0 - ALERTING) * self.shown } else { ALERTING * self.shown }, alert }
    }

    /// Whether it matters what `begins` is where it is at most so much: of a series alone, no level below the
    /// threshold leaves a trace.
    pub(crate) fn asks(evidence: &[f32], begins: f64) -> bool {
        ruled(evidence)[0] > 0.5 || moved(evidence, begins) >= THRESHOLD * HIGHER[0]
    }

    /// A row without any value: nothing is learnt, the score stays.
    fn nothing(&self) -> Row {
        Row { score: ALERTING * self.shown, alert: false }
    }
}

/// From what was heard to rows: the hand-made level, moved by the forests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    evidence: Evidence,
    judgement: Judgement,
}

impl Told {
    pub(crate) fn row(&mut self, seconds: f64, mixed: &Mixed) -> Row {
        self.evidence.row(seconds, mixed);
        let numbers = self.evidence.numbers();
        let forest = Forest::begins(mixed.dimensions > 1.0);
        let begins = if Judgement::asks(numbers, forest.most()) { forest.correction(numbers) } else { 0.0 };
        self.judgement.row(numbers, [begins, Forest::lies().correction(numbers)])
    }

    pub(crate) fn nothing(&self) -> Row {
        self.judgement.nothing()
    }

    pub(crate) fn evidence(&self) -> &[f32] {
        self.evidence.numbers()
    }
}

/// Seconds that only go forward, within what calendars know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    last: f64,
}

impl Seconds {
    /// A time that is no number counts as the last one.
    pub(crate) fn read(&mut self, seconds: f64) -> f64 {
        if seconds.is_finite() {
            self.last = seconds.clamp(0.0, 1e10);
        }
        self.last
    }
}

/// Scores one series.
#[derive(Clone, Debug)]
pub struct Univariate {
    sensor: Sensor,
    told: Told,
    seconds: Seconds,
}

impl Default for Univariate {
    fn default() -> Self {
        Self { sensor: Sensor::new(true), told: Told::default(), seconds: Seconds::default() }
    }
}

impl Univariate {
    /// Takes the next row. A value that is not finite is a missing reading: nothing is learnt from it.
    pub fn row(&mut self, seconds: f64, value: f64) -> Row {
        let seconds = self.seconds.read(seconds);
        match self.sensor.row(seconds, value) {
            Some(heard) => self.told.row(seconds, &Mixed::alone(&heard)),
            None => self.told.nothing(),
        }
    }

    /// What the forest saw of the last row; the names are `evidence_names`.
    pub fn evidence(&self) -> &[f32] {
        self.told.evidence()
    }
}
