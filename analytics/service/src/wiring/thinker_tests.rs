//! A brain that panics: rebuilt from snapshot and log, nothing learnt is lost.

use super::{
    SystemClock,
    dispatcher::Work,
    pulse::Pulse,
    submit::Submitter,
    thinker::{Memory, Models, TakeModel, Thinker},
};
use geophone_client::shop::{Schedule, Shop};
use geophone_engine::{Settings, feature_schema};
use geophone_models::Baseline;
use geophone_proto::{
    Effect, Record, RecordBody, Seq, SeriesKey, Tenant, Transport, UnixNanos,
    feature::FeatureFrame,
    model::ModelCard,
    record::Export,
    seam::{Clock, Model, SeamError},
    time::SECOND_NS,
};
use geophone_store::{Durability, Log, LogOptions};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        mpsc::sync_channel,
    },
};

const START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);
const MINUTES: u64 = 4;

/// Panics once, at the frame that the fuse counts down to.
struct Tripping {
    inner: Baseline,
    fuse: Arc<AtomicI64>,
}

impl Model for Tripping {
    fn card(&self) -> &ModelCard {
        self.inner.card()
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        assert_ne!(self.fuse.fetch_sub(1, Ordering::Relaxed), 0, "the fuse has burnt down");
        self.inner.score(frame, scores)
    }
}

fn tripping_at(frame: i64) -> TakeModel {
    let fuse = Arc::new(AtomicI64::new(frame));
    Arc::new(move |_| Ok(Box::new(Tripping { inner: Baseline::max_abs_z(&feature_schema()), fuse: fuse.clone() })))
}

/// A log in memory with some minutes of a quiet shop.
fn log() -> Arc<Log> {
    let options = LogOptions { durability: Durability::None, memory_bytes: 256 << 20, ..LogOptions::new(super::decoder()) };
    let (log, _) = Log::open(None, options, Arc::new(SystemClock)).expect("memory opens");
    let seconds = MINUTES * 60;
    let sent = Shop::new(1, START, &Schedule::quiet(1, START, seconds as f64)).advance(START.plus(seconds * SECOND_NS));
    let record = |sent: geophone_client::shop::Sent| {
        let (signal, wire) = (sent.request.signal(), sent.request.encode());
        let export = Export { tenant: Tenant::default(), signal, transport: Transport::Grpc, wire, decoded: None };
        Record { at: sent.at, body: RecordBody::Batch(export) }
    };
    log.append(sent.into_iter().map(record).collect()).expect("there is room");
    log
}

/// What became of a run: the last memory, where the brain went on after panics, and what the pulse shows.
struct Thought {
    memory: Memory,
    recalled: Vec<Seq>,
    scores: Scores,
    pulse: Arc<Pulse>,
}

/// Bits of the newest score, by window and series.
type Scores = BTreeMap<(UnixNanos, SeriesKey), u32>;

/// A second passes with every look: a memory is kept now and then.
#[derive(Default)]
struct Hasty(AtomicU64);

impl Clock for Hasty {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.fetch_add(SECOND_NS, Ordering::Relaxed))
    }
}

/// Reads the whole log with this model.
fn think(log: &Arc<Log>, take: TakeModel, clock: impl Clock + 'static) -> Thought {
    let first = Memory { next: Seq(1), bytes: Arc::default() };
    let kept = Arc::new(Mutex::new(first.clone()));
    let recalled = Arc::new(Mutex::new(Vec::new()));
    let recall = {
        let (kept, recalled) = (kept.clone(), recalled.clone());
        move |_| {
            let memory = kept.lock().expect("nobody panics").clone();
            recalled.lock().expect("nobody panics").push(memory.next);
            memory
        }
    };
    let (work, effects) = sync_channel(16);
    let (_reloads, new_settings) = sync_channel(1);
    let pulse = Arc::new(Pulse::default());
    let start = Baseline::max_abs_z(&feature_schema()).card().model_ref();
    let thinker = Thinker {
        log: log.clone(),
        settings: Settings::default(),
        models: Models { take, start: start.clone(), refuge: start, kept: None },
        submitter: Submitter::new(1).0,
        work,
        reloads: new_settings,
        pulse: pulse.clone(),
        recall: Arc::new(recall),
        clock: Arc::new(clock),
        stop: Arc::new(AtomicBool::new(true)),
        caught_up_at: log.head().next(),
        quarantine: None,
    };
    let reader = std::thread::spawn(move || {
        let mut scores = Scores::new();
        for work in effects {
            if let Work::Effects(_, effects) = &work {
                effects.iter().for_each(|effect| hear(effect, &mut scores));
            }
            let Work::Save(saving) = work else { continue };
            let mut bytes = Vec::new();
            saving.write(&mut bytes).expect("it is told to its end");
            *kept.lock().expect("nobody panics") = Memory { next: saving.next, bytes: Arc::new(bytes) };
        }
        (kept.lock().expect("nobody panics").clone(), scores)
    });
    thinker.run(first).expect("it reads to the end");
    let (memory, scores) = reader.join().expect("the reader does not panic");
    let recalled = recalled.lock().expect("nobody panics").clone();
    Thought { memory, recalled, scores, pulse }
}

fn hear(effect: &Effect, scores: &mut Scores) {
    if let Effect::Window(window) = effect {
        let keys = window.features.keys.iter().map(|key| (window.features.at, *key));
        scores.extend(keys.zip(window.score.iter().map(|score| score.to_bits())));
    }
}

/// Scenario: the model panics after memories were kept.
/// Guarantees: the brain goes on from a kept one, not from the start, and every score is, to the bit, that of a brain
/// which never panicked. (The bytes of the two may differ: maps that were read back have another order.)
#[test]
fn a_brain_goes_on_from_what_was_kept() {
    let log = log();
    let calm = think(&log, tripping_at(-1), SystemClock);
    let shaken = think(&log, tripping_at(12), Hasty::default());
    assert!(matches!(shaken.recalled[..], [at] if at > Seq(1)), "{:?}", shaken.recalled);
    assert_eq!(shaken.memory.next, calm.memory.next);
    assert!(shaken.scores == calm.scores, "the scores differ");
}

/// Scenario: the model panics in the middle of a window, once.
/// Guarantees: the brain is rebuilt, no record is left out, and it ends up knowing to the byte what a brain
/// knows that never panicked.
#[test]
fn a_brain_that_panicked_ends_up_as_if_it_had_not() {
    let log = log();
    let calm = think(&log, tripping_at(-1), SystemClock);
    let shaken = think(&log, tripping_at(5), SystemClock);
    assert_eq!(calm.pulse.status()["brain_rebuilds"], 0);
    assert_eq!(shaken.pulse.status()["brain_rebuilds"], 1, "it did panic");
    assert_eq!(shaken.pulse.status()["skipped_records"], 0);
    assert_eq!(shaken.memory.next, calm.memory.next);
    assert!(shaken.memory.bytes == calm.memory.bytes, "the memories differ");
}
