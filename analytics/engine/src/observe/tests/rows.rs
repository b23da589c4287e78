//! What single rows become.

use super::Seen;
use crate::{
    fixture::{TestPoint, TestSpan, at, logs, points, span},
    settings::Settings,
};
use geophone_proto::{SeriesKind, Tenant};

/// Spans of "tail" each second, so that windows close.
fn tail(from_s: u64, until_s: u64) -> Vec<TestSpan> {
    (from_s..until_s).map(|second| span("tail", "tail", 1_000_000 + second, second as f64, 1)).collect()
}

#[test]
fn spans_become_rate_errors_and_durations_of_the_window_they_end_in() {
    let mut seen = Seen::new(&Settings::default());
    let rows: Vec<TestSpan> = (0..40).map(|n| span("cart", "GET /cart", n + 1, n as f64 + 0.5, 100)).collect();
    seen.spans(at(40.0), &rows[..20]);
    seen.spans(at(41.0), &[rows[20..].to_vec(), vec![span("cart", "GET /cart", 99, 12.0, 100).failed()]].concat());
    seen.finish();
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 0), Some((10.0, 10.0, 1.0)));
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 10), Some((11.0, 11.0, 1.1)));
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::ErrorRatio, 10), Some((11.0, 1.0, 1.0 / 11.0)));
    let (n, _, median) = seen.value("cart", "GET /cart", SeriesKind::DurationP50, 20).expect("a row");
    assert!(n == 10.0 && (median - 0.1).abs() <= 0.001);
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 30), None, "the last window is not complete");
    let exemplars = &seen.row(("cart", "GET /cart", SeriesKind::ErrorRatio), 10).expect("a row").exemplars;
    assert_eq!(exemplars.first().map(|exemplar| exemplar.span_id.to_string()).as_deref(), Some("0000000000000063"), "the failed one first");
}

#[test]
fn a_call_gives_an_edge_and_its_gap_whatever_the_clocks() {
    let mut seen = Seen::new(&Settings::default());
    let front = span("front", "GET /", 1, 5.0, 100);
    let client = span("front", "call cart", 2, 4.99, 80).kind(3).under(&front);
    // The callee's clock is half a second off.
    let callee = span("cart", "add", 3, 5.49, 50).under(&client);
    let inner = span("cart", "work", 4, 5.48, 20).kind(1).under(&callee);
    seen.spans(at(6.0), &[inner, callee.failed(), client, front]);
    seen.spans(at(40.0), &tail(6, 40));
    seen.finish();
    assert_eq!(seen.value("cart", "add", SeriesKind::EdgeRate, 0), Some((1.0, 1.0, 0.1)));
    assert_eq!(seen.value("cart", "add", SeriesKind::EdgeErrorRatio, 0), Some((1.0, 1.0, 1.0)));
    let gap = seen.value("cart", "add", SeriesKind::EdgeGap, 0).expect("a row").2;
    assert!((gap - 0.030).abs() < 1e-9, "80 ms around 50 ms leave {gap} s");
    let exclusive = |service, name| seen.value(service, name, SeriesKind::ExclusiveTime, 0).expect("a row").2;
    assert!((exclusive("front", "GET /") - 0.020).abs() < 1e-9);
    assert!((exclusive("cart", "add") - 0.030).abs() < 1e-9);
    assert!((exclusive("cart", "work") - 0.020).abs() < 1e-9);
    assert_eq!(seen.value("cart", "work", SeriesKind::RequestRate, 0), None, "an inner span is no request");
    let topology = seen.observer.topology();
    let callees = topology.callees(&Tenant::default(), "front");
    assert_eq!(callees.iter().map(|call| (call.service.as_str(), call.inferred)).collect::<Vec<_>>(), [("cart", false)]);
    assert_eq!(topology.callers(&Tenant::default(), "cart")[0].service, "front");
    let calls = topology.operation_calls(&Tenant::default());
    assert_eq!((calls[0].caller_operation.as_str(), calls[0].callee_operation.as_str()), ("call cart", "add"));
}

