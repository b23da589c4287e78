//! Scenario: a segment of the log with bytes flipped, cut, put in, repeated or zeroed, anywhere.
//! Guarantees: opening it never panics; what stood before the first changed byte is there; nothing is read
//! that was not written at that position; the log goes on, and a second opening finds nothing to mend.

use super::*;
use crate::fixture::{SECOND, TestClock, log_options, spans, tick};
use geophone_proto::{Record, Seq};
use std::{
    ffi::OsStr,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the campaign lasts, in seconds, and its first case; the same words as in ingest.
const SECONDS: &str = "GEOPHONE_FUZZ_SECONDS";
const SEED: &str = "GEOPHONE_FUZZ_SEED";

/// A small generator (SplitMix64): a case is one number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % end as u64).expect("below a usize")
    }
}

/// Breaks bytes somewhere; gives where the first change is.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) -> usize {
    let mut first = bytes.len();
    for _ in 0..=dice.below(2) {
        if bytes.is_empty() {
            return 0;
        }
        let at = dice.below(bytes.len());
        first = first.min(at);
        let len = (1 + dice.below(64)).min(bytes.len() - at);
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at..at + len].fill(0),
            3 => drop(bytes.splice(at..at, vec![0xa5; len])),
            4 => drop(bytes.drain(at..at + len)),
            _ => {
                let again = bytes[at..at + len].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    first
}

fn drain(log: &Arc<Log>) -> Vec<(u64, Record)> {
    let mut reader = log.reader(Seq(0));
    let mut found = Vec::new();
    while let Some((seq, record)) = reader.next(Duration::ZERO).expect("what was mended can be read") {
        found.push((seq.0, record));
    }
    found
}

fn case(seed: u64, written: &[String], ends: &[usize], (name, bytes): (&OsStr, &[u8])) {
    let mut dice = Dice(seed);
    let mut broken = bytes.to_vec();
    let first = damage(&mut broken, &mut dice);
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    fs::create_dir(dir.path().join("log")).expect("it is new");
    fs::write(dir.path().join("log").join(name), &broken).expect("it can be written");
    let open = || Log::open(Some(dir.path()), log_options(), TestClock::new()).expect("a damaged log opens");
    let (log, _) = open();
    let found = drain(&log);
    let whole = ends.iter().filter(|end| **end <= first).count();
    assert!(found.len() >= whole, "{} of {whole} records before the damage", found.len());
    for (seq, record) in &found {
        let place = usize::try_from(*seq).expect("small") - 1;
        assert_eq!(Some(&format!("{record:?}")), written.get(place), "record {seq}");
    }
    log.append(vec![tick()]).expect("the log goes on");
    drop(log);
    let (log, again) = open();
    assert_eq!((again.torn_bytes, again.quarantined_bytes), (0, 0), "mended once");
    assert_eq!(drain(&log).len(), found.len() + 1);
}

#[test]
fn fuzz_log_recovery() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let (log, _) = Log::open(Some(dir.path()), log_options(), TestClock::new()).expect("the directory is ours");
    let path = || recovery::list(&dir.path().join("log")).expect("the folder can be listed").remove(0);
    let mut ends = Vec::new();
    for number in 0..6 {
        let record = if number % 3 == 2 { tick() } else { spans(&format!("s{number}"), &[SECOND; 3]) };
        log.append(vec![record]).expect("there is room");
        ends.push(log.active_bytes());
    }
    drop(log);
    // As they are read: what a record carries beside its bytes is no part of the log.
    let (log, _) = Log::open(Some(dir.path()), log_options(), TestClock::new()).expect("the directory is ours");
    let written: Vec<String> = drain(&log).iter().map(|(_, record)| format!("{record:?}")).collect();
    drop(log);
    let (path, bytes) = (path(), fs::read(path()).expect("it exists"));
    let name = path.file_name().expect("it has a name");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let time = Duration::from_secs_f64(number(SECONDS).unwrap_or(0.5));
    let first = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let (begun, mut seed) = (Instant::now(), first);
    loop {
        let ended = std::panic::catch_unwind(|| case(seed, &written, &ends, (name, &bytes)));
        assert!(ended.is_ok(), "fuzz_log_recovery: case {seed}, see above; again: {SEED}={seed} {SECONDS}=0");
        seed = seed.wrapping_add(1);
        if begun.elapsed() >= time {
            break;
        }
    }
    eprintln!("fuzz_log_recovery: {} cases from {first} on in {:.1} s", seed.wrapping_sub(first), begun.elapsed().as_secs_f64());
}
