//! Scripted incidents on hand-made topologies: values in, anomalies and incidents out. A plain
//! threshold stands in for the detector.

use super::{Correlator, Findings, Release, Sight};
use crate::{
    flag::{Flag, Phase},
    window::SeriesIndex,
};
use geophone_proto::{
    Series, SeriesKind, Tenant, UnixNanos,
    anomaly::{Exemplar, Maturity, State},
    effect::ScoredWindow,
    feature::FeatureFrame,
    ids::{SpanId, TraceId},
    incident::{Incident, Severity},
};
use std::{collections::BTreeMap, sync::Arc};

const WINDOW_NS: u64 = 10_000_000_000;
const START_NS: u64 = 1_700_000_000_000_000_000;

/// Values by series; windows are played one after another.
#[derive(Default)]
struct Stage {
    is_bare: bool,
    correlator: Correlator,
    names: Vec<Arc<Series>>,
    normal: Vec<f64>,
    band: Vec<f64>,
    run: Vec<(u32, u32, bool)>,
    now: u64,
    incidents: BTreeMap<String, Incident>,
    versions: Vec<Incident>,
}

impl Stage {
    fn series(&mut self, service: &str, (name, kind): (&str, SeriesKind), caller: Option<&str>, normal: f64) -> SeriesIndex {
        let labels = caller.map(|caller| ("caller".to_owned(), caller.to_owned())).into_iter().collect();
        let series = Series::new(Tenant::default(), service, name, kind, labels);
        let index = self.names.len() as SeriesIndex;
        self.correlator.map_mut().learn_series(index, &series);
        self.names.push(Arc::new(series));
        self.normal.push(normal);
        let floor = if matches!(kind, SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio) { 0.02 } else { 0.0 };
        self.band.push((normal.abs() * 0.2).max(floor));
        self.run.push((0, 0, false));
        index
    }

    /// A service with one operation, called over edges.
    fn service(&mut self, name: &str, callers: &[&str]) {
        self.series(name, ("op", SeriesKind::RequestRate), None, 20.0);
        self.series(name, ("op", SeriesKind::ErrorRatio), None, 0.001);
        self.series(name, ("op", SeriesKind::DurationP50), None, 0.1);
        self.series(name, ("op", SeriesKind::DurationP95), None, 0.2);
        self.series(name, ("op", SeriesKind::ExclusiveTime), None, 0.03);
        for caller in callers {
            if !self.is_bare {
                self.client(caller, name);
            }
            self.series(name, ("", SeriesKind::EdgeRate), Some(caller), 20.0);
            self.series(name, ("", SeriesKind::EdgeErrorRatio), Some(caller), 0.001);
            self.series(name, ("", SeriesKind::EdgeGap), Some(caller), 0.002);
        }
        self.series(name, ("process.cpu.utilization", SeriesKind::MetricValue), None, 0.3);
        self.series(name, ("process.memory.usage", SeriesKind::MetricValue), None, 5e8);
    }

    /// The client's side of a call: that there is one says that kinds are set.
    fn client(&mut self, caller: &str, callee: &str) {
        let index = self.series(caller, (callee, SeriesKind::RequestRate), None, 20.0) as usize;
        let labels = BTreeMap::from([("span_kind".to_owned(), "client".to_owned())]);
        self.names[index] = Arc::new(Series::new(Tenant::default(), caller, callee, SeriesKind::RequestRate, labels));
        self.correlator = Correlator::default();
        for (index, series) in self.names.iter().enumerate() {
            self.correlator.map_mut().learn_series(index as SeriesIndex, series);
        }
    }