#[test]
fn a_client_span_without_child_calls_its_peer_until_a_child_comes() {
    let mut seen = Seen::new(&Settings::default());
    let statement = TestSpan { peer: "postgres".into(), ..span("cart", "SELECT", 1, 5.0, 10).kind(3) };
    let call = TestSpan { peer: "stock.internal".into(), ..span("cart", "reserve", 2, 5.0, 10).kind(3) };
    let child = span("stock", "reserve", 3, 4.9, 5).under(&call);
    seen.spans(at(6.0), &[statement, call]);
    seen.spans(at(30.0), &tail(6, 30));
    assert_eq!(seen.value("postgres", "SELECT", SeriesKind::EdgeRate, 0).map(|value| value.0), Some(1.0));
    assert_eq!(seen.value("stock.internal", "reserve", SeriesKind::EdgeRate, 0).map(|value| value.0), Some(1.0));
    seen.spans(at(31.0), &[child]);
    seen.spans(at(45.0), &tail(31, 45));
    assert_eq!(seen.value("stock.internal", "reserve", SeriesKind::EdgeRate, 0).map(|value| value.0), Some(0.0));
    assert_eq!(seen.value("stock", "reserve", SeriesKind::EdgeRate, 0).map(|value| value.0), Some(1.0));
    assert!(seen.observer.topology().is_inferred(&Tenant::default(), "postgres"));
}

#[test]
fn spans_without_kind_are_requests_where_their_service_is_entered() {
    let mut seen = Seen::new(&Settings::default());
    let root = span("gateway", "/*", 1, 5.0, 100).kind(0);
    let inner = span("gateway", "filter", 2, 4.9, 80).kind(0).under(&root);
    let entry = span("orders", "list", 3, 4.8, 50).kind(0).under(&inner);
    seen.spans(at(6.0), &[entry, root, inner]);
    seen.spans(at(40.0), &tail(6, 40));
    let rate = |service, name| seen.value(service, name, SeriesKind::RequestRate, 0).map(|value| value.0);
    assert_eq!((rate("gateway", "/*"), rate("gateway", "filter"), rate("orders", "list")), (Some(1.0), None, Some(1.0)));
}

#[test]
fn rubbish_is_counted_by_reason_and_moves_no_time() {
    let mut seen = Seen::new(&Settings::default());
    let good = span("cart", "ok", 1, 5.0, 10);
    let zero = TestSpan { end_ns: 0, ..good.clone() };
    let backwards = TestSpan { start_ns: good.end_ns, end_ns: good.start_ns, ..good.clone() };
    let future = TestSpan { end_ns: at(5.0) + 3_600_000_000_000, ..good.clone() };
    seen.spans(at(6.0), &[zero, backwards, future, good.clone(), good]);
    seen.finish();
    let counts = seen.observer.counts();
    let reasons: Vec<(&str, u64)> = counts.iter().map(|count| (count.1, count.2)).collect();
    assert_eq!(reasons, [("duplicate", 1), ("future_time", 1), ("negative_duration", 1), ("zero_time", 1)]);
    assert!(seen.windows.is_empty());
    let nan = TestPoint { service: "cart", metric: "m", at_ns: at(7.0), value: f64::NAN, ..TestPoint::default() };
    let stale = TestPoint { flags: 1, value: 1.0, ..nan.clone() };
    seen.batch(&points(at(8.0), &[nan, stale]));
    assert_eq!(seen.counted("not_a_number"), 1);
    seen.batch(&points(at(8.0), &[]));
}

