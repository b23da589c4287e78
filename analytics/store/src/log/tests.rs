//! The log's promises: what is acked is read, in order, once; a crash loses nothing that was acked.

use super::*;
use crate::{
    StoreError,
    fixture::{Fuse, SECOND, TestClock, log_options, spans, tick},
};
use geophone_proto::{Class, Record, RecordBody, Seq};
use proptest::prelude::*;
use std::{fs, path::Path, sync::Arc, time::Duration};

fn open(dir: &Path, options: LogOptions) -> (Arc<Log>, Recovery) {
    Log::open(Some(dir), options, TestClock::new()).expect("the directory is ours")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// What of a record must survive.
fn essence(record: &Record) -> String {
    match &record.body {
        RecordBody::Batch(export) => format!("{} {:?} {:?} {:?}", record.at, export.signal, export.transport, export.wire),
        other => format!("{} {other:?}", record.at),
    }
}

fn drain(log: &Arc<Log>, from: u64) -> Vec<(u64, String)> {
    let mut reader = log.reader(Seq(from));
    let mut found = Vec::new();
    while let Some((seq, record)) = reader.next(Duration::ZERO).expect("the log is whole") {
        found.push((seq.0, essence(&record)));
    }
    found
}

fn records(n: usize) -> Vec<Record> {
    (0..n).map(|i| if i % 3 == 2 { tick() } else { spans(&format!("s{i}"), &vec![SECOND; i % 5 + 1]) }).collect()
}

fn the_segment(dir: &Path) -> std::path::PathBuf {
    let paths = recovery::list(&dir.join("log")).expect("the folder can be listed");
    paths.into_iter().next().expect("there is a segment")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Scenario: groups of any size, any segment size, any cache size, reopened in between.
    /// Guarantees: readers see every record once, in order, from cache and from disk alike.
    #[test]
    fn what_is_appended_is_read(groups in proptest::collection::vec(1usize..8, 1..8), segment in 100u64..4000, memory in 0usize..20_000) {
        let dir = folder();
        let options = || LogOptions { segment_bytes: segment, memory_bytes: memory, durability: Durability::Os, ..log_options() };
        let mut expected = Vec::new();
        let (mut log, _) = open(dir.path(), options());
        for (round, n) in groups.iter().enumerate() {
            let group = records(*n);
            let first = log.append(group.clone()).expect("there is room");
            prop_assert_eq!(first.0, expected.len() as u64 + 1);
            expected.extend(group.iter().map(essence));
            if round % 3 == 2 {
                drop(log);
                let recovery;
                (log, recovery) = open(dir.path(), options());
                prop_assert_eq!(recovery.records, expected.len() as u64);
                prop_assert_eq!(recovery.torn_bytes + recovery.quarantined_bytes, 0);
            }
        }
        let found = drain(&log, 0);
        let wanted: Vec<(u64, String)> = (1..).zip(expected).collect();
        prop_assert_eq!(&found, &wanted);
        let half = wanted.len() as u64 / 2 + 1;
        prop_assert_eq!(drain(&log, half), wanted[half as usize - 1..].to_vec());
    }

    /// Scenario: one byte anywhere in a segment changes.
    /// Guarantees: the records before it are kept, nothing wrong is read, what follows is set aside.
    #[test]
    fn a_flipped_byte_is_never_read(at in 0.0f64..1.0, bit in 0u8..8) {
        let dir = folder();
        let (log, _) = open(dir.path(), log_options());
        let group = records(6);
        log.append(group.clone()).expect("there is room");
        drop(log);
        let path = the_segment(dir.path());
        let mut bytes = fs::read(&path).expect("it exists");
        let place = ((bytes.len() - 1) as f64 * at) as usize;
        bytes[place] ^= 1 << bit;
        fs::write(&path, &bytes).expect("it can be written");
        let (log, recovery) = open(dir.path(), log_options());
        let found = drain(&log, 0);
        let wanted: Vec<(u64, String)> = (1..).zip(group.iter().map(essence)).collect();
        prop_assert!(found.len() < wanted.len());
        prop_assert_eq!(&found[..], &wanted[..found.len()]);
        prop_assert!(recovery.torn_bytes + recovery.quarantined_bytes > 0);
        prop_assert!(!recovery.notes.is_empty());
        let again = log.append(vec![tick()]).expect("it goes on");
        prop_assert!(again.0 > found.len() as u64);
    }
}

/// Scenario: a reader reads from disk what fills its buffer to the end, and waits for more.
/// Guarantees: it holds nothing of what it gave.
#[test]
fn a_reader_that_waits_holds_nothing() {
    let dir = folder();
    let (log, _) = open(dir.path(), log_options());
    log.append(vec![spans("large", &[SECOND; 99])]).expect("there is room");
    drop(log);
    let (log, _) = open(dir.path(), log_options());
    let mut reader = log.reader(Seq(1));
    let (_, record) = reader.next(Duration::ZERO).expect("the log is whole").expect("it was appended");
    let RecordBody::Batch(export) = record.body else { panic!("spans were appended") };
    assert!(export.wire.is_unique());
}

/// Scenario: a crash leaves the segment cut at any byte.
/// Guarantees: every record whose frame is whole is there, nothing else, and appending goes on.
#[test]
fn a_torn_end_is_cut_at_every_offset() {
    let dir = folder();
    let (log, _) = open(dir.path(), log_options());
    let mut ends = Vec::new();
    let group = records(5);
    for record in &group {
        log.append(vec![record.clone()]).expect("there is room");
        ends.push(log.active_bytes());
    }
    drop(log);
    let path = the_segment(dir.path());
    let bytes = fs::read(&path).expect("it exists");
    for cut in 0..=bytes.len() {
        let other = folder();
        fs::create_dir(other.path().join("log")).expect("it is new");
        fs::write(other.path().join("log").join(path.file_name().expect("it has a name")), &bytes[..cut]).expect("it can be written");
        let (log, recovery) = open(other.path(), log_options());
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let found = drain(&log, 0);
        assert_eq!(found.len(), whole, "cut at {cut}");
        assert_eq!(recovery.records, whole as u64);
        let kept = if whole == 0 { 40 } else { ends[whole - 1] };
        assert_eq!(recovery.torn_bytes, cut.saturating_sub(kept) as u64, "cut at {cut}");
        assert_eq!(log.append(vec![tick()]).expect("it goes on"), Seq(whole as u64 + 1));
        assert_eq!(drain(&log, 0).len(), whole + 1);
    }
}

/// Scenario: a crash left a segment with a header and no record; it is written anew, and what came before is released.
/// Guarantees: what was acked since is there after a restart.
#[test]
fn a_segment_that_was_left_empty_is_not_forgotten_with_what_is_in_it_now() {
    let dir = folder();
    let (log, _) = open(dir.path(), log_options());
    log.append(records(3)).expect("there is room");
    log.roll();
    log.append(records(1)).expect("there is room");
    drop(log);
    let newest = recovery::list(&dir.path().join("log")).expect("the folder can be listed").pop().expect("there are two");
    fs::OpenOptions::new().write(true).open(&newest).and_then(|file| file.set_len(50)).expect("it can be cut");
    let (log, recovery) = open(dir.path(), log_options());
    assert_eq!((recovery.records, recovery.torn_bytes), (3, 10));
    assert_eq!(log.append(records(2)).expect("there is room"), Seq(4));
    log.release(Seq(4));
    let found = drain(&log, 0);
    drop(log);
    let (log, _) = open(dir.path(), log_options());
    assert_eq!(drain(&log, 0), found);
    assert_eq!(found.len(), 2);
}

/// Scenario: writing, syncing or creating fails once, with several pieces already written.
/// Guarantees: the error asks for a retry, nothing of the group is read, now or after a restart, and
/// the next append works at the same position.
#[test]
fn a_failed_append_leaves_nothing() {
    for step in ["append.write", "append.sync", "append.create"] {
        for before in [0, 2] {
            let dir = folder();
            let fuse = Arc::new(Fuse::default());
            let options = || LogOptions { failpoint: Some(fuse.failpoint()), ..log_options() };
            let (log, _) = open(dir.path(), options());
            if before > 0 {
                log.append(records(before)).expect("there is room");
            }
            if step == "append.create" {
                log.roll();
            }
            fuse.arm(step);
            let error = log.append(records(4)).expect_err("the step was made to fail");
            assert_eq!(error.class(), Class::Retry, "{error}");
            assert!(!log.is_healthy());
            assert_eq!(drain(&log, 0).len(), before);
            assert_eq!(log.append(records(3)).expect("it works again"), Seq(before as u64 + 1));
            assert!(log.is_healthy());
            let found = drain(&log, 0);
            drop(log);
            let (log, recovery) = open(dir.path(), options());
            assert_eq!(drain(&log, 0), found, "{step}");
            assert_eq!(recovery.torn_bytes + recovery.quarantined_bytes, 0, "{step}");
        }
    }
}

/// Scenario: the second server on the same directory.
/// Guarantees: a clear refusal of class config; reading beside it works and changes nothing.
#[test]
fn one_writer_many_readers() {
    let dir = folder();
    let (log, _) = open(dir.path(), log_options());
    log.append(records(3)).expect("there is room");
    let Err(error) = Log::open(Some(dir.path()), log_options(), TestClock::new()) else { panic!("two writers") };
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("in use"), "{error}");
    let beside = Log::open_read_only(dir.path(), log_options(), TestClock::new()).expect("reading is free");
    assert_eq!(drain(&beside, 0), drain(&log, 0));
    assert!(matches!(beside.append(records(1)), Err(StoreError::ReadOnly)));
    drop(log);
    open(dir.path(), log_options());
}

