//! Faults with a known cause: one attribute value is slow, fails, is gone or surges, among many that keep
//! it company. Everything follows from the seed.

use geophone_proto::{
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    },
    time::SECOND_NS,
};
use prost::Message;

/// Splitmix: a repeatable stream of numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A standard normal.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.between(1e-12, 1.0).ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    /// A place by weights.
    fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.share() * weights.iter().sum::<f64>();
        weights.iter().position(|weight| (left -= weight, left < 0.0).1).unwrap_or(weights.len() - 1)
    }
}

/// What the value does while the fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Slow,
    Failing,
    Gone,
    Surge,
    Logging,
}

pub const MODES: [Mode; 5] = [Mode::Slow, Mode::Failing, Mode::Gone, Mode::Surge, Mode::Logging];

/// Attributes that may be the cause.
const CAUSES: [&str; 6] = ["cloud.region", "app.version", "customer.tier", "endpoint.shard", "payment.provider", "k8s.pod.name"];

/// One fault and the traffic around it.
pub struct Fault {
    pub mode: Mode,
    pub key: &'static str,
    pub value: String,
    strength: f64,
    /// Requests a second.
    rate: f64,
    weights: Vec<(&'static str, Vec<f64>)>,
}

/// A request before it is spelt out.
struct Draw {
    pod: usize,
    pairs: Vec<(&'static str, String)>,
}

fn names(key: &str, n: usize) -> String {
    match key {
        "cloud.region" => ["eu-1", "eu-2", "us-1", "us-2", "ap-1"][n].to_owned(),
        "customer.tier" => ["free", "silver", "gold", "platinum"][n].to_owned(),
        "payment.provider" => ["acme", "paynow", "bankly", "cardio"][n].to_owned(),
        "app.version" => format!("2.{n}.0"),
        "k8s.pod.name" => format!("checkout-7d9f-{n}"),
        _ => format!("shard-{n}"),
    }
}

impl Fault {
    pub fn seeded(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mode = MODES[(seed % MODES.len() as u64) as usize];
        let sizes = [
            ("cloud.region", 5),
            ("app.version", 3),
            ("customer.tier", 4),
            ("endpoint.shard", 8),
            ("payment.provider", 4),
            ("k8s.pod.name", 4),
        ];
        let weights: Vec<(&str, Vec<f64>)> =
            sizes.iter().map(|&(key, n)| (key, (0..n).map(|_| dice.between(0.5, 1.5)).collect())).collect();
        // A part of the traffic that is too small to be missed cannot be found missing.
        let least = if matches!(mode, Mode::Gone | Mode::Surge) { 0.25 } else { 0.0 };
        let (key, at) = loop {
            let (key, of_key) = &weights[dice.below(CAUSES.len())];
            let at = dice.below(of_key.len());
            if of_key[at] >= least * of_key.iter().sum::<f64>() {
                break (*key, at);
            }
        };
        let strength = match mode {
            Mode::Slow => dice.between(3.0, 8.0),
            Mode::Failing => dice.between(0.4, 1.0),
            Mode::Gone => 1.0,
            Mode::Surge => dice.between(6.0, 10.0),
            Mode::Logging => dice.between(0.3, 1.0),
        };
        Self { mode, key, value: names(key, at), strength, rate: dice.between(15.0, 30.0), weights }
    }

    fn draw(&self, dice: &mut Dice) -> Draw {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        let mut at = Vec::new();
        for (key, weights) in &self.weights {
            let place = dice.pick(weights);
            at.push(place);
            pairs.push((key, names(key, place)));
        }
        let pod = at[5];
        pairs.pop();
        // Company: what takes in the cause, what is a part of it, what mostly goes along with it.
        pairs.push(("cloud.continent", ["eu", "eu", "us", "us", "ap"][at[0]].to_owned()));
        pairs.push(("cloud.zone", format!("{}{}", names("cloud.region", at[0]), ["a", "b", "c"][dice.below(3)])));
        pairs.push(("currency", if dice.share() < 0.8 { ["EUR", "EUR", "USD", "USD", "JPY"][at[0]] } else { "GBP" }.to_owned()));
        pairs.push(("build.commit", if dice.share() < 0.85 { format!("c0ffee{}", at[1]) } else { "c0ffee9".to_owned() }));
        pairs.push(("customer.is_paying", (at[2] > 0).to_string()));
        pairs.push(("endpoint.group", format!("group-{}", at[3] / 2)));
        pairs.push(("feature.new_basket", (dice.share() < 0.3).to_string()));
        pairs.push(("device.type", ["phone", "desktop", "tablet", "tv"][dice.pick(&[5.0, 3.0, 1.0, 0.5])].to_owned()));
        pairs.push(("http.request.method", "POST".to_owned()));
        pairs.push(("user_agent.name", format!("agent-{}", dice.below(12))));
        pairs.push(("user.id", format!("u{}", dice.below(3_000))));
        pairs.push(("request.id", format!("{:016x}", dice.next())));
        pairs.push(("http.request.body.size", dice.below(20_000).to_string()));
        Draw { pod, pairs }
    }

