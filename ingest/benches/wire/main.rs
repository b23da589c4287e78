//! What a span costs the real binary, from the socket to Parquet: nanoseconds of processor, user and system, of the
//! server's process until it rests again and everything is sealed; beside it, in the same run, a bare `h2` server that
//! throws the bytes away, and the Collector with the spanmetrics connector.
//!
//! `cargo build --release --bin geophone && cargo bench -p geophone-ingest --bench wire [-- OPTIONS]`
//!
//! | option | |
//! |---|---|
//! | `--servers A,B` | of `floor`, `collector`, `fsync`, `os`, `none` (the latter: Geophone's durability) |
//! | `--peer ADDR,PID` | one more, which runs already |
//! | `--loads A,B` | of `10`, `100`, `1000` (spans a request) with `/4` (in flight; else 256, 64, 16), `h` before it: HTTP, `z` behind it: gzip |
//! | `--repeats N` | 3 |
//! | `--scale F` | so many times as many spans |
//! | `--open A,B` | instead: requests a second of 10 spans, evenly spread, sent whether earlier ones are answered or not |
//! | `--seconds N` | of them, 15 |
//!
//! Servers are pinned to core 0, the driver to core 1 (`taskset`). `GEOPHONE_BIN` names another binary, `WIRE_DIR` a
//! folder for data. A machine that does other work makes every figure worse, ratios less so.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a benchmark prints, waits for processes of others, and counts below 2^53"
)]

mod driver;
mod floor;
mod frames;
mod latency;
mod open;
mod payload;
mod subject;

use driver::{Load, Outcome, Transport};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::Command,
    sync::atomic::Ordering,
    time::Instant,
};
use subject::Subject;

/// Spans of a measured load at 100 spans a request.
const SPANS: u64 = 1_500_000;
/// Spans before measuring: every series is known by then.
const WARM_SPANS: u64 = 100_000;

/// One kind of load.
#[derive(Clone, Debug)]
struct Kind {
    name: String,
    spans: u64,
    in_flight: usize,
    transport: Transport,
    is_packed: bool,
}

impl Kind {
    fn of(name: &str) -> Self {
        let (transport, rest) = name.strip_prefix('h').map_or((Transport::Grpc, name), |rest| (Transport::Http, rest));
        let (rest, is_packed) = rest.strip_suffix('z').map_or((rest, false), |rest| (rest, true));
        let (spans, in_flight) = rest.split_once('/').map_or((rest, None), |(spans, open)| (spans, Some(open)));
        let spans: u64 = spans.parse().expect("--loads wants numbers of spans");
        let usual = match spans {
            0..30 => 256,
            30..300 => 64,
            _ => 16,
        };
        let in_flight = in_flight.map_or(usual, |open| open.parse().expect("--loads wants a number behind the slash"));
        Self { name: name.to_owned(), spans, in_flight, transport, is_packed }
    }

    /// Requests of the measured load.
    fn requests(&self, scale: f64) -> u64 {
        let share = if self.spans < 30 { 0.4 } else { 1.0 } * if self.in_flight == 4 || self.is_packed { 0.3 } else { 1.0 };
        ((SPANS as f64 * scale * share) as u64 / self.spans).max(10)
    }
}

/// What one run has shown.
struct Shown {
    rested_ns: f64,
    sealed_ns: f64,
    spans_a_second: f64,
    refused: u64,
    memory: [u64; 4],
    disk_bytes: f64,
    /// Unpacking the same bytes and nothing else, on one thread.
    inflate_ns: Option<f64>,
}

fn start(server: &str, peer: Option<&str>) -> Option<Subject> {
    match server {
        "floor" => Some(Subject::floor()),
        "collector" => subject::collector().map(|binary| Subject::collector(&binary)),
        "peer" => peer.map(Subject::peer),
        durability => Some(Subject::geophone(durability)),
    }
}