#[test]
fn log_records_become_rates_of_templates() {
    let mut seen = Seen::new(&Settings::default());
    seen.batch(&logs(
        at(6.0),
        &[("cart", 5.0, 9, "order 17 placed"), ("cart", 5.5, 9, "order 18 placed"), ("cart", 5.6, 17, "order 18 placed")],
    ));
    seen.spans(at(40.0), &tail(6, 40));
    let mut rates: Vec<(String, f64)> = Vec::new();
    for row in &seen.windows[0].rows {
        let series = &seen.series[&row.series];
        if series.kind == SeriesKind::LogRate {
            rates.push((format!("{} {}", &series.labels["severity"], series.name), row.stat.n));
        }
    }
    assert_eq!(rates, [("INFO order <*> placed".to_owned(), 2.0), ("ERROR order <*> placed".to_owned(), 1.0)]);
}

#[test]
fn names_with_ids_and_names_without_end_stay_within_the_cap() {
    let mut seen = Seen::new(&Settings { series_per_name_max: 120, ..Settings::default() });
    let uuids = (0..500u64).map(|n| span("a", &format!("job 550e8400-e29b-41d4-a716-{n:012x}"), n + 1, 5.0, 1));
    let words = (0..500u64).map(|n| span("b", &format!("job-{}", "x".repeat(n as usize % 150 + 1)), n + 1000, 5.0, 1));
    let logged: Vec<String> = (0..500u32).map(|n| "y ".repeat(n as usize % 140 + 1)).collect();
    seen.spans(at(6.0), &uuids.chain(words).collect::<Vec<_>>());
    seen.batch(&logs(at(6.0), &logged.iter().map(|body| ("b", 5.0, 9, body.as_str())).collect::<Vec<_>>()));
    seen.spans(at(60.0), &tail(6, 60));
    let count = |service: &str| seen.series.values().filter(|series| series.service == service).count();
    assert_eq!(count("a"), 6);
    assert!(count("b") <= 2 * (120 + 6), "{}", count("b"));
    let overflow = seen.observer.overflows().iter().map(|overflow| overflow.attribute.as_str()).collect::<Vec<_>>();
    assert_eq!(overflow, ["span.name", "body"].into_iter().filter(|name| overflow.contains(name)).collect::<Vec<_>>());
    assert!(overflow.contains(&"span.name"));
    let marked = seen.series.values().find(|series| series.labels.contains_key("overflow") && series.kind == SeriesKind::RequestRate);
    assert!(marked.is_some_and(|series| series.service == "b"));
    let total: f64 =
        seen.windows[0].rows.iter().filter(|row| seen.series[&row.series].kind == SeriesKind::RequestRate).map(|row| row.stat.n).sum();
    assert_eq!(total, 1004.0, "every span is counted somewhere");
}

#[test]
fn tails_are_tested_as_the_share_slower_than_the_past() {
    let mut seen = Seen::new(&Settings::default());
    for minute in 0..6u64 {
        let rows: Vec<TestSpan> = (0..120)
            .map(|n| {
                let slow = minute == 5 && n >= 60;
                span("cart", "add", minute * 1000 + n + 1, (minute * 60) as f64 + n as f64 / 2.0, if slow { 500 } else { 50 + n % 20 })
            })
            .collect();
        seen.spans(at((minute * 60 + 60) as f64), &rows);
    }
    seen.spans(at(400.0), &tail(360, 400));
    let calm = seen.value("cart", "add", SeriesKind::DurationP95, 300).expect("a row");
    let slow = seen.value("cart", "add", SeriesKind::DurationP95, 340).expect("a row");
    assert!(calm.0 == 20.0 && calm.1 <= 3.0, "{calm:?}");
    assert!(slow.1 == 20.0 && (slow.2 - 0.5).abs() < 0.005, "{slow:?}");
    let series = seen.series.iter().find(|(_, series)| series.service == "cart" && series.kind == SeriesKind::DurationP95);
    let samples = seen.observer.span_samples(*series.expect("known").0, geophone_proto::UnixNanos(at(350.0))).expect("requests");
    assert_eq!((samples.service.as_str(), samples.flagged.len() > 2, samples.baseline.is_empty()), ("cart", true, false));
}
