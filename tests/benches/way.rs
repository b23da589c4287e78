//! The whole way of a span, hop by hop: nanoseconds of processor (user and system) and of wall clock a row,
//! medians of five runs; points a second through features and model; memory.
//!
//! `cargo bench -p geophone-tests --bench way`. One thread; a busy machine stretches the wall clock, hardly the
//! processor's. Telemetry: ten minutes of the simulated shop.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints, and counts below 2^53")]

use bytes::Bytes;
use geophone_client::shop::{Schedule, Shop};
use geophone_engine::{
    Brain, Detector, Settings, feature_schema,
    observe::Observer,
    window::{ClosedWindow, Stat, StatKind, WindowRow},
};
use geophone_ingest::{decode_export, walk};
use geophone_models::{Baseline, runtime, shipped};
use geophone_proto::{
    Batch, Effect, Record, RecordBody, Seq, Signal, Tenant, Transport, UnixNanos,
    record::Export,
    seam::{Clock, Model},
    series::{Series, SeriesKind},
    time::SECOND_NS,
};
use geophone_store::{Durability, Log, LogOptions, Store, StoreOptions};
use std::{collections::BTreeMap, fs, hint::black_box, sync::Arc, time::Instant};

const RUNS: usize = 5;
const START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);
const MINUTES: u64 = 10;
const SERIES: u32 = 10_000;
const WINDOWS: u64 = 40;
/// `/proc` counts processor time in hundredths of a second.
const TICK_NS: f64 = 1e7;

/// User and system time of this process, nanoseconds.
fn cpu_ns() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Behind the name: state is field 3 of `proc(5)`, utime 14, stime 15.
    fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * TICK_NS
}

/// A line of `/proc/self/status` in MiB.
fn memory_mib(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `work` five times on what `prepare` makes, and prints what one of its items costs.
fn hop<T>(name: &str, items: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(T)) -> f64 {
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let prepared = prepare();
        let (began, clock) = (cpu_ns(), Instant::now());
        work(prepared);
        cpu.push((cpu_ns() - began) / items as f64);
        wall.push(clock.elapsed().as_secs_f64() * 1e9 / items as f64);
    }
    let cpu = median(cpu);
    println!("{name:46} {items:>9} {cpu:>10.0} {:>11.0}", median(wall));
    cpu
}

/// The shop's requests with their times, decoded.
struct Telemetry {
    records: Vec<Record>,
    rows: usize,
}

impl Telemetry {
    /// Ten minutes; only one signal, or all.
    fn of(only: Option<Signal>) -> Self {
        let schedule = Schedule::quiet(1, START, (MINUTES * 60) as f64);
        let sent = Shop::new(1, START, &schedule).advance(START.plus(MINUTES * 60 * SECOND_NS));
        let sent = sent.into_iter().filter(|sent| only.is_none_or(|only| sent.request.signal() == only));
        let record = |sent: geophone_client::shop::Sent| {
            let signal = sent.request.signal();
            let mut export =
                Export { tenant: Tenant::default(), signal, transport: Transport::Grpc, wire: sent.request.encode(), decoded: None };
            export.decoded = Some(decode_export(&export, sent.at));
            Record { at: sent.at, body: RecordBody::Batch(export) }
        };
        let records: Vec<Record> = sent.map(record).collect();
        let rows = records.iter().map(|record| batch(record).len()).sum();
        Self { records, rows }
    }

    fn wires(&self) -> Vec<(Signal, Bytes, UnixNanos)> {
        let wire = |record: &Record| (export(record).signal, export(record).wire.clone(), record.at);
        self.records.iter().map(wire).collect()
    }
}

fn export(record: &Record) -> &Export {
    match &record.body {
        RecordBody::Batch(export) => export,
        other => panic!("only batches are made here, not {other:?}"),
    }
}

fn batch(record: &Record) -> &Arc<Batch> {
    export(record).decoded.as_ref().expect("decoded when it was made")
}

/// Only segments ask it, for their age.
struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixNanos {
        START
    }
}