/// Packs requests beforehand: a driver that packed as it sends would be the slower of the two.
fn packed(kind: &Kind, templates: &[payload::Template], (first, requests): (u64, u64)) -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    let pack = |(number, template): (u64, &payload::Template)| {
        plain.clear();
        template.stamp(number, driver::now_ns(), &mut plain);
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(&plain).and_then(|()| writer.finish()).expect("memory takes everything")
    };
    if kind.is_packed { (first..first + requests).zip(templates.iter().cycle()).map(pack).collect() } else { Vec::new() }
}

/// Processor time of this thread so far.
fn thread_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    line.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first of three numbers")
}

/// What unpacking these requests costs by itself, as the server does it.
fn inflate_ns(packed: &[Vec<u8>]) -> f64 {
    let (mut plain, began) = (Vec::new(), thread_ns());
    for request in packed {
        plain.clear();
        flate2::read::MultiGzDecoder::new(&request[..]).read_to_end(&mut plain).expect("it was packed a moment ago");
    }
    (thread_ns() - began) as f64
}

fn measure(kind: &Kind, server: &Subject, scale: f64) -> Shown {
    let templates = payload::templates(kind.spans);
    let mut inflated = None;
    let mut send = |first: u64, requests: u64, in_flight: usize| -> (Outcome, f64, u64) {
        let packed = packed(kind, &templates, (first, requests));
        inflated = kind.is_packed.then(|| inflate_ns(&packed) / (requests * kind.spans) as f64);
        let address = if kind.transport == Transport::Grpc { &server.grpc } else { &server.http };
        let load = Load { address, transport: kind.transport, templates: &templates, packed: &packed, in_flight, requests, first };
        let (before, began) = (server.cpu_ns(), Instant::now());
        (load.send(), began.elapsed().as_secs_f64(), before)
    };
    let idle = [server.memory_mib("VmRSS"), server.memory_mib("RssAnon")];
    let warm = (WARM_SPANS / kind.spans).max(20);
    let (warmed, ..) = send(0, warm, kind.in_flight);
    server.rest();
    let requests = kind.requests(scale);
    let (outcome, seconds, before) = send(warm * 2, requests, kind.in_flight);
    let memory = [server.memory_mib("RssAnon"), server.memory_mib("VmHWM")];
    let spans = (requests * kind.spans) as f64;
    let ended = Instant::now();
    let rested = server.rest();
    server.sealed();
    let (sealed, waited) = (server.cpu_ns(), ended.elapsed().as_secs_f64());
    // What it does while nobody sends is not the spans': taken off for the time of waiting.
    let quiet = server.quiet_ns_a_second() * waited;
    let acked = (outcome.acked.load(Ordering::Relaxed) + warmed.acked.load(Ordering::Relaxed)) * kind.spans;
    if let Some(found) = server.spans() {
        assert!(found == acked, "{acked} spans were acknowledged, a query counts {found}");
    }
    Shown {
        rested_ns: (rested - before) as f64 / spans,
        sealed_ns: ((sealed - before) as f64 - quiet).max((rested - before) as f64) / spans,
        spans_a_second: spans / seconds,
        refused: outcome.refused.load(Ordering::Relaxed),
        memory: [idle[0], idle[1], memory[0], memory[1]],
        disk_bytes: server.parquet_bytes() as f64 / acked as f64,
        inflate_ns: inflated,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(kinds: &[Kind], servers: &[String], shown: &BTreeMap<(String, String), Vec<Shown>>) {
    println!();
    println!(
        "| load | server | ns a span: median (least .. most) | until sealed | Collector / it | inflating alone | spans a second | memory MiB: idle, anon -> anon, most | Parquet B a span |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for kind in kinds {
        let of = |server: &str| shown.get(&(kind.name.clone(), server.to_owned()));
        let sealed = |runs: &[Shown]| median(runs.iter().map(|run| run.sealed_ns));
        let collector = of("collector").map(|runs| sealed(runs));
        for server in servers {
            let Some(runs) = of(server) else { continue };
            let rested = || runs.iter().map(|run| run.rested_ns);
            let (least, most) = (rested().fold(f64::MAX, f64::min), rested().fold(0.0, f64::max));
            let ratio = collector.map_or_else(String::new, |collector| format!("{:.1}", collector / sealed(runs)));
            let inflating: Vec<f64> = runs.iter().filter_map(|run| run.inflate_ns).collect();
            let inflating = if inflating.is_empty() { String::new() } else { format!("{:.0}", median(inflating.into_iter())) };
            let [idle, anon, loaded, peak] = [0, 1, 2, 3].map(|place| median(runs.iter().map(|run| run.memory[place] as f64)));
            println!(
                "| {} | {server} | {:.0} ({least:.0} .. {most:.0}) | {:.0} | {ratio} | {inflating} | {:.0} | {idle:.0}, {anon:.0} -> {loaded:.0}, {peak:.0} | {:.0} |",
                kind.name,
                median(rested()),
                sealed(runs),
                median(runs.iter().map(|run| run.spans_a_second)),
                median(runs.iter().map(|run| run.disk_bytes)),
            );
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "floor") {
        return floor::serve();
    }
    if std::env::var_os("WIRE_PINNED").is_none() && subject::can_pin() {
        let own = std::env::current_exe().expect("a running program has a path");
        let error = Command::new("taskset").args(["-c", "1"]).arg(own).args(&arguments).env("WIRE_PINNED", "1").exec();
        panic!("taskset does not start: {error}");
    }
    let option = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|place| arguments.get(place + 1)).cloned();
    let list = |name: &str, usual: &str| option(name).unwrap_or_else(|| usual.to_owned()).split(',').map(str::to_owned).collect::<Vec<_>>();
    let peer = option("--peer");
    let mut servers = list("--servers", "floor,collector,fsync,none");
    servers.extend(peer.iter().map(|_| "peer".to_owned()));
    let kinds: Vec<Kind> =
        list("--loads", "10,100,1000,10/4,100/4,1000/4,h100,h1000,100z,h100z").iter().map(|name| Kind::of(name)).collect();
    let repeats: u64 = option("--repeats").map_or(3, |text| text.parse().expect("--repeats wants a number"));
    let scale: f64 = option("--scale").map_or(1.0, |text| text.parse().expect("--scale wants a number"));
    if let Some(rates) = option("--open") {
        let seconds = option("--seconds").map_or(15.0, |text| text.parse().expect("--seconds wants a number"));
        let rates: Vec<f64> = rates.split(',').map(|text| text.parse().expect("--open wants requests a second")).collect();
        let servers = list("--servers", "floor,collector,fsync,os,none");
        return latency::measure(&rates, seconds, repeats, &servers, |server| start(server, peer.as_deref()));
    }
    let mut shown: BTreeMap<(String, String), Vec<Shown>> = BTreeMap::new();
    for repeat in 0..repeats {
        for kind in &kinds {
            for server in &servers {
                // The floor speaks HTTP/2 only.
                if server == "floor" && kind.transport == Transport::Http {
                    continue;
                }
                let Some(subject) = start(server, peer.as_deref()) else {
                    println!("{server} is not here, hence left out");
                    continue;
                };
                let run = measure(kind, &subject, scale);
                let refused = if run.refused > 0 { format!(", {} refused", run.refused) } else { String::new() };
                let inflating = run.inflate_ns.map_or_else(String::new, |ns| format!(", inflating alone {ns:.0}"));
                println!(
                    "{repeat} {:8} {server:10} {:6.0} ns a span, {:6.0} until sealed{inflating}{refused}",
                    kind.name, run.rested_ns, run.sealed_ns
                );
                shown.entry((kind.name.clone(), server.clone())).or_default().push(run);
            }
        }
    }
    report(&kinds, &servers, &shown);
}
