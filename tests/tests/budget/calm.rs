//! An installation in which nothing ever goes wrong: services of heavy, medium and hardly any traffic that
//! call each other, days and nights, latencies with heavy tails, errors as rare as usual, gauges that
//! wander, counters, logs. Seeded; knows nothing of who listens.

use geophone_client::ExportRequest;
use geophone_proto::{
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, KeyValue, any_value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{
            AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
        },
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
    },
    time::SECOND_NS,
};
use rand_pcg::{
    Pcg64,
    rand_core::{Rng, SeedableRng},
};

/// Requests a second at the mean of the day, from an entry that hardly anybody asks to a busy one.
const RATES: [f64; 6] = [0.008, 0.05, 0.2, 0.5, 1.5, 4.0];
/// How often everything is sent.
pub const BEAT_NS: u64 = 5 * SECOND_NS;
const DAY_S: f64 = 86_400.0;

/// Random numbers from a seed.
struct Dice(Pcg64);

impl Dice {
    fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn poisson(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// One service: an entry operation, or what such a one calls.
struct Service {
    name: String,
    version: u32,
    route: String,
    /// Of its own work: median seconds, standard deviation of the logarithm, share of long ones.
    median_s: f64,
    sigma: f64,
    heavy: f64,
    errors: f64,
    /// Whom each request calls.
    calls: Option<usize>,
    cpu: f64,
    memory: f64,
    served: u64,
    since_s: f64,
}

impl Service {
    fn new(dice: &mut Dice, name: String, calls: Option<usize>, since_s: f64) -> Self {
        let route = format!("GET /{name}/{{id}}");
        let (median_s, sigma) = (dice.between(0.004, 0.08), dice.between(0.25, 0.8));
        let heavy = if dice.unit() < 0.5 { 0.0 } else { dice.between(0.002, 0.02) };
        let errors = if dice.unit() < 0.4 { 0.0 } else { dice.between(0.0005, 0.02) };
        Self { name, version: 1, route, median_s, sigma, heavy, errors, calls, cpu: 0.0, memory: 0.0, served: 0, since_s }
    }

    fn own_s(&self, dice: &mut Dice) -> f64 {
        let usual = self.median_s * (self.sigma * dice.normal()).exp();
        // A Pareto tail: a pause, a lock, a cold cache.
        if dice.unit() < self.heavy { usual + self.median_s * dice.unit().powf(-1.0 / 1.8) } else { usual }
    }

    fn resource(&self) -> Option<Resource> {
        let attributes = vec![
            text("service.name", &self.name),
            text("service.version", &format!("{}.0.0", self.version)),
            text("service.instance.id", &format!("{}-{}", self.name, self.version)),
            text("host.name", &format!("host-{}", self.name.len() % 2 + self.route.len() % 3)),
        ];
        Some(Resource { attributes, ..Resource::default() })
    }
}

/// The installation.
pub struct Calm {
    dice: Dice,
    services: Vec<Service>,
    /// Which services users reach, and how often.
    entries: Vec<(usize, f64)>,
    start_ns: u64,
    now_ns: u64,
    /// Whether processes are watched too.
    has_gauges: bool,
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

impl Calm {
    /// `chains` entries with as many services behind them; every second one is called through.
    pub fn new(seed: u64, chains: usize, start_ns: u64) -> Self {
        let dice = Dice(Pcg64::seed_from_u64(seed));
        let mut calm = Self { dice, services: Vec::new(), entries: Vec::new(), start_ns, now_ns: start_ns, has_gauges: true };
        for chain in 0..chains {
            calm.join(chain);
        }
        calm
    }

    /// One entry that is asked every other minute, and fails often; spans and logs only.
    pub fn sparse(seed: u64, start_ns: u64) -> Self {
        let mut calm = Self::new(seed, 1, start_ns);
        for service in &mut calm.services {
            (service.errors, service.heavy) = (0.2, 0.2);
        }
        calm.has_gauges = false;
        calm
    }

    /// Another entry and the service behind it, from now on.
    pub fn join(&mut self, chain: usize) {
        let since_s = (self.now_ns - self.start_ns) as f64 / SECOND_NS as f64;
        let behind = self.services.len();
        self.services.push(Service::new(&mut self.dice, format!("store-{chain}"), None, since_s));
        self.services.push(Service::new(&mut self.dice, format!("front-{chain}"), Some(behind), since_s));
        self.entries.push((behind + 1, RATES[chain % RATES.len()]));
    }

    /// A new version of this service: another instance, counters from zero.
    pub fn release(&mut self, service: usize) {
        let since_s = (self.now_ns - self.start_ns) as f64 / SECOND_NS as f64;
        let of = &mut self.services[service];
        (of.version, of.served, of.since_s) = (of.version + 1, 0, since_s);
    }

    /// Number of services.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Everything that is sent at the end of the next beat.
    pub fn beat(&mut self) -> (u64, Vec<ExportRequest>) {
        let from_ns = self.now_ns;
        self.now_ns += BEAT_NS;
        let seconds = BEAT_NS as f64 / SECOND_NS as f64;
        let day = (from_ns - self.start_ns) as f64 / SECOND_NS as f64 / DAY_S;
        let mut spans: Vec<Vec<Span>> = self.services.iter().map(|_| Vec::new()).collect();
        for (entry, rate) in self.entries.clone() {
            let shape = 1.0 + 0.5 * (std::f64::consts::TAU * (day + 0.07 * entry as f64)).sin();
            for _ in 0..self.dice.poisson(rate * shape * seconds) {
                let at = from_ns + (self.dice.unit() * BEAT_NS as f64) as u64;
                let trace = [self.dice.0.next_u64().to_be_bytes(), self.dice.0.next_u64().to_be_bytes()].concat();
                self.visit(entry, (at, &trace, Vec::new()), &mut spans);
            }
        }
        let logs = self.logs(&spans);
        let metrics = (self.has_gauges && self.now_ns.is_multiple_of(2 * BEAT_NS)).then(|| self.metrics(&spans));
        let resource_spans = spans
            .into_iter()
            .enumerate()
            .filter(|(_, spans)| !spans.is_empty())
            .map(|(service, spans)| ResourceSpans {
                resource: self.services[service].resource(),
                scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            })
            .collect();
        let traces = ExportRequest::Traces(ExportTraceServiceRequest { resource_spans });
        (self.now_ns, std::iter::once(traces).chain(logs).chain(metrics).collect())
    }

    /// Serves one request; returns its end and whether it failed.
    fn visit(&mut self, service: usize, (at, trace, parent): (u64, &[u8], Vec<u8>), spans: &mut [Vec<Span>]) -> (u64, bool) {
        let own_ns = (self.services[service].own_s(&mut self.dice) * SECOND_NS as f64) as u64;
        let id = self.dice.0.next_u64().to_be_bytes().to_vec();
        let (mut end, mut failed) = (at + own_ns, self.dice.unit() < self.services[service].errors);
        if let Some(callee) = self.services[service].calls {
            let client = self.dice.0.next_u64().to_be_bytes().to_vec();
            let sent = at + own_ns / 2;
            let (answered, broken) = self.visit(callee, (sent + 300_000, trace, client.clone()), spans);
            end = answered + 300_000 + own_ns / 2;
            failed |= broken;
            let name = self.services[callee].route.clone();
            spans[service].push(span((trace, client, id.clone()), (SpanKind::Client, name), (sent, answered + 300_000), broken));
        }
        let name = self.services[service].route.clone();
        spans[service].push(span((trace, id, parent), (SpanKind::Server, name), (at, end), failed));
        self.services[service].served += 1;
        (end, failed)
    }

    fn metrics(&mut self, spans: &[Vec<Span>]) -> ExportRequest {
        let (now, start) = (self.now_ns, self.start_ns);
        let resource_metrics = (0..self.services.len())
            .map(|index| {
                let dice = &mut self.dice;
                let of = &mut self.services[index];
                of.cpu = 0.8 * of.cpu + 0.6 * dice.normal();
                of.memory = 0.995 * of.memory + 0.1 * dice.normal();
                let busy = 0.05 + 0.01 * spans[index].len() as f64;
                let gauge = |name: &str, value: f64| Metric {
                    name: name.to_owned(),
                    data: Some(Data::Gauge(Gauge { data_points: vec![point(number_data_point::Value::AsDouble(value), (0, now))] })),
                    ..Metric::default()
                };
                let pending = f64::from(dice.poisson(2.0));
                let since = start + (of.since_s * SECOND_NS as f64) as u64;
                let served = Sum {
                    data_points: vec![point(number_data_point::Value::AsInt(of.served.try_into().unwrap_or(i64::MAX)), (since, now))],
                    aggregation_temporality: AggregationTemporality::Cumulative as i32,
                    is_monotonic: true,
                };
                let metrics = vec![
                    gauge("process.cpu.utilization", busy * (1.0 + 0.1 * of.cpu)),
                    gauge("process.memory.usage", 2e8 * (1.0 + 0.02 * of.memory)),
                    gauge("queue.pending", pending),
                    Metric { name: "requests.served".to_owned(), data: Some(Data::Sum(served)), ..Metric::default() },
                ];
                let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
                ResourceMetrics { resource: of.resource(), scope_metrics, ..ResourceMetrics::default() }
            })
            .collect();
        ExportRequest::Metrics(ExportMetricsServiceRequest { resource_metrics })
    }

    fn logs(&mut self, spans: &[Vec<Span>]) -> Option<ExportRequest> {
        let mut resource_logs = Vec::new();
        for (index, spans) in spans.iter().enumerate() {
            let mut log_records = Vec::new();
            for served in spans.iter().filter(|span| span.kind == SpanKind::Server as i32) {
                let failed = served.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32);
                if failed || self.dice.unit() < 0.1 {
                    let (severity, body) = if failed { ("ERROR", "request could not be served") } else { ("INFO", "request served") };
                    log_records.push(LogRecord {
                        time_unix_nano: served.end_time_unix_nano,
                        severity_text: severity.to_owned(),
                        severity_number: if failed { 17 } else { 9 },
                        body: text("", body).value,
                        ..LogRecord::default()
                    });
                }
            }
            if !log_records.is_empty() {
                let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
                resource_logs.push(ResourceLogs { resource: self.services[index].resource(), scope_logs, ..ResourceLogs::default() });
            }
        }
        (!resource_logs.is_empty()).then_some(ExportRequest::Logs(ExportLogsServiceRequest { resource_logs }))
    }
}

fn span((trace, id, parent): (&[u8], Vec<u8>, Vec<u8>), (kind, name): (SpanKind, String), (from, to): (u64, u64), failed: bool) -> Span {
    Span {
        trace_id: trace.to_vec(),
        span_id: id,
        parent_span_id: parent,
        name,
        kind: kind as i32,
        start_time_unix_nano: from,
        end_time_unix_nano: to,
        status: failed.then(|| Status { code: StatusCode::Error as i32, ..Status::default() }),
        ..Span::default()
    }
}

fn point(value: number_data_point::Value, (since, at): (u64, u64)) -> NumberDataPoint {
    NumberDataPoint { start_time_unix_nano: since, time_unix_nano: at, value: Some(value), ..NumberDataPoint::default() }
}