/// Scenario: time passes, or segments fill up; the brain releases what it has.
/// Guarantees: segments close by age and size; only released ones go; positions survive the files.
#[test]
fn segments_close_and_go() {
    let dir = folder();
    let clock = TestClock::new();
    let options = LogOptions { segment_age: Duration::from_secs(10), ..log_options() };
    let (log, _) = Log::open(Some(dir.path()), options, clock.clone()).expect("the directory is ours");
    log.append(records(2)).expect("there is room");
    let born = log.active_since();
    clock.advance(11 * SECOND);
    log.append(records(2)).expect("there is room");
    assert_ne!(log.active_since(), born);
    log.release(Seq(1));
    assert_eq!(log.oldest(), Seq(1));
    log.release(Seq(2));
    assert_eq!(log.oldest(), Seq(3));
    log.release(Seq(4));
    drop(log);
    let (log, _) = open(dir.path(), log_options());
    assert_eq!(log.append(vec![tick()]).expect("there is room"), Seq(5));
}

/// Scenario: segments that nobody needs any more, with a history; the bound is passed, the process starts again, the
/// disk is full.
/// Guarantees: what is kept is read in order with what is needed, oldest files go first, and all of it for room.
#[test]
fn what_nobody_needs_is_kept_for_replays() {
    let dir = folder();
    let fuse = Arc::new(Fuse::default());
    let options = |history_bytes| LogOptions { segment_bytes: 1, history_bytes, failpoint: Some(fuse.failpoint()), ..log_options() };
    let recorded = || {
        let mut recording = Recording::open(dir.path(), log_options().decode).expect("the folder can be listed");
        let read: Vec<_> = std::iter::from_fn(|| recording.advance().expect("it is whole")).collect();
        assert_eq!(recording.missing, 0);
        let is_decoded = |record: &Record| !matches!(&record.body, RecordBody::Batch(export) if export.decoded.is_none());
        assert!(read.iter().all(|(_, record)| is_decoded(record)));
        read.iter().map(|(seq, record)| (seq.0, essence(record))).collect::<Vec<_>>()
    };
    let all = records(9);
    let wanted: Vec<(u64, String)> = (1..).zip(all.iter().map(essence)).collect();
    let (log, _) = open(dir.path(), options(1 << 20));
    for record in all {
        log.append(vec![record]).expect("there is room");
    }
    log.release(Seq(7));
    assert_eq!((log.oldest(), recorded()), (Seq(8), wanted.clone()));
    let kept = fs::read_dir(dir.path().join("log/past")).expect("it is there").flatten();
    let bytes: u64 = kept.map(|entry| entry.metadata().expect("it is there").len()).sum();
    drop(log);
    let (log, found) = open(dir.path(), options(bytes - 1));
    assert_eq!((found.records, recorded()), (2, wanted[1..].to_vec()), "what is kept is not read at the start");
    fuse.arm("append.write");
    log.append(vec![tick()]).expect_err("the disk is full");
    assert_eq!(recorded(), wanted[7..], "it made room");
}

