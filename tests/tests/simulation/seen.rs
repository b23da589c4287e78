//! What came out of a brain: the newest version of everything, as its receivers keep it.

use geophone_engine::{Brain, Settings, detect::baseline::LargestDeviation, feature_schema};
use geophone_proto::{
    Effect, Record, Seq, UnixNanos,
    action::{Action, ActionRequest},
    series::{Series, SeriesKey},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Windows are short, so that a few minutes hold many of them.
pub fn settings() -> Settings {
    Settings { window: Duration::from_secs(5), allowed_lateness: Duration::from_secs(30), ..Settings::default() }
}

/// A new brain under these settings.
pub fn brain(settings: &Settings) -> Brain {
    Brain::new(settings.clone(), Box::new(LargestDeviation::default()))
}

/// A brain from a snapshot.
pub fn restored(settings: &Settings, bytes: &[u8]) -> Brain {
    Brain::restore(settings.clone(), Box::new(LargestDeviation::default()), bytes).expect("our own snapshot is restored")
}

/// One series in one window: features, raw and calibrated score, actual, expected, lower, upper; as bits,
/// because equal means equal.
pub type Bits = Vec<u64>;

/// See the head of this file.
#[derive(Default)]
pub struct Seen {
    pub series: BTreeMap<SeriesKey, Arc<Series>>,
    pub windows: BTreeMap<(UnixNanos, SeriesKey), Bits>,
    pub settled: UnixNanos,
    pub anomalies: BTreeMap<String, String>,
    pub incidents: BTreeMap<String, String>,
    pub actions: BTreeMap<String, Action>,
    pub counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Seen {
    /// Takes effects; gives what is to be done.
    pub fn take(&mut self, effects: Vec<Effect>) -> Vec<ActionRequest> {
        let mut wanted = Vec::new();
        for effect in effects {
            match effect {
                Effect::Window(window) => {
                    for (at, key) in window.features.keys.iter().enumerate() {
                        let mut bits: Bits = window.features.row(at).iter().map(|x| u64::from(x.to_bits())).collect();
                        bits.extend([window.raw[at], window.score[at]].map(|x| u64::from(x.to_bits())));
                        bits.extend([window.actual[at], window.expected[at], window.lower[at], window.upper[at]].map(f64::to_bits));
                        self.windows.insert((window.features.at, *key), bits);
                    }
                }
                Effect::Settled(at) => self.settled = self.settled.max(at),
                Effect::Anomaly(anomaly) => {
                    drop(self.anomalies.insert(anomaly.id.clone(), serde_json::to_string(&anomaly).expect("plain values always encode")))
                }
                Effect::Incident(incident) => {
                    drop(self.incidents.insert(incident.id.clone(), serde_json::to_string(&incident).expect("plain values always encode")))
                }
                Effect::Action(action) => drop(self.actions.insert(action.id.clone(), *action)),
                Effect::Perform(request) => wanted.push(*request),
                Effect::Count { name, reason, by } => *self.counts.entry((name, reason)).or_default() += by,
                Effect::SeriesSeen(series) => drop(self.series.insert(series.key, series)),
                Effect::WantStacks(_) | Effect::LineUp(_) | Effect::Budget(_) | Effect::WantRollback { .. } => {}
            }
        }
        wanted
    }

    /// What a fold of these records gives.
    pub fn of(records: impl IntoIterator<Item = (Seq, Record)>, settings: &Settings) -> Self {
        let (mut brain, mut seen) = (brain(settings), Self::default());
        for (seq, record) in records {
            seen.take(brain.step(seq, &record));
        }
        seen
    }

    /// Windows that can no longer change, by now and in another run.
    pub fn settled_with(&self, other: &Self) -> BTreeMap<&(UnixNanos, SeriesKey), &Bits> {
        let until = self.settled.min(other.settled);
        self.windows.iter().filter(|((at, _), _)| *at <= until).collect()
    }
}

/// Names and values of what differs between two rows.
pub fn differing(left: &[u64], right: &[u64]) -> String {
    let mut names = feature_schema().names;
    let features = names.len();
    names.extend(["raw", "score", "actual", "expected", "lower", "upper"].map(str::to_owned));
    let number = |at: usize, bits: u64| match u32::try_from(bits) {
        Ok(bits) if at < features + 2 => f64::from(f32::from_bits(bits)),
        _ => f64::from_bits(bits),
    };
    let pairs = names.iter().zip(left.iter().zip(right)).enumerate().filter(|(_, (_, (left, right)))| left != right);
    let pairs = pairs.map(|(at, (name, (left, right)))| format!("{name} {} / {}", number(at, *left), number(at, *right)));
    pairs.collect::<Vec<_>>().join(", ")
}
