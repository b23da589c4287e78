//! The log alone on a disk that fails, is slow, is full and loses power; many seeds in little time.
//! One committer appends; a sender sends again what was not acked.

use super::{dice::Dice, disk::Disk, live::essence, world::START_NS};
use geophone_ingest::decode_export;
use geophone_proto::{
    Record, RecordBody, Seq, Signal, Tenant, Transport, UnixNanos, action::Outcome, record::Export, seam::Clock, time::SECOND_NS,
};
use geophone_store::{Failpoint, Log, LogOptions};
use geophone_tests::load;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Groups that a sender gets acked in a life.
const GROUPS: u64 = 40;

/// Stands still but for the slow disk.
struct SlowClock(AtomicU64);

impl Clock for SlowClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// What a step of the disk does.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Works,
    /// Takes longer than a segment may live.
    Slow,
    /// Says that it is full; what was written before stays written.
    Full,
    /// The last thing that happens.
    PowerCut,
}

/// What is shared with the failpoint, which the log calls in the middle of a group.
struct Shared {
    dir: PathBuf,
    dice: Dice,
    disk: Disk,
    is_cut: bool,
    told: Told,
}

/// How often what happened; a simulation in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    pub cuts: u64,
    pub torn: u64,
    pub full: u64,
    pub slow: u64,
    pub reappeared: u64,
    pub released: u64,
    pub acked: u64,
}

impl std::ops::AddAssign for Told {
    fn add_assign(&mut self, more: Self) {
        self.cuts += more.cuts;
        self.torn += more.torn;
        self.full += more.full;
        self.slow += more.slow;
        self.reappeared += more.reappeared;
        self.released += more.released;
        self.acked += more.acked;
    }
}

impl Shared {
    fn step(&mut self, clock: &SlowClock) -> io::Result<()> {
        let fate = match self.dice.below(100) {
            0..4 => Fate::Full,
            4..8 => Fate::Slow,
            8..11 => Fate::PowerCut,
            _ => Fate::Works,
        };
        match fate {
            Fate::Works => return Ok(()),
            Fate::Slow => {
                self.told.slow += 1;
                clock.0.fetch_add(40 * SECOND_NS, Ordering::Relaxed);
                return Ok(());
            }
            Fate::Full => self.told.full += 1,
            Fate::PowerCut => self.is_cut = true,
        }
        self.disk.written(&self.dir);
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// See the head of this file.
struct Powered<'a> {
    dir: &'a Path,
    clock: Arc<SlowClock>,
    shared: Arc<Mutex<Shared>>,
    log: Option<Arc<Log>>,
    /// What is there, by position: acked, or found after a power cut.
    known: BTreeMap<u64, String>,
    /// What the log need not hold any more.
    released: u64,
}

impl Powered<'_> {
    fn open(&mut self) {
        let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.clock));
        let failpoint: Failpoint = Arc::new(move |_| shared.lock().expect("nobody panics").step(&clock));
        let options = LogOptions {
            segment_bytes: 8 << 10,
            memory_bytes: 4 << 10,
            failpoint: Some(failpoint),
            ..LogOptions::new(Arc::new(decode_export))
        };
        self.log = Some(Log::open(Some(self.dir), options, self.clock.clone()).expect("a log opens after any crash").0);
    }

    fn log(&self) -> &Arc<Log> {
        self.log.as_ref().expect("it is open")
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.shared.lock().expect("nobody panics"))
    }

    /// Sends one group until it is acked.
    fn deliver(&mut self, group: &[Record]) {
        loop {
            let sent = self.log().append(group.to_vec());
            if self.with(|shared| std::mem::take(&mut shared.is_cut)) {
                self.restart(group);
            } else if let Ok(Seq(first)) = sent {
                for (seq, record) in (first..).zip(group) {
                    assert_eq!(self.known.insert(seq, essence(record)), None, "position {seq} was given twice");
                }
                self.with(|shared| {
                    shared.disk.synced(&shared.dir);
                    shared.told.acked += group.len() as u64;
                });
                return;
            }
        }
    }

    /// The power comes back. `group` was on its way: a beginning of it may be there, nobody was promised it.
    fn restart(&mut self, group: &[Record]) {
        self.log = None;
        self.with(|shared| {
            let Shared { dir, dice, disk, told, .. } = shared;
            told.cuts += 1;
            told.torn += u64::from(disk.cut(dir, dice));
        });
        self.open();
        let found = read(self.log());
        for (seq, essence) in self.known.range(self.released + 1..) {
            assert_eq!(found.get(seq), Some(essence), "what was acked at {seq} is lost");
        }
        let newest = self.known.last_key_value().map_or(0, |(seq, _)| *seq);
        let mut sent = group.iter();
        for (seq, found) in found {
            if let Some(known) = self.known.get(&seq) {
                assert_eq!(known, &found, "something else is at {seq}");
            } else {
                assert!(seq > newest, "position {seq} was never given");
                assert_eq!(sent.next().map(essence).as_ref(), Some(&found), "nobody sent what is at {seq}");
                self.known.insert(seq, found);
                self.with(|shared| shared.told.reappeared += 1);
            }
        }
        // Opening has mended and synced.
        self.with(|shared| shared.disk.synced(&shared.dir));
    }

    /// The brain has a snapshot: old segments go.
    fn release(&mut self, dice: &mut Dice) {
        let Some(newest) = self.known.last_key_value().map(|(seq, _)| *seq) else { return };
        self.released = self.released.max(newest.saturating_sub(dice.below(20)));
        self.log().release(Seq(self.released));
        self.with(|shared| {
            let Shared { dir, dice, disk, told, .. } = shared;
            disk.removed(dir, dice);
            told.released += 1;
        });
    }
}

fn read(log: &Arc<Log>) -> BTreeMap<u64, String> {
    let mut reader = log.reader(Seq(1));
    let next = || reader.next(Duration::ZERO).expect("what was repaired is whole");
    std::iter::from_fn(next).map(|(seq, record)| (seq.0, essence(&record))).collect()
}

/// One to four records: requests, ticks, now and then an outcome longer than one write of the log.
fn group(number: u64, dice: &mut Dice) -> Vec<Record> {
    let body = |number: u64, dice: &mut Dice| match dice.below(100) {
        0 => RecordBody::Outcome(Outcome { action_id: number.to_string(), is_undo: false, succeeded: None, output: "x".repeat(600 << 10) }),
        1..30 => RecordBody::Tick,
        _ => {
            let wire = load::traces(&format!("s{number}"), number, 1 + dice.below(9), START_NS).into();
            RecordBody::Batch(Export { tenant: Tenant::default(), signal: Signal::Traces, transport: Transport::Grpc, wire, decoded: None })
        }
    };
    (0..1 + dice.below(4)).map(|place| Record { at: UnixNanos(START_NS + number), body: body(number << 8 | place, dice) }).collect()
}

/// Lives one seed; panics where a promise is broken.
pub fn live(dir: &Path, seed: u64) -> Told {
    let mut dice = Dice::new(seed, 5);
    let shared = Shared { dir: dir.join("log"), dice: Dice::new(seed, 6), disk: Disk::default(), is_cut: false, told: Told::default() };
    let clock = Arc::new(SlowClock(START_NS.into()));
    let mut powered = Powered { dir, clock, shared: Arc::new(Mutex::new(shared)), log: None, known: BTreeMap::new(), released: 0 };
    powered.open();
    for number in 0..GROUPS {
        powered.deliver(&group(number, &mut dice));
        if dice.chance(0.1) {
            powered.release(&mut dice);
        }
    }
    powered.restart(&[]);
    powered.with(|shared| shared.told)
}