fn log_in(dir: &std::path::Path, durability: Durability) -> Arc<Log> {
    let options = LogOptions { durability, memory_bytes: 512 << 20, ..LogOptions::new(Arc::new(decode_export)) };
    let dir = (durability != Durability::None).then_some(dir);
    Log::open(dir, options, Arc::new(StandingClock)).expect("a new folder").0
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn new_brain() -> Brain {
    Brain::new(Settings::default(), shipped().expect("the shipped model loads"))
}

fn walk_all(wires: &[(Signal, Bytes, UnixNanos)]) {
    for (signal, wire, at) in wires {
        black_box(walk(*signal, wire.clone(), Tenant::default(), *at).expect("sound"));
    }
}

fn think(mut brain: Brain, records: &[Record]) -> Vec<Effect> {
    let steps = (1..).map(Seq).zip(records);
    steps.flat_map(|(seq, record)| brain.step(seq, record)).collect()
}

fn append_all(log: &Log, records: &[Record]) {
    for record in records {
        log.append(vec![record.clone()]).expect("there is room");
    }
}

/// Hops that every row passes.
fn hops(what: &str, telemetry: &Telemetry) -> f64 {
    let (records, rows) = (&telemetry.records, telemetry.rows);
    let wires = telemetry.wires();
    let mut sum = hop(&format!("{what}: 2 walk"), rows, || (), |()| walk_all(&wires));
    for (name, durability) in [("4 log, none", Durability::None), ("4 log, os", Durability::Os), ("4 log, fsync", Durability::Fsync)] {
        let prepare = || {
            let dir = folder();
            (log_in(dir.path(), durability), dir)
        };
        let cost = hop(&format!("{what}: {name}, a request a group"), rows, prepare, |(log, _dir)| append_all(&log, records));
        sum += if durability == Durability::Fsync { cost } else { 0.0 };
    }
    hop(
        &format!("{what}: 5 observe"),
        rows,
        || Observer::new(&Settings::default()),
        |mut observer| {
            for (seq, record) in (1..).map(Seq).zip(records) {
                observer.batch(batch(record), seq);
                black_box((observer.new_series(), observer.drain()));
            }
        },
    );
    sum +=
        hop(&format!("{what}: 5-7 brain (observe, features, model, ...)"), rows, new_brain, |brain| drop(black_box(think(brain, records))));
    let prepare = || {
        let dir = folder();
        let log = log_in(dir.path(), Durability::Os);
        append_all(&log, records);
        log.roll();
        let store = Store::open(dir.path(), StoreOptions::new(Arc::new(decode_export), feature_schema()), log).expect("a new folder");
        (store, dir)
    };
    sum + hop(&format!("{what}: 9 seal to Parquet"), rows, prepare, |(store, _dir)| {
        assert_eq!(store.seal().expect("sealed").rows, rows as u64);
    })
}

/// Ten thousand series through features and model.
fn points(name: &str, model: &dyn Fn() -> Box<dyn Model>) {
    let series: Vec<Series> = (0..SERIES)
        .map(|n| {
            Series::new(
                Tenant::default(),
                &format!("service-{}", n % 100),
                &format!("operation-{n}"),
                SeriesKind::MetricValue,
                BTreeMap::new(),
            )
        })
        .collect();
    let windows: Vec<ClosedWindow> = (0..WINDOWS)
        .map(|window| {
            let row = |series: u32| {
                let value = f64::from(series % 97) + ((u64::from(series) * 31 + window * 17) % 23) as f64 / 10.0;
                WindowRow { series, stat: Stat { n: 1.0, s1: value, s2: value * value }, shown: value, exemplars: Vec::new() }
            };
            let length_ns = 10 * SECOND_NS;
            let rows = (0..SERIES).map(row).collect();
            ClosedWindow { start_ns: START.0 + window * length_ns, length_ns, amended: false, rows }
        })
        .collect();
    let prepare = || {
        let mut detector = Detector::new(&Settings::default(), model());
        series.iter().zip(0..).for_each(|(series, index)| detector.series(index, series, StatKind::Level));
        detector
    };
    let before = memory_mib("VmRSS");
    let mut held = 0.0f64;
    let count = usize::try_from(WINDOWS).expect("small") * series.len();
    let cost = hop(&format!("point: 6 features and model, {name}"), count, prepare, |mut detector| {
        windows.iter().for_each(|window| drop(black_box(detector.window(window))));
        held = held.max(memory_mib("VmRSS") - before);
    });
    println!("{:46} {:.2} million points a second of one core, {held:.0} MiB more for {SERIES} series", "", 1e3 / cost);
}

fn main() {
    println!("{:46} {:>9} {:>10} {:>11}", "hop", "rows", "cpu ns/row", "wall ns/row");
    let spans = Telemetry::of(Some(Signal::Traces));
    let sum = hops("span", &spans);
    println!("{:46} {:>9} {sum:>10.0}", "span: the whole way (walk, fsync, brain, seal)", spans.rows);
    drop(spans);
    hops("row of any signal", &Telemetry::of(None));
    println!("model runtime: {}", runtime().name);
    points("shipped model", &|| shipped().expect("the shipped model loads"));
    points("largest |z|", &|| Box::new(Baseline::max_abs_z(&feature_schema())));
    println!("memory: {:.0} MiB now, {:.0} MiB at most", memory_mib("VmRSS"), memory_mib("VmHWM"));
}
