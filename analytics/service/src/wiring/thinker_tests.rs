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
    Record, RecordBody, Seq, Tenant, Transport, UnixNanos,
    feature::FeatureFrame,
    model::ModelCard,
    record::Export,
    seam::{Model, SeamError},
    time::SECOND_NS,
};
use geophone_store::{Durability, Log, LogOptions};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
    mpsc::sync_channel,
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

/// What became of a run: the last memory and what the pulse shows.
struct Thought {
    memory: Memory,
    pulse: Arc<Pulse>,
}

/// Reads the whole log with this model.
fn think(log: &Arc<Log>, take: TakeModel) -> Thought {
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
        recall: Arc::new(|_| Memory { next: Seq(1), bytes: Arc::default() }),
        clock: Arc::new(SystemClock),
        stop: Arc::new(AtomicBool::new(true)),
        caught_up_at: log.head().next(),
        quarantine: None,
    };
    let reader = std::thread::spawn(move || {
        let saved = effects.iter().filter_map(|work| {
            let Work::Save(saving) = work else { return None };
            let mut bytes = Vec::new();
            saving.write(&mut bytes).expect("it is told to its end");
            Some(Memory { next: saving.next, bytes: Arc::new(bytes) })
        });
        saved.last().expect("a thinker that stops leaves a memory")
    });
    thinker.run(Memory { next: Seq(1), bytes: Arc::default() }).expect("it reads to the end");
    Thought { memory: reader.join().expect("the reader does not panic"), pulse }
}

/// Scenario: the model panics in the middle of a window, once.
/// Guarantees: the brain is rebuilt, no record is left out, and it ends up knowing to the byte what a brain
/// knows that never panicked.
#[test]
fn a_brain_that_panicked_ends_up_as_if_it_had_not() {
    let log = log();
    let calm = think(&log, tripping_at(-1));
    let shaken = think(&log, tripping_at(5));
    assert_eq!(calm.pulse.status()["brain_rebuilds"], 0);
    assert_eq!(shaken.pulse.status()["brain_rebuilds"], 1, "it did panic");
    assert_eq!(shaken.pulse.status()["skipped_records"], 0);
    assert_eq!(shaken.memory.next, calm.memory.next);
    assert!(shaken.memory.bytes == calm.memory.bytes, "the memories differ");
}
