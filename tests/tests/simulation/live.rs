//! A service without sockets: log on disk, brain, snapshots, an effector. It is killed again and again;
//! appends fail, segments end torn, actions fail. What was acked must stay.

use super::{
    dice::Dice,
    seen::{Seen, brain, restored},
};
use geophone_engine::{Brain, Settings};
use geophone_ingest::decode_export;
use geophone_proto::{
    Record, RecordBody, Seq, UnixNanos,
    action::{ActionRequest, ActionState, Outcome},
    seam::Clock,
};
use geophone_store::{Durability, Failpoint, Log, LogOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Time of whoever appends: the log takes ages of segments from it.
struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(super::world::START_NS)
    }
}

/// What happened to the service.
#[derive(Debug, Default)]
pub struct Ordeal {
    pub crashes: u64,
    pub torn: u64,
    pub failed_appends: u64,
    pub performed: u64,
}

/// See the head of this file.
pub struct Live<'a> {
    dir: &'a Path,
    settings: &'a Settings,
    dice: Dice,
    /// The next append fails.
    fuse: Arc<AtomicBool>,
    log: Option<Arc<Log>>,
    brain: Brain,
    next: Seq,
    pub seen: Seen,
    /// What senders were promised: position and what is there.
    acked: BTreeMap<Seq, String>,
    snapshot: Option<(Seq, Vec<u8>)>,
    performed: BTreeSet<(String, bool)>,
    pending: Vec<Outcome>,
    pub ordeal: Ordeal,
}

fn open(dir: &Path, fuse: &Arc<AtomicBool>) -> Arc<Log> {
    let fuse = Arc::clone(fuse);
    let failpoint: Failpoint = Arc::new(move |step| {
        let fails = step.starts_with("append.") && fuse.swap(false, Ordering::Relaxed);
        if fails { Err(io::Error::other(format!("{step} fails"))) } else { Ok(()) }
    });
    let options = LogOptions {
        durability: Durability::Os,
        segment_bytes: 32 << 10,
        memory_bytes: 64 << 10,
        failpoint: Some(failpoint),
        ..LogOptions::new(Arc::new(decode_export))
    };
    Log::open(Some(dir), options, Arc::new(StandingClock)).expect("a log opens after any crash").0
}

/// Everything in the log of a folder.
pub fn read_all(dir: &Path) -> Vec<(Seq, Record)> {
    let log = open(dir, &Arc::default());
    let mut reader = log.reader(Seq(1));
    std::iter::from_fn(move || reader.next(Duration::ZERO).expect("what was repaired is whole")).collect()
}

/// What of a record must survive.
pub fn essence(record: &Record) -> String {
    match &record.body {
        RecordBody::Batch(export) => format!("{} {:?} {:?}", record.at, export.signal, export.wire),
        other => format!("{} {other:?}", record.at),
    }
}

impl<'a> Live<'a> {
    pub fn new(dir: &'a Path, settings: &'a Settings, seed: u64) -> Self {
        let fuse = Arc::default();
        Self {
            dir,
            settings,
            dice: Dice::new(seed, 3),
            log: Some(open(dir, &fuse)),
            fuse,
            brain: brain(settings),
            next: Seq(1),
            seen: Seen::default(),
            acked: BTreeMap::new(),
            snapshot: None,
            performed: BTreeSet::new(),
            pending: Vec::new(),
            ordeal: Ordeal::default(),
        }
    }

    /// Lives through all records; leaves the log closed.
    pub fn live(&mut self, records: Vec<Record>) {
        for record in records {
            let at = record.at;
            self.commit(record);
            self.think();
            for outcome in std::mem::take(&mut self.pending) {
                self.commit(Record { at, body: RecordBody::Outcome(outcome) });
                self.think();
            }
            if self.dice.chance(0.01) {
                self.snapshot = Some((self.next, self.brain.snapshot()));
            }
            if self.dice.chance(0.006) {
                self.crash(at);
            }
        }
        while let Some(outcome) = self.pending.pop() {
            self.commit(Record { at: UnixNanos(super::world::START_NS), body: RecordBody::Outcome(outcome) });
            self.think();
        }
        self.log = None;
    }