    /// Calls that get no answer: there are none but where `change` says so.
    fn unanswered(&mut self, caller: &str, callee: &str) {
        let index = self.series(callee, ("POST", SeriesKind::EdgeErrorRatio), Some(caller), 1.0);
        let labels = [("caller", caller), ("inferred", "true")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let series = Series::new(Tenant::default(), callee, "POST", SeriesKind::EdgeErrorRatio, labels.into());
        self.names[index as usize] = Arc::new(series);
    }

    fn samples(&self, index: usize, actual: f64) -> f64 {
        if is_inferred(&self.names[index]) && actual <= 0.0 { 0.0 } else { 200.0 }
    }

    /// frontend -> {checkout -> payment -> ledger, catalog}, other -> lonely.
    fn shop() -> Self {
        Self::with_kinds(true)
    }

    fn with_kinds(are_set: bool) -> Self {
        let mut stage = Self { now: START_NS, is_bare: !are_set, ..Self::default() };
        stage.service("frontend", &[]);
        stage.service("checkout", &["frontend"]);
        stage.service("payment", &["checkout"]);
        stage.service("ledger", &["payment"]);
        stage.service("catalog", &["frontend"]);
        stage.service("portal", &[]);
        stage.service("reports", &["portal"]);
        stage
    }

    fn at(&self) -> UnixNanos {
        UnixNanos(self.now)
    }

    /// Plays windows; `change` gives a factor by series.
    fn play(&mut self, windows: usize, change: impl Fn(&Series, usize) -> f64) -> Findings {
        let mut last = Findings::default();
        for number in 0..windows {
            self.now += WINDOW_NS;
            let actual: Vec<f64> = self
                .names
                .iter()
                .enumerate()
                .map(|(index, series)| wobble(index, self.now) * self.normal[index] * change(series, number))
                .collect();
            let said = (0..self.names.len()).filter(|index| !is_inferred(&self.names[*index])).collect::<Vec<_>>();
            let flags: Vec<Flag> = said.into_iter().filter_map(|index| self.flag(index, actual[index])).collect();
            let rows: Vec<(SeriesIndex, f64)> = (0..).zip(actual.iter().enumerate().map(|(at, value)| self.samples(at, *value))).collect();
            let window = ScoredWindow {
                features: FeatureFrame {
                    at: self.at(),
                    width: 0,
                    keys: self.names.iter().map(|series| series.key).collect(),
                    x: Vec::new(),
                },
                window_ns: WINDOW_NS,
                expected: self.normal.clone(),
                lower: self.normal.iter().zip(&self.band).map(|(normal, band)| normal - band).collect(),
                upper: self.normal.iter().zip(&self.band).map(|(normal, band)| normal + band).collect(),
                maturity: vec![Maturity::Calibrated; self.names.len()],
                actual,
                ..ScoredWindow::default()
            };
            let sight = Sight {
                window: &window,
                rows: &rows,
                flags: &flags,
                candidates: &[],
                known: rows.len(),
                amended: false,
                names: &self.names,
            };
            last = self.correlator.step(sight);
            for incident in &last.incidents {
                self.incidents.insert(incident.id.clone(), incident.clone());
                self.versions.push(incident.clone());
            }
        }
        last
    }

    fn flag(&mut self, index: usize, actual: f64) -> Option<Flag> {
        let (normal, band) = (self.normal[index], self.band[index]);
        let z = 4.0 * (actual - normal) / band;
        let (out, calm, is_open) = &mut self.run[index];
        (*out, *calm) = if z.abs() > 5.0 { (*out + 1, 0) } else { (0, *calm + 1) };
        let phase = match (*is_open, *out >= 2, *calm >= 6) {
            (false, true, _) => Phase::Opened,
            (true, _, true) => Phase::Closed,
            (true, ..) if *out > 0 => Phase::Continues,
            _ => return None,
        };
        *is_open = phase != Phase::Closed;
        let exemplars = vec![Exemplar { trace_id: TraceId([7; 16]), span_id: SpanId([7; 8]) }];
        Some(Flag {
            series: index as SeriesIndex,
            phase,
            at: UnixNanos(self.now),
            onset: UnixNanos(self.now).minus(2 * WINDOW_NS),
            z,
            score: 0.99,
            actual,
            expected: normal,
            lower: normal - band,
            upper: normal + band,
            n: 200.0,
            maturity: Maturity::Calibrated,
            raw: z.abs(),
            raw_baseline: 0.0,
            contributions: Vec::new(),
            attributes: Vec::new(),
            exemplars,
        })
    }

    fn only(&self) -> &Incident {
        assert_eq!(self.incidents.len(), 1, "{:#?}", self.incidents.values().map(|incident| &incident.title).collect::<Vec<_>>());
        self.incidents.values().next().expect("there is one")
    }
}

fn is_inferred(series: &Series) -> bool {
    series.labels.get("inferred").is_some()
}

/// +-4 %, repeatable.
fn wobble(index: usize, now: u64) -> f64 {
    let mixed = (index as u64 * 7919 + now / WINDOW_NS * 104_729).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    1.0 + 0.08 * (mixed as f64 / f64::from(1u32 << 24) - 0.5)
}

const fn is_duration(kind: SeriesKind) -> bool {
    matches!(kind, SeriesKind::DurationP50 | SeriesKind::DurationP95)
}

/// Payment's own time rises; everybody above waits.
fn slow_payment(series: &Series, _: usize) -> f64 {
    match (series.service.as_str(), series.kind) {
        ("payment", SeriesKind::ExclusiveTime) => 6.0,
        ("payment" | "checkout" | "frontend", kind) if is_duration(kind) => 4.0,
        _ => 1.0,
    }
}

// Scenario: a service deep in the graph gets slow; three services above suffer.
// Guarantees: one incident, cause first, critical, closed soon after, anomalies carry its id.
#[test]
fn a_slow_dependency_is_named_although_its_victims_deviate_more() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(12, slow_payment);
    let incident = stage.only().clone();
    assert_eq!(incident.suspects[0].service, "payment", "{incident:#?}");
    assert_eq!(incident.suspects[0].operation, "op");
    assert_eq!(incident.severity, Severity::Critical);
    assert!(incident.suspects.iter().map(|suspect| suspect.confidence).sum::<f64>() <= 1.0);
    assert!(incident.verdict.contains("expected") && incident.verdict.contains("cause: payment"), "{}", incident.verdict);
    assert!(incident.opened_at.since(UnixNanos(START_NS + 30 * WINDOW_NS)) <= 4 * WINDOW_NS);
    stage.play(20, |_, _| 1.0);
    let incident = stage.only();
    assert_eq!(incident.state, State::Closed);
    let closed = incident.closed_at.expect("closed incidents have an end");
    assert!(closed.since(UnixNanos(START_NS)) <= 43 * WINDOW_NS);
    assert_eq!(incident.timeline.iter().filter(|event| event.event == "closed").count(), 1);
    assert_eq!(incident.timeline.iter().filter(|event| event.event == "opened").count(), 1);
}