    fn is_ill(&self, draw: &Draw) -> bool {
        let is_pod = self.key == "k8s.pod.name" && names(self.key, draw.pod) == self.value;
        is_pod || draw.pairs.iter().any(|(key, value)| *key == self.key && *value == self.value)
    }

    /// One second of traces and logs, as requests; `is_on`: the fault lasts.
    pub fn second(&self, dice: &mut Dice, end_ns: u64, is_on: bool) -> (Vec<u8>, Vec<u8>) {
        let mut spans: Vec<Vec<Span>> = vec![Vec::new(); 4];
        let mut records: Vec<Vec<LogRecord>> = vec![Vec::new(); 4];
        let whole = self.rate.floor() + f64::from(u8::from(dice.share() < self.rate.fract()));
        for _ in 0..(whole + dice.normal() * whole.sqrt()).max(0.0) as usize {
            let draw = self.draw(dice);
            let ill = is_on && self.is_ill(&draw);
            let copies = match self.mode {
                Mode::Gone if ill => 0,
                Mode::Surge if ill => 1 + (self.strength + dice.share()) as usize - 1,
                _ => 1,
            };
            for copy in 0..copies {
                let mut draw = if copy == 0 { Draw { pod: draw.pod, pairs: draw.pairs.clone() } } else { self.again(dice) };
                let slower = if ill && self.mode == Mode::Slow { self.strength } else { 1.0 };
                let failed = dice.share() < if ill && self.mode == Mode::Failing { self.strength } else { 0.004 };
                let says = dice.share() < if ill && self.mode == Mode::Logging { self.strength } else { 0.02 };
                let ns = (30e6 * (0.4 * dice.normal()).exp() * slower) as u64;
                let at = end_ns - dice.next() % SECOND_NS;
                if says {
                    records[draw.pod].push(record(at, &draw.pairs));
                }
                draw.pairs.push(("http.response.status_code", if failed { "503" } else { "200" }.to_owned()));
                if failed {
                    draw.pairs.push(("error.type", "Unavailable".to_owned()));
                }
                spans[draw.pod].push(span(dice, (at - ns, at), failed, draw.pairs));
            }
        }
        (traces(spans), logs(records))
    }

    /// Another request with the value.
    fn again(&self, dice: &mut Dice) -> Draw {
        loop {
            let draw = self.draw(dice);
            if self.is_ill(&draw) {
                return draw;
            }
        }
    }
}

fn pair((key, value): &(&str, String)) -> KeyValue {
    let value = match value.parse::<i64>() {
        Ok(number) => Value::IntValue(number),
        Err(_) if value == "true" || value == "false" => Value::BoolValue(value == "true"),
        Err(_) => Value::StringValue(value.clone()),
    };
    KeyValue { key: (*key).into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(dice: &mut Dice, (start, end): (u64, u64), failed: bool, pairs: Vec<(&str, String)>) -> Span {
    Span {
        trace_id: [dice.next().to_be_bytes(), dice.next().to_be_bytes()].concat(),
        span_id: dice.next().to_be_bytes().to_vec(),
        name: "POST /pay".into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: pairs.iter().map(pair).collect(),
        status: Some(Status { code: if failed { 2 } else { 0 }, ..Status::default() }),
        ..Span::default()
    }
}

fn record(at: u64, pairs: &[(&str, String)]) -> LogRecord {
    LogRecord {
        time_unix_nano: at,
        severity_number: 13,
        body: Some(AnyValue { value: Some(Value::StringValue("payment was slow to answer, trying again".into())) }),
        attributes: pairs.iter().map(pair).collect(),
        ..LogRecord::default()
    }
}

fn resource(pod: usize) -> Option<Resource> {
    let pairs = [
        ("service.name", "checkout".to_owned()),
        ("k8s.pod.name", names("k8s.pod.name", pod)),
        ("host.name", format!("node-{}", pod / 2)),
        ("telemetry.sdk.language", "rust".to_owned()),
    ];
    Some(Resource { attributes: pairs.iter().map(pair).collect(), ..Resource::default() })
}

fn traces(spans: Vec<Vec<Span>>) -> Vec<u8> {
    let of_pod = |(pod, spans): (usize, Vec<Span>)| ResourceSpans {
        resource: resource(pod),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: spans.into_iter().enumerate().map(of_pod).collect() }.encode_to_vec()
}

fn logs(records: Vec<Vec<LogRecord>>) -> Vec<u8> {
    let of_pod = |(pod, log_records): (usize, Vec<LogRecord>)| ResourceLogs {
        resource: resource(pod),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: records.into_iter().enumerate().map(of_pod).collect() }.encode_to_vec()
}