/// Scenario: durability `none` with more telemetry than memory.
/// Guarantees: an acked record stays until every reader passed it; above the bound telemetry is refused
/// as busy, ticks pass; nothing of the log is on disk.
#[test]
fn memory_is_bounded_and_acks_are_true() {
    let dir = folder();
    let options = LogOptions { durability: Durability::None, memory_bytes: 20_000, ..log_options() };
    let (log, _) = open(dir.path(), options);
    let mut reader = log.reader(Seq(0));
    let mut acked = 0;
    let error = loop {
        match log.append(vec![spans("s", &[SECOND; 8])]) {
            Ok(_) => acked += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), Class::Busy, "{error}");
    assert!(acked > 5);
    log.append(vec![tick()]).expect("ticks pass");
    for _ in 0..acked {
        assert!(reader.next(Duration::ZERO).expect("it is in memory").is_some());
    }
    log.append(vec![spans("s", &[SECOND; 8])]).expect("what was read made room");
    assert!(!dir.path().join("log").exists());
}

/// Scenario: a reader waits on another thread while a record comes.
/// Guarantees: it wakes with that record, decoded, without polling.
#[test]
fn a_waiting_reader_wakes() {
    let (log, _) = Log::open(None, LogOptions { durability: Durability::None, ..log_options() }, TestClock::new()).expect("in memory");
    let mut reader = log.reader(Seq(0));
    let waiting = std::thread::spawn(move || reader.next(Duration::from_secs(60)));
    log.append(vec![spans("s", &[SECOND])]).expect("there is room");
    let found = waiting.join().expect("it does not panic").expect("the log is whole").expect("a record came");
    let RecordBody::Batch(export) = found.1.body else { panic!("it was a batch") };
    assert_eq!(export.decoded.expect("batches come decoded").len(), 1);
}

/// Scenario: a reader stands still while the columns in memory are nearly too many.
/// Guarantees: groups wait for it once, not each of them anew; it finds everything.
#[test]
fn who_stands_is_waited_for_once() {
    let dir = folder();
    let (log, _) = open(dir.path(), LogOptions { memory_bytes: 8_000, ..log_options() });
    log.mark_sealed(0);
    let mut reader = log.reader(Seq(0));
    let began = std::time::Instant::now();
    for _ in 0..100 {
        log.append(vec![spans("s", &[SECOND; 8])]).expect("there is room on the disk");
    }
    // Anew would be 80 ms for each, and none 0.
    assert!((Duration::from_millis(40)..Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
    for _ in 0..100 {
        assert!(reader.next(Duration::ZERO).expect("the log is whole").is_some());
    }
}