// Scenario: a service fails by itself, its callers pass the failure on.
// Guarantees: one incident; the failing service first.
#[test]
fn an_error_burst_belongs_to_who_fails_by_itself() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(12, |series, _| match (series.service.as_str(), series.kind) {
        ("payment" | "checkout" | "frontend", SeriesKind::ErrorRatio) | ("payment" | "checkout", SeriesKind::EdgeErrorRatio) => 300.0,
        _ => 1.0,
    });
    let incident = stage.only();
    assert_eq!(incident.suspects[0].service, "payment", "{incident:#?}");
    assert_eq!(incident.severity, Severity::Critical);
}

// Scenario: an entry service gets a fifth of its requests, and so do all below it.
// Guarantees: one incident that names the entry service.
#[test]
fn lost_traffic_belongs_to_the_first_service_that_lost_it() {
    let drop = |first: &'static [&'static str]| {
        move |series: &Series, _: usize| match series.kind {
            SeriesKind::RequestRate | SeriesKind::EdgeRate if first.contains(&series.service.as_str()) => 0.2,
            _ => 1.0,
        }
    };
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(12, drop(&["frontend", "checkout", "payment", "ledger", "catalog"]));
    assert_eq!(stage.only().suspects[0].service, "frontend", "{:#?}", stage.only());
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(12, drop(&["payment", "ledger"]));
    assert_eq!(stage.only().suspects[0].service, "payment", "{:#?}", stage.only());
}

