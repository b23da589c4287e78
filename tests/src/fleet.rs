//! A fleet of hosts that send gauges, as encoded requests whose times and values are written anew each time they are
//! sent: encoding must not be what a benchmark measures. Not a load generator (`geophone gen` is).

use crate::load::service;
use geophone_proto::otlp::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
};
use prost::Message;
use std::fs;

/// Series of one metric of one service.
pub const HOSTS: u64 = 500;
const METRICS: u64 = 10;
/// Series of one service, and of one request.
pub const SERVICE_SERIES: u64 = HOSTS * METRICS;
/// Stand for the time and the value of each point.
const TIME: u64 = 0x0102_0304_0506_0708;
const VALUE: u64 = 0x4012_3456_789a_bcde;

/// What one service sends at once: a point of each of its series.
pub struct Request {
    bytes: Vec<u8>,
    /// Where times and values stand.
    times: Vec<usize>,
    values: Vec<usize>,
    first: u64,
}

impl Request {
    /// The request of a service, of the first `series` series of the fleet.
    pub fn new(service_number: u64, series: u64) -> Self {
        let first = service_number * SERVICE_SERIES;
        let metric = |metric: u64| {
            let hosts = (0..HOSTS).filter(|host| first + metric * HOSTS + host < series);
            let data_points: Vec<NumberDataPoint> = hosts.map(point).collect();
            Metric { name: format!("load.level.{metric}"), data: Some(Data::Gauge(Gauge { data_points })), ..Metric::default() }
        };
        let scope_metrics = vec![ScopeMetrics { metrics: (0..METRICS).map(metric).collect(), ..ScopeMetrics::default() }];
        let resource = Some(service(&format!("service-{service_number}")));
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let find = |word: u64| -> Vec<usize> {
            let places = bytes.windows(8).enumerate().filter(|(_, eight)| *eight == word.to_le_bytes());
            places.map(|(at, _)| at).collect()
        };
        let (times, values) = (find(TIME), find(VALUE));
        assert_eq!(times.len(), values.len(), "each point has a time and a value");
        Self { bytes, times, values, first }
    }

    /// Points in it.
    pub fn points(&self) -> u64 {
        self.times.len() as u64
    }

    /// The bytes as of this time: a level of its own for each series, with noise.
    pub fn at(&self, time_unix_nano: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (series, (time, value)) in (self.first..).zip(self.times.iter().zip(&self.values)) {
            bytes[*time..*time + 8].copy_from_slice(&time_unix_nano.to_le_bytes());
            bytes[*value..*value + 8].copy_from_slice(&level(series, time_unix_nano).to_le_bytes());
        }
        bytes
    }
}

fn point(host: u64) -> NumberDataPoint {
    let value = Some(AnyValue { value: Some(Value::StringValue(format!("host-{host}"))) });
    NumberDataPoint {
        attributes: vec![KeyValue { key: "host".into(), value, ..KeyValue::default() }],
        time_unix_nano: TIME,
        value: Some(number_data_point::Value::AsDouble(f64::from_bits(VALUE))),
        ..NumberDataPoint::default()
    }
}

/// A number that follows from two others (splitmix64).
pub const fn mixed(one: u64, other: u64) -> u64 {
    let mut x = (one << 24 ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn level(series: u64, moment: u64) -> f64 {
    100.0 + (series % 97) as f64 + (mixed(series, moment) % 1_000) as f64 / 100.0
}

/// User and system seconds of a process so far.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("the name ends").1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|place| fields[*place].parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// A line of `/proc/PID/status` in MiB.
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// A number from the environment, or the usual one.
pub fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
