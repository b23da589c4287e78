//! The sample data through walk and brain, in this process, with everything kept that is compared.

use super::{
    digest::Digest,
    recording::{self, Message},
};
use geophone_engine::{Brain, Settings};
use geophone_models::{Runtime, shipped_with};
use geophone_proto::{
    Effect, Record, RecordBody, Seq, UnixNanos,
    effect::ScoredWindow,
    incident::Incident,
    series::{Series, SeriesKey},
    time::SECOND_NS,
};
use geophone_tests::place;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

/// The sample data.
pub fn folder() -> PathBuf {
    place::repository().join("tests/data")
}

/// One series in one window, as it was left.
pub struct Row {
    pub features: Vec<f32>,
    pub raw: f32,
    pub score: f32,
    /// Actual, expected, lower, upper.
    pub shown: [f64; 4],
}

/// What came out.
pub struct Folded {
    pub digest: Digest,
    pub series: BTreeMap<SeriesKey, Arc<Series>>,
    pub rows: BTreeMap<(UnixNanos, SeriesKey), Row>,
    pub incidents: Vec<Incident>,
}

/// Folded once for all tests of this process. Always in the embedded runtime, so that what a machine
/// has installed does not matter.
pub static FOLDED: LazyLock<Folded> = LazyLock::new(|| {
    let model = shipped_with(Runtime::Embedded).expect("the shipped model loads");
    let mut fold = Fold::new(Brain::new(Settings::default(), model));
    recording::read(&folder()).into_iter().for_each(|message| fold.feed(message));
    fold.finish()
});

struct Fold {
    brain: Brain,
    seq: Seq,
    now: Option<UnixNanos>,
    seen: Folded,
    incidents: BTreeMap<(UnixNanos, String), Incident>,
}

impl Fold {
    fn new(brain: Brain) -> Self {
        let seen = Folded { digest: Digest::default(), series: BTreeMap::new(), rows: BTreeMap::new(), incidents: Vec::new() };
        Self { brain, seq: Seq(0), now: None, seen, incidents: BTreeMap::new() }
    }

    /// A tick for each second that has passed, then the request.
    fn feed(&mut self, message: Message) {
        let now = self.now.unwrap_or(message.at);
        let mut tick = now.plus(SECOND_NS);
        while tick < message.at {
            self.step(Record { at: tick, body: RecordBody::Tick });
            tick = tick.plus(SECOND_NS);
        }
        let now = now.max(message.at);
        self.now = Some(now);
        self.seen.digest.add(message.export.decoded.as_ref().expect("the recording is decoded"));
        self.step(Record { at: now, body: RecordBody::Batch(message.export) });
    }

    fn step(&mut self, record: Record) {
        let effects = self.brain.step(self.seq, &record);
        self.seq = self.seq.next();
        self.take(effects);
    }

    fn finish(mut self) -> Folded {
        let effects = self.brain.finish();
        self.take(effects);
        Folded { incidents: self.incidents.into_values().collect(), ..self.seen }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SeriesSeen(series) => drop(self.seen.series.insert(series.key, series)),
                Effect::Window(window) => self.window(Arc::unwrap_or_clone(window)),
                Effect::Incident(incident) => drop(self.incidents.insert((incident.opened_at, incident.id.clone()), *incident)),
                _ => {}
            }
        }
    }

    fn window(&mut self, window: ScoredWindow) {
        for (at, key) in window.features.keys.iter().enumerate() {
            let row = Row {
                features: window.features.row(at).to_vec(),
                raw: window.raw[at],
                score: window.score[at],
                shown: [window.actual[at], window.expected[at], window.lower[at], window.upper[at]],
            };
            self.seen.rows.insert((window.features.at, *key), row);
        }
    }
}