// Scenario: the ledger is gone: it sends nothing any more, payment's calls to it fail, and so do all requests above.
// Guarantees: the one that does not answer is named, not the first that says so.
#[test]
fn calls_without_an_answer_belong_to_who_does_not_answer() {
    let mut stage = Stage::shop();
    stage.unanswered("payment", "ledger");
    let is_gone = |series: &Series| series.service == "ledger" && !is_inferred(series);
    stage.play(200, |series, _| if is_inferred(series) { 0.0 } else { 1.0 });
    stage.play(20, |series, _| match series.kind {
        SeriesKind::RequestRate | SeriesKind::EdgeRate if is_gone(series) => 0.0,
        SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio if ["frontend", "checkout", "payment"].contains(&&*series.service) => 900.0,
        _ => 1.0,
    });
    let suspects = &stage.only().suspects;
    assert_eq!(suspects[0].service, "ledger", "{suspects:#?}");
    assert!(suspects[0].evidence.iter().any(|sentence| sentence.contains("fail without a trace of it")), "{suspects:#?}");
}

// Scenario: one service on a host burns CPU; two neighbours get slower by themselves.
// Guarantees: one incident; the neighbour is first, not its victims.
#[test]
fn a_noisy_neighbour_is_named_instead_of_its_victims() {
    let mut stage = Stage::shop();
    for service in ["payment", "catalog", "reports"] {
        stage.correlator.map_mut().learn_host(&Tenant::default(), service, "node-3");
    }
    stage.play(30, |_, _| 1.0);
    stage.play(14, |series, _| match (series.service.as_str(), series.kind) {
        ("reports", SeriesKind::MetricValue) if series.name.contains("cpu") => 2.8,
        ("payment" | "catalog", SeriesKind::ExclusiveTime) => 3.0,
        ("payment" | "catalog" | "checkout" | "frontend", kind) if is_duration(kind) => 2.2,
        _ => 1.0,
    });
    assert_eq!(stage.only().suspects[0].service, "reports", "{:#?}", stage.only());
}

// Scenario: memory of one service grows without end; nothing else happens yet.
// Guarantees: one incident, not critical, naming the service and the metric.
#[test]
fn a_memory_leak_is_an_incident_before_users_feel_it() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(
        40,
        |series, number| if series.service == "catalog" && series.name.contains("memory") { 1.0 + 0.05 * number as f64 } else { 1.0 },
    );
    let incident = stage.only();
    assert_eq!(incident.suspects[0].service, "catalog");
    assert_eq!(incident.suspects[0].operation, "process.memory.usage");
    assert_eq!(incident.severity, Severity::Warning);
}

// Scenario: traffic doubles everywhere with CPU; a deploy slows one service for 30 s and lowers its memory.
// Guarantees: no incident.
#[test]
fn a_traffic_ramp_and_a_deploy_wake_nobody() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(30, |series, number| {
        let ramp = 1.0 + 0.05 * number as f64;
        match series.kind {
            SeriesKind::RequestRate | SeriesKind::EdgeRate => ramp,
            SeriesKind::MetricValue if series.name.contains("cpu") => ramp,
            _ => 1.0,
        }
    });
    stage.play(30, |_, _| 1.0);
    let release = Release { at: stage.at(), from: "1.4".into(), to: "1.5".into() };
    stage.correlator.map_mut().learn_release(&Tenant::default(), "payment", release);
    stage.play(3, |series, _| match (series.service.as_str(), series.kind) {
        ("payment", kind) if is_duration(kind) => 1.8,
        ("payment", SeriesKind::MetricValue) => 0.5,
        _ => 1.0,
    });
    stage.play(30, |_, _| 1.0);
    assert!(stage.incidents.is_empty(), "{:#?}", stage.incidents);
}

// Scenario: a fault begins with a deploy and stays.
// Guarantees: it is an incident, and the version change is named.
#[test]
fn a_fault_that_stays_after_a_deploy_names_the_version() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    let release = Release { at: stage.at(), from: "1.4".into(), to: "1.5".into() };
    stage.correlator.map_mut().learn_release(&Tenant::default(), "payment", release);
    stage.play(20, slow_payment);
    let suspect = &stage.only().suspects[0];
    assert_eq!(suspect.service, "payment");
    assert!(suspect.evidence.iter().any(|sentence| sentence.contains("version 1.4 -> 1.5")), "{suspect:#?}");
}

