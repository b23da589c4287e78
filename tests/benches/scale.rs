//! Many series at once: gauges of many hosts, a point each in every window of 10 s, through the real binary, from
//! the wire to scores that SQL sees. Prints series scored per second of the server's processor time, and its memory.
//!
//! `cargo bench -p geophone-tests --bench scale`; `GEOPHONE_SERIES` (100000), `GEOPHONE_WINDOWS` (30) and
//! `GEOPHONE_BIN` (another binary) change what runs. Everything counts: receiving, the log, windows, features, the
//! model, and the rows of features and scores.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use geophone_client::{Client, ClientConfig};
use geophone_proto::{Signal, time::SECOND_NS};
use geophone_tests::{
    fleet::{HOSTS, Request, SERVICE_SERIES, memory_mib, number, processor_seconds},
    server::{PATIENCE, Server, eventually},
};
use std::{
    fs,
    time::{Duration, Instant},
};

const START_NS: u64 = 1_767_261_600 * SECOND_NS;
const WINDOW_S: u64 = 10;

/// Sends the windows `from..to` as fast as they are taken.
fn send(client: &Client, runtime: &tokio::runtime::Runtime, requests: &[Request], windows: std::ops::Range<u64>) {
    for window in windows {
        let time = START_NS + window * WINDOW_S * SECOND_NS + 5 * SECOND_NS;
        for request in requests {
            let (body, points) = (request.at(time), request.points());
            runtime.block_on(client.export_raw(Signal::Metrics, body.into(), points)).expect("the server takes it");
        }
    }
}

/// Waits until the server has nothing to do: under 2 % of a core for 2 s.
#[allow(clippy::disallowed_methods, reason = "a share of time is measured over time")]
fn idle(pid: u32) {
    let mut before = (Instant::now(), processor_seconds(pid));
    eventually("the server is idle", || {
        std::thread::sleep(Duration::from_secs(2));
        let now = (Instant::now(), processor_seconds(pid));
        let share = (now.1 - before.1) / (now.0 - before.0).as_secs_f64();
        before = now;
        (share < 0.02).then_some(())
    });
}

fn main() {
    let (series, windows) = (number("GEOPHONE_SERIES", 100_000), number("GEOPHONE_WINDOWS", 30));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    let text = format!("detection: {{series_max: {}, series_per_name_max: {}}}\n", (2 * series).max(1_000), (2 * HOSTS).max(1_000));
    fs::write(&config, text).expect("the temporary folder is writable");
    let path = config.to_str().expect("temporary folders have plain names");
    let server = Server::start(&folder.path().join("data"), &["--config", path]);
    let config = ClientConfig { endpoint: server.grpc.clone(), timeout: PATIENCE, ..ClientConfig::default() };
    let client = Client::new(config).expect("the server printed its address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs a few file handles");
    let pid = server.pid();
    let requests: Vec<Request> = (0..series.div_ceil(SERVICE_SERIES)).map(|number| Request::new(number, series)).collect();
    // New series are made in the first windows; what counts is the rest.
    let warm = windows / 3;
    send(&client, &runtime, &requests, 0..warm);
    idle(pid);
    let (begun, before) = (Instant::now(), processor_seconds(pid));
    send(&client, &runtime, &requests, warm..windows);
    idle(pid);
    let (wall, spent) = (begun.elapsed().as_secs_f64(), processor_seconds(pid) - before);
    let scored = series * (windows - warm);
    println!(
        "{series} series, {} windows each: {spent:.1} s of processor time, {:.0} series scored a second and core ({:.0} ns each), {wall:.1} s of wall clock",
        windows - warm,
        scored as f64 / spent,
        spent * 1e9 / scored as f64
    );
    println!(
        "memory: {:.0} MiB at most, {:.0} MiB now, {:.2} KiB a series",
        memory_mib(pid, "VmHWM"),
        memory_mib(pid, "VmRSS"),
        memory_mib(pid, "VmRSS") * 1024.0 / series as f64
    );
    let seen = server.count("SELECT COUNT(DISTINCT series) FROM scores");
    println!("series with scores: {seen}");
    assert_eq!(server.stop(), Some(0));
}