    /// Appends until it is acked, as a sender does.
    fn commit(&mut self, record: Record) {
        let log = self.log.as_ref().expect("it is open while living");
        if self.dice.chance(0.02) {
            self.fuse.store(true, Ordering::Relaxed);
            match log.append(vec![record.clone()]) {
                Err(_) => self.ordeal.failed_appends += 1,
                // An append that reached no step which could fail.
                Ok(seq) => {
                    self.fuse.store(false, Ordering::Relaxed);
                    self.acked.insert(seq, essence(&record));
                    return;
                }
            }
        }
        let seq = log.append(vec![record.clone()]).expect("the second time it works");
        let before = self.acked.insert(seq, essence(&record));
        assert!(before.is_none(), "position {seq:?} was given twice");
    }

    /// Steps through everything new in the log.
    fn think(&mut self) {
        let log = self.log.as_ref().expect("it is open while living");
        let mut reader = log.reader(self.next);
        while let Some((seq, record)) = reader.next(Duration::ZERO).expect("the log is whole") {
            let wanted = self.seen.take(self.brain.step(seq, &record));
            self.next = seq.next();
            for request in wanted {
                self.perform(&request);
            }
            // Here there is time between two records; who replays them has none.
            while self.brain.draft() {}
        }
    }

    /// Does each request once; half of them fail.
    fn perform(&mut self, request: &ActionRequest) {
        if self.performed.insert((request.action_id.clone(), request.is_undo)) {
            self.ordeal.performed += 1;
            let succeeded = Some(self.dice.chance(0.5));
            let output = "exit status 1".into();
            self.pending.push(Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded, output });
        }
    }

    /// Everything in memory is gone and the last segment may end anyhow; then a start.
    fn crash(&mut self, at: UnixNanos) {
        self.ordeal.crashes += 1;
        self.log = None;
        self.tear();
        self.log = Some(open(self.dir, &self.fuse));
        self.look_for_the_acked();
        (self.next, self.brain) = match &self.snapshot {
            Some((next, bytes)) => (*next, restored(self.settings, bytes)),
            None => (Seq(1), brain(self.settings)),
        };
        self.pending.clear();
        self.think();
        self.end_the_interrupted(at);
    }

    /// Half a frame, noise or zeros at the end of the newest segment.
    fn tear(&mut self) {
        let segments = fs::read_dir(self.dir.join("log")).expect("the log has a folder");
        let segments = segments.map(|entry| entry.expect("it can be read").path());
        let Some(newest) = segments.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max() else { return };
        let mut bytes = fs::read(&newest).expect("it can be read");
        let length = usize::try_from(self.dice.below(200)).expect("small");
        let tail = match self.dice.below(4) {
            0 => return,
            1 => vec![0; length],
            2 => (0..length).map(|_| self.dice.below(256) as u8).collect(),
            // The beginning of a frame that was written before, without its end.
            _ => bytes.get(40..).unwrap_or_default().iter().copied().take(length.min(60)).collect(),
        };
        self.ordeal.torn += u64::from(!tail.is_empty());
        bytes.extend(tail);
        fs::write(&newest, bytes).expect("it can be written");
    }

    fn look_for_the_acked(&self) {
        let log = self.log.as_ref().expect("just opened");
        let mut reader = log.reader(Seq(1));
        let mut found = BTreeMap::new();
        while let Some((seq, record)) = reader.next(Duration::ZERO).expect("what was repaired is whole") {
            found.insert(seq, essence(&record));
        }
        for (seq, essence) in &self.acked {
            assert_eq!(found.get(seq), Some(essence), "what was acked at {seq:?} is lost after crash {}", self.ordeal.crashes);
        }
        assert_eq!(found.len(), self.acked.len(), "something is in the log that nobody was promised");
    }

    /// Actions whose outcome died with the process: reported as failed, as the service does.
    fn end_the_interrupted(&mut self, at: UnixNanos) {
        let running = |state| matches!(state, ActionState::Running | ActionState::Undoing);
        let interrupted: Vec<Outcome> = self
            .seen
            .actions
            .values()
            .filter(|action| running(action.state))
            .map(|action| Outcome {
                action_id: action.id.clone(),
                is_undo: action.state == ActionState::Undoing,
                succeeded: Some(false),
                output: "interrupted by a restart".into(),
            })
            .collect();
        for outcome in interrupted {
            self.commit(Record { at, body: RecordBody::Outcome(outcome) });
        }
        self.think();
    }
}
