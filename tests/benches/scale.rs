//! Many series at once: gauges of many hosts, a point each in every window of 10 s, through the real binary, from
//! the wire to scores that SQL sees. Prints series scored per second of the server's processor time, and its memory.
//!
//! `cargo bench -p geophone-tests --bench scale`; `GEOPHONE_SERIES` (100000), `GEOPHONE_WINDOWS` (30) and
//! `GEOPHONE_BIN` (another binary) change what runs. Everything counts: receiving, the log, windows, features, the
//! model, and the rows of features and scores.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use geophone_client::{Client, ClientConfig};
use geophone_proto::{
    Signal,
    otlp::{
        collector::metrics::v1::ExportMetricsServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value},
        metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
    },
    time::SECOND_NS,
};
use geophone_tests::{
    load::service,
    server::{PATIENCE, Server, eventually},
};
use prost::Message;
use std::{
    fs,
    time::{Duration, Instant},
};

const START_NS: u64 = 1_767_261_600 * SECOND_NS;
const WINDOW_S: u64 = 10;
/// Series of one metric of one service.
const HOSTS: u64 = 500;
const METRICS: u64 = 10;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A level of its own for each series, with noise (splitmix64).
fn value(series: u64, window: u64) -> f64 {
    let mut x = (series << 24 | window).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    100.0 + (series % 97) as f64 + ((x ^ (x >> 31)) % 1_000) as f64 / 100.0
}

/// All hosts of one service in one window.
fn request(service_number: u64, window: u64, series: u64) -> (Vec<u8>, u64) {
    let time_unix_nano = START_NS + window * WINDOW_S * SECOND_NS + 5 * SECOND_NS;
    let first = service_number * HOSTS * METRICS;
    let mut items = 0;
    let mut metric = |metric: u64| {
        let hosts = (0..HOSTS).map(|host| (host, first + metric * HOSTS + host)).filter(|(_, number)| *number < series);
        let points: Vec<NumberDataPoint> = hosts
            .map(|(host, number)| NumberDataPoint {
                attributes: vec![KeyValue {
                    key: "host".into(),
                    value: Some(AnyValue { value: Some(Value::StringValue(format!("host-{host}"))) }),
                    ..KeyValue::default()
                }],
                time_unix_nano,
                value: Some(number_data_point::Value::AsDouble(value(number, window))),
                ..NumberDataPoint::default()
            })
            .collect();
        items += points.len() as u64;
        Metric { name: format!("load.level.{metric}"), data: Some(Data::Gauge(Gauge { data_points: points })), ..Metric::default() }
    };
    let metrics = (0..METRICS).map(&mut metric).collect();
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource = Some(service(&format!("service-{service_number}")));
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    (ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(), items)
}

/// User and system seconds of a process so far.
fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("the name ends").1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|place| fields[*place].parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// A line of `/proc/PID/status` in MiB.
fn memory_mib(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// Sends the windows `from..to` as fast as they are taken.
fn send(client: &Client, runtime: &tokio::runtime::Runtime, series: u64, windows: std::ops::Range<u64>) {
    for window in windows {
        for service_number in 0..series.div_ceil(HOSTS * METRICS) {
            let (body, items) = request(service_number, window, series);
            runtime.block_on(client.export_raw(Signal::Metrics, body.into(), items)).expect("the server takes it");
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
    // New series are made in the first windows; what counts is the rest.
    let warm = windows / 3;
    send(&client, &runtime, series, 0..warm);
    idle(pid);
    let (begun, before) = (Instant::now(), processor_seconds(pid));
    send(&client, &runtime, series, warm..windows);
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