// Scenario: two faults at once in parts that do not call each other and share no host.
// Guarantees: two incidents, each with its own cause.
#[test]
fn two_faults_apart_are_two_incidents() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(12, |series, number| match (series.service.as_str(), series.kind) {
        ("reports", SeriesKind::ExclusiveTime) => 6.0,
        ("reports" | "portal", kind) if is_duration(kind) => 4.0,
        _ => slow_payment(series, number),
    });
    let mut causes: Vec<&str> = stage.incidents.values().map(|incident| incident.suspects[0].service.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["payment", "reports"]);
}

// Scenario: the same slowness after little and after much that was usual.
// Guarantees: what lasts longer than anything else was known is no incident any more; what was known for longer stands.
#[test]
fn what_outlasts_all_that_was_known_is_the_usual() {
    let state = |known: usize| {
        let mut stage = Stage::shop();
        stage.play(known, |_, _| 1.0);
        stage.play(15, slow_payment);
        assert_eq!(stage.only().state, State::Open, "after {known} windows");
        stage.play(15, slow_payment);
        stage.only().state
    };
    assert_eq!([state(15), state(40)], [State::Closed, State::Open]);
}

// Scenario: one metric of one service leaves its band for three windows.
// Guarantees: an anomaly, no incident.
#[test]
fn one_odd_gauge_alone_is_no_incident() {
    let mut stage = Stage::shop();
    stage.series("ledger", ("orders.open", SeriesKind::MetricValue), None, 40.0);
    stage.play(30, |_, _| 1.0);
    stage.play(3, |series, _| if series.name == "orders.open" { 2.0 } else { 1.0 });
    stage.play(10, |_, _| 1.0);
    assert!(stage.incidents.is_empty());
}

// Scenario: a fault, a snapshot in its middle, the rest played on the original and on the copy.
// Guarantees: same findings, same state.
#[test]
fn a_copy_from_a_snapshot_goes_on_alike() {
    let mut stage = Stage::shop();
    stage.play(30, |_, _| 1.0);
    stage.play(5, slow_payment);
    let bytes = postcard::to_stdvec(&stage.correlator).expect("plain data");
    let mut copy = Stage::shop();
    copy.play(30, |_, _| 1.0);
    copy.play(5, slow_payment);
    copy.correlator = postcard::from_bytes(&bytes).expect("what was written");
    stage.play(20, |_, _| 1.0);
    copy.play(20, |_, _| 1.0);
    assert_eq!(stage.incidents, copy.incidents);
    assert_eq!(stage.correlator, copy.correlator);
    assert_eq!(stage.versions, copy.versions);
}

// Scenario: kinds unset; the catalog is slow for long, and two minutes later payment gets slow too.
// Guarantees: two incidents, each with its own cause; while it stands, what is old takes no part in the new.
#[test]
fn a_fault_that_begins_in_an_old_incident_is_its_own_where_kinds_are_unset() {
    let mut stage = Stage::with_kinds(false);
    let slow_catalog = |series: &Series| match (series.service.as_str(), series.kind) {
        ("catalog", SeriesKind::ExclusiveTime) => 6.0,
        ("catalog", kind) if is_duration(kind) => 4.0,
        _ => 1.0,
    };
    stage.play(30, |_, _| 1.0);
    stage.play(14, |series, _| slow_catalog(series));
    assert_eq!(stage.only().suspects[0].service, "catalog");
    stage.play(10, |series, at| slow_catalog(series) * slow_payment(series, at));
    let mut incidents: Vec<&Incident> = stage.incidents.values().collect();
    incidents.sort_by_key(|incident| incident.opened_at);
    let named: Vec<&str> = incidents.iter().map(|incident| incident.suspects[0].service.as_str()).collect();
    assert_eq!(named, ["catalog", "payment"], "{incidents:#?}");
}

// Scenario: kinds unset; all calls that the frontend makes take longer than their callees do.
// Guarantees: it is the frontend, not its callees' networks.
#[test]
fn what_all_calls_of_a_caller_have_gained_is_the_callers_where_kinds_are_unset() {
    let mut stage = Stage::with_kinds(false);
    stage.play(30, |_, _| 1.0);
    stage.play(8, |series, _| match (series.labels.get("caller"), series.kind) {
        (Some("frontend"), SeriesKind::EdgeGap) => 40.0,
        (_, kind) if series.service == "frontend" && is_duration(kind) => 3.0,
        _ => 1.0,
    });
    assert_eq!(stage.only().suspects[0].service, "frontend", "{:#?}", stage.only());
}

