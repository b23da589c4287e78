//! A tenant's cap on series: nothing that is sent makes more of them, and what finds no room is told.

use super::Seen;
use crate::{
    fixture::{TestPoint, TestSpan, at, logs, points, span},
    settings::Settings,
};
use geophone_proto::{SeriesKind, Tenant, series::Series};
use std::collections::BTreeMap;

const SERVICES: u64 = 200;
const CAP: usize = 20;

fn capped(cap: usize) -> Seen {
    Seen::new(&Settings { series_of_tenant: BTreeMap::from([(Tenant::default(), cap)]), ..Settings::default() })
}

/// Forty seconds of two hundred services that send what `rows` says, then the end.
fn play(seen: &mut Seen, mut rows: impl FnMut(&mut Seen, u64, f64)) {
    for second in 0..40u64 {
        rows(seen, second, second as f64 + 0.5);
        seen.tick(at(second as f64 + 0.6));
    }
    seen.finish();
}

/// Every service is called by the one before it, and has an operation of its own, inner work and entries.
fn calls(second: u64, end_s: f64) -> Vec<TestSpan> {
    let of_service = |n: u64| {
        let id = (second * SERVICES + n) * 10 + 1;
        let service = format!("s{n}");
        let server = span(&service, &format!("GET /{service}"), id, end_s, 50);
        let inner = span(&service, &format!("work {n}"), id + 1, end_s - 0.01, 20).kind(1).under(&server);
        let client = span(&service, "call", id + 2, end_s - 0.01, 20).kind(3).under(&server);
        let called = span(&format!("s{}", (n + 1) % SERVICES), "GET /called", id + 3, end_s - 0.012, 15).under(&client);
        [server, inner, client, called]
    };
    (0..SERVICES).flat_map(of_service).collect()
}

fn name(n: u64) -> &'static str {
    format!("s{n}").leak()
}

fn gauges(end_s: f64) -> Vec<TestPoint> {
    let gauge = |n| TestPoint { service: name(n), metric: name(n), at_ns: at(end_s), value: 1.0, ..TestPoint::default() };
    (0..SERVICES).map(gauge).collect()
}

fn records(end_s: f64) -> Vec<(&'static str, f64, u8, &'static str)> {
    (0..SERVICES).map(|n| (name(n), end_s, if n % 2 == 0 { 9 } else { 17 }, "disk full")).collect()
}

fn marked(seen: &Seen) -> Vec<&Series> {
    seen.series.values().filter(|series| series.labels.get("overflow").is_some_and(|mark| mark == "true")).collect()
}

/// Samples of a kind in the window that starts at second 10, in all series together.
fn samples(seen: &Seen, kind: SeriesKind) -> f64 {
    let start_ns = at(10.0);
    let mut newest = BTreeMap::new();
    for row in seen.windows.iter().filter(|window| window.start_ns == start_ns).flat_map(|window| &window.rows) {
        newest.insert(row.series, row.stat.n);
    }
    newest.iter().filter(|(series, _)| seen.series[series].kind == kind).map(|(_, n)| n).sum()
}

// Scenario: two hundred services, each with operations of its own, calling each other; a cap of twenty series.
// Guarantees: no more than twenty series, the marked set of requests and of calls among them; every request and every
// call counts in one of them.
#[test]
fn operations_and_edges_stay_under_the_cap_and_none_is_lost() {
    let (mut seen, mut all) = (capped(CAP), capped(1_000_000));
    play(&mut seen, |seen, second, end_s| seen.spans(at(end_s + 0.1), &calls(second, end_s)));
    play(&mut all, |seen, second, end_s| seen.spans(at(end_s + 0.1), &calls(second, end_s)));
    assert!(all.series.len() > 1000, "{}", all.series.len());
    assert!(seen.series.len() <= CAP && seen.observer.series() == seen.series.len(), "{:#?}", seen.series);
    let marked: Vec<_> = marked(&seen).into_iter().map(|series| (series.service.as_str(), series.name.as_str(), series.kind)).collect();
    for kind in [SeriesKind::RequestRate, SeriesKind::DurationP99, SeriesKind::EdgeRate, SeriesKind::EdgeErrorRatio] {
        assert_eq!(marked.iter().filter(|series| series.2 == kind).collect::<Vec<_>>(), [&("(other)", "(other)", kind)]);
    }
    for kind in [SeriesKind::RequestRate, SeriesKind::EdgeRate] {
        assert!(samples(&all, kind) > 1000.0);
        assert_eq!(samples(&seen, kind), samples(&all, kind), "{kind:?}");
    }
    assert_eq!(seen.counted("no_room"), 0);
}

// Scenario: the same with a log record a service and second, in two severities.
// Guarantees: the same.
#[test]
fn log_series_stay_under_the_cap_and_no_record_is_lost() {
    let mut seen = capped(CAP);
    play(&mut seen, |seen, _, end_s| seen.batch(&logs(at(end_s + 0.1), &records(end_s))));
    assert!(seen.series.len() <= CAP && seen.series.len() > 10, "{:#?}", seen.series);
    assert_eq!(marked(&seen).iter().map(|series| series.service.as_str()).collect::<Vec<_>>(), ["(other)"]);
    assert_eq!(samples(&seen, SeriesKind::LogRate), 10.0 * SERVICES as f64);
    assert_eq!(seen.counted("no_room"), 0);
}

// Scenario: the same with a gauge a service and second, each a metric of its own.
// Guarantees: no more than twenty series; points without one are counted, every one of them.
#[test]
fn metric_series_stay_under_the_cap_and_points_without_one_are_counted() {
    let mut seen = capped(CAP);
    play(&mut seen, |seen, _, end_s| seen.batch(&points(at(end_s + 0.1), &gauges(end_s))));
    let series = seen.series.len();
    assert!(series <= CAP && series > 10, "{:#?}", seen.series);
    assert_eq!(seen.counted("no_room"), 40 * (SERVICES - series as u64));
}

// Scenario: all of it at once, under caps of any size, the smallest with room for one series.
// Guarantees: never more series than the cap; what finds no room at all is counted.
#[test]
fn everything_together_stays_under_any_cap() {
    for cap in [1, 3, 7, 8, 16, 20, 100] {
        let mut seen = capped(cap);
        play(&mut seen, |seen, second, end_s| {
            seen.batch(&points(at(end_s + 0.1), &gauges(end_s)));
            seen.spans(at(end_s + 0.1), &calls(second, end_s));
            seen.batch(&logs(at(end_s + 0.1), &records(end_s)));
            assert!(seen.observer.series() <= cap, "{} of {cap}", seen.observer.series());
        });
        assert!(seen.series.len() <= cap, "{} of {cap}", seen.series.len());
        assert!(seen.counted("no_room") > 0);
    }
}
