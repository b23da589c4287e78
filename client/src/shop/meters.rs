//! What one service counts: cumulative counters and histograms since its start, and levels of the moment.

use super::{
    draw::Draw,
    floor::{OPERATIONS, SERVICES, Way},
    words::{http_status, int, rpc_status, text},
};
use geophone_proto::otlp::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data, number_data_point::Value,
    },
};

/// Bucket bounds of the semantic conventions for server durations, seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone, Debug, Default)]
struct Durations {
    count: u64,
    sum: f64,
    buckets: [u64; 15],
}

/// Counters of one instance.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    service: usize,
    started_ns: u64,
    /// Per operation of the shop: succeeded and failed.
    durations: Vec<[Durations; 2]>,
    /// Own time worked since the last collection.
    busy_s: f64,
    collected_ns: u64,
    queue: f64,
}

/// Levels that the meters cannot know themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    /// Memory above normal, as a share.
    pub(super) leak: f64,
    /// Share of the host's processor burnt beyond work.
    pub(super) burn: f64,
    /// Cores of the host.
    pub(super) cores: f64,
}

impl Meters {
    /// Counters that began at `started_ns`, read from now on.
    pub(super) fn new(service: usize, started_ns: u64, now: u64) -> Self {
        let durations = OPERATIONS.iter().map(|_| [Durations::default(), Durations::default()]).collect();
        Self { service, started_ns, durations, busy_s: 0.0, collected_ns: now, queue: 2.0 }
    }

    /// Counts a served request.
    pub(super) fn served(&mut self, operation: usize, failed: bool, seconds: f64) {
        let durations = &mut self.durations[operation][usize::from(failed)];
        durations.count += 1;
        durations.sum += seconds;
        durations.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }

    /// Counts processor time.
    pub(super) fn worked(&mut self, seconds: f64) {
        self.busy_s += seconds;
    }

    /// All metrics at this moment, and the share of the host's processor that this service used since the last time.
    pub(super) fn collect(&mut self, now: u64, levels: Levels, draw: &mut Draw) -> (Vec<Metric>, f64) {
        let elapsed = now.saturating_sub(self.collected_ns) as f64 / 1e9;
        let age = now.saturating_sub(self.started_ns) as f64 / 1e9;
        let busy = if elapsed > 0.0 { self.busy_s / elapsed / levels.cores } else { 0.0 };
        let cpu = (0.012 + busy * draw.lognormal(1.0, 0.08) + levels.burn * draw.between(0.95, 1.05)).clamp(0.001, 0.98);
        (self.busy_s, self.collected_ns) = (0.0, now);
        let service = &SERVICES[self.service];
        // A fresh process grows to its working size within minutes; collections of garbage make it a saw.
        let warmth = 1.0 - 0.12 * (-age / 120.0).exp();
        let saw = 0.03 * ((age / 47.0).fract() - 0.5);
        let memory = service.memory_mib * 1_048_576.0 * (warmth + saw + levels.leak) * (1.0 + 0.006 * draw.normal());
        let mut metrics = vec![
            gauge("process.cpu.utilization", "1", now, cpu),
            metric("process.memory.usage", "By", self.sum(false, vec![(Vec::new(), memory as i64)], now)),
        ];
        if let Some(name) = service.queue {
            self.queue = (0.7 * self.queue + 0.9 + 0.8 * draw.normal()).max(0.0);
            metrics.push(gauge(name, "{item}", now, self.queue.round()));
        }
        metrics.extend(self.requests(now));
        (metrics, cpu)
    }

    /// The request counter and the duration histograms of operations that were called.
    fn requests(&self, now: u64) -> Vec<Metric> {
        let mut counts = Vec::new();
        let (mut http, mut rpc) = (Vec::new(), Vec::new());
        for (operation, both) in OPERATIONS.iter().zip(&self.durations) {
            for (failed, durations) in [false, true].into_iter().zip(both).filter(|(_, durations)| durations.count > 0) {
                let outcome = if failed { "error" } else { "ok" };
                let total = i64::try_from(durations.count).unwrap_or(i64::MAX);
                counts.push((vec![text("operation", operation.name), text("outcome", outcome)], total));
                let (points, attributes) = match operation.way {
                    Way::Http(method, route) => (
                        &mut http,
                        vec![
                            text("http.request.method", method),
                            text("http.route", route),
                            int("http.response.status_code", http_status(failed)),
                        ],
                    ),
                    Way::Rpc(package) => (
                        &mut rpc,
                        vec![
                            text("rpc.system.name", "grpc"),
                            text("rpc.service", package),
                            text("rpc.method", operation.name),
                            text("rpc.response.status_code", rpc_status(failed)),
                        ],
                    ),
                };
                points.push(self.point(durations, attributes, now));
            }
        }
        let mut metrics = Vec::new();
        if !counts.is_empty() {
            metrics.push(metric("shop.requests", "{request}", self.sum(true, counts, now)));
        }
        for (name, data_points) in [("http.server.request.duration", http), ("rpc.server.call.duration", rpc)] {
            if !data_points.is_empty() {
                let data = Histogram { data_points, aggregation_temporality: AggregationTemporality::Cumulative as i32 };
                metrics.push(metric(name, "s", Data::Histogram(data)));
            }
        }
        metrics
    }

    fn point(&self, durations: &Durations, attributes: Vec<KeyValue>, now: u64) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.started_ns,
            time_unix_nano: now,
            count: durations.count,
            sum: Some(durations.sum),
            bucket_counts: durations.buckets.to_vec(),
            explicit_bounds: BOUNDS.to_vec(),
            ..HistogramDataPoint::default()
        }
    }

    fn sum(&self, is_monotonic: bool, points: Vec<(Vec<KeyValue>, i64)>, now: u64) -> Data {
        let data_points = points.into_iter().map(|(attributes, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano: self.started_ns,
            time_unix_nano: now,
            value: Some(Value::AsInt(value)),
            ..NumberDataPoint::default()
        });
        let aggregation_temporality = AggregationTemporality::Cumulative as i32;
        Data::Sum(Sum { data_points: data_points.collect(), aggregation_temporality, is_monotonic })
    }
}

/// One reading of a level.
pub(super) fn gauge(name: &str, unit: &str, now: u64, value: f64) -> Metric {
    let point = NumberDataPoint { time_unix_nano: now, value: Some(Value::AsDouble(value)), ..NumberDataPoint::default() };
    metric(name, unit, Data::Gauge(Gauge { data_points: vec![point] }))
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}