// Scenario: kinds unset; the frontend is called as ever and calls nobody any more.
// Guarantees: it is the frontend that gives up early, not all the others that are gone at once.
#[test]
fn services_that_one_caller_stops_to_call_are_its_doing_where_kinds_are_unset() {
    let mut stage = Stage::with_kinds(false);
    stage.play(30, |_, _| 1.0);
    stage.play(8, |series, _| match (series.service.as_str(), series.kind) {
        ("checkout" | "catalog" | "payment" | "ledger", SeriesKind::RequestRate | SeriesKind::EdgeRate) => 0.05,
        _ => 1.0,
    });
    assert_eq!(stage.only().suspects[0].service, "frontend", "{:#?}", stage.only());
}

impl Stage {
    /// Nobody sends spans: front -> {cart -> store, tool, 10.0.0.7}, told by the service graph's metrics; the address is how the
    /// front calls the cart.
    fn metered() -> Self {
        let mut stage = Self { now: START_NS, ..Self::default() };
        for (name, requests) in [("front", 600.0), ("cart", 300.0), ("store", 500.0), ("tool", 2.0), ("10.0.0.7:80", 40.0)] {
            for (metric, normal) in [("latency.average", 0.1), ("latency.p50", 0.08), ("latency.p99", 0.4)] {
                stage.series(name, (metric, SeriesKind::MetricValue), None, normal);
            }
            stage.series(name, ("availability.average", SeriesKind::MetricValue), None, 100.0);
            stage.series(name, ("requests.sum", SeriesKind::MetricValue), None, requests);
        }
        for (client, server) in [("front", "cart"), ("cart", "store"), ("front", "tool"), ("front", "10.0.0.7:80")] {
            let index = stage.series("graph", ("traces_service_graph_request_total", SeriesKind::MetricRate), None, 1.0);
            let labels = BTreeMap::from([("client".to_owned(), client.to_owned()), ("server".to_owned(), server.to_owned())]);
            let (name, kind) = (stage.names[index as usize].name.clone(), SeriesKind::MetricRate);
            stage.names[index as usize] = Arc::new(Series::new(Tenant::default(), "graph", &name, kind, labels));
        }
        stage.correlator = Correlator::default();
        for (index, series) in stage.names.iter().enumerate() {
            stage.correlator.map_mut().learn_series(index as SeriesIndex, series);
        }
        stage
    }

    fn first(&self) -> &str {
        let incident = self.incidents.values().min_by_key(|incident| incident.opened_at).expect("there is one");
        &incident.suspects[0].service
    }
}

// Scenario: metrics and a graph only; the store gets slow, each of its callers waits for it, and a tool that hardly anybody uses is
// sixty times as slow.
// Guarantees: the cause is who lost the seconds that its callers lost, not who deviates most.
#[test]
fn without_spans_lost_seconds_are_followed_down_the_calls() {
    let mut stage = Stage::metered();
    stage.play(30, |_, _| 1.0);
    stage.play(12, |series, _| match (series.service.as_str(), series.name.starts_with("latency")) {
        ("store", true) => 4.0,
        ("cart", true) => 6.0,
        ("front", true) => 3.6,
        ("tool", true) => 60.0,
        _ => 1.0,
    });
    assert_eq!(stage.first(), "store", "{:#?}", stage.incidents);
}

// Scenario: metrics and a graph only; the cart fails some requests, no more than may happen, and most of those few that
// the front sends it by its address.
// Guarantees: an address is how a component is called, not another one to blame.
#[test]
fn without_spans_an_address_is_no_component_beside_the_one_it_leads_to() {
    let mut stage = Stage::metered();
    stage.play(30, |_, _| 1.0);
    stage.play(20, |series, _| match (series.service.as_str(), series.name.as_str()) {
        ("cart", "availability.average") => 0.83,
        ("front", "availability.average") => 0.92,
        ("10.0.0.7:80", "availability.average") => 0.2,
        _ => 1.0,
    });
    assert_eq!(stage.first(), "cart", "{:#?}", stage.incidents);
}
