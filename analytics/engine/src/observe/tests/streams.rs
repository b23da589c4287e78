//! When windows close: live, late, idle, fast, and with clocks that are wrong.

use super::Seen;
use crate::{
    fixture::{EPOCH_NS, TestPoint, TestSpan, at, points, span},
    settings::Settings,
};
use geophone_proto::{SeriesKind, UnixNanos};
use std::time::Duration;

/// Two services that flush each 5 s, a second apart; `shift` moves their wall clock.
fn live(seen: &mut Seen, from_s: u64, until_s: u64, shift: u64) {
    for second in from_s..until_s {
        for (service, phase) in [("a", 0), ("b", 2)] {
            if second % 5 == phase && second >= 5 {
                let rows: Vec<TestSpan> =
                    (0..10).map(|n| span(service, "op", second * 100 + n + phase, (second - 5) as f64 + n as f64 / 2.0, 5)).collect();
                seen.spans(at(second as f64 + 0.1) + shift, &rows);
            }
        }
        seen.tick(at(second as f64) + shift);
    }
}

// Scenario: two services flush each 5 s.
// Guarantees: each window is closed complete, once, within a few seconds of the last flush.
#[test]
fn windows_of_a_live_stream_close_complete_and_soon() {
    let mut seen = Seen::new(&Settings::default());
    live(&mut seen, 0, 120, 0);
    assert_eq!(seen.closed().len(), 11);
    assert!(seen.windows.iter().all(|window| !window.amended));
    assert_eq!(seen.value("b", "op", SeriesKind::RequestRate, 50).map(|value| value.0), Some(20.0));
    let behind = UnixNanos(at(120.0)).since(seen.observer.complete());
    assert!(behind <= 12_000_000_000, "{behind} ns behind");
}

// Scenario: the same telemetry, three hours old.
// Guarantees: the same windows.
#[test]
fn old_telemetry_closes_like_live_telemetry() {
    let (mut now, mut old) = (Seen::new(&Settings::default()), Seen::new(&Settings::default()));
    live(&mut now, 0, 120, 0);
    live(&mut old, 0, 120, 10_800_000_000_000);
    assert_eq!(now.closed(), old.closed());
    assert_eq!(now.windows, old.windows);
}

// Scenario: sixty seconds of telemetry a second, in a request per service and minute; of two hours ago, and beginning now.
// Guarantees: nothing is lost, nothing amended.
#[test]
fn telemetry_faster_than_the_clock_is_complete() {
    faster_than_the_clock(7200.0);
    faster_than_the_clock(60.0);
}

fn faster_than_the_clock(wall_s: f64) {
    let mut seen = Seen::new(&Settings::default());
    for minute in 0..60u64 {
        for (order, service) in ["a", "b", "c"].into_iter().enumerate() {
            let rows: Vec<TestSpan> =
                (0..60).map(|n| span(service, "op", minute * 1000 + n * 10 + order as u64 + 1, (minute * 60 + n) as f64, 5)).collect();
            let wall = at(wall_s) + minute * 1_000_000_000 + order as u64 * 100_000_000;
            seen.spans(wall, &rows);
            seen.tick(wall);
        }
    }
    assert_eq!((seen.counted("too_late"), seen.counted("future_time")), (0, 0));
    assert!(seen.windows.iter().all(|window| !window.amended));
    assert!(seen.closed().len() > 300, "{}", seen.closed().len());
    for service in ["a", "b", "c"] {
        assert_eq!(seen.value(service, "op", SeriesKind::RequestRate, 1200).map(|value| value.0), Some(10.0));
    }
}

// Scenario: a row comes 40 s late, another 3 min late.
// Guarantees: the first amends its window, with its series only; the second is counted.
#[test]
fn late_rows_amend_and_later_ones_are_counted() {
    let mut seen = Seen::new(&Settings::default());
    live(&mut seen, 0, 200, 0);
    seen.spans(at(200.5), &[span("a", "op", 777, 152.0, 5), span("a", "op", 778, 20.0, 5)]);
    seen.tick(at(200.6));
    live(&mut seen, 201, 230, 0);
    assert_eq!(seen.counted("too_late"), 1);
    let amended: Vec<_> = seen.windows.iter().filter(|window| window.amended).collect();
    assert_eq!(amended.iter().map(|window| (window.start_ns - EPOCH_NS) / 1_000_000_000).collect::<Vec<_>>(), [150]);
    assert!(amended[0].rows.iter().all(|row| seen.series[&row.series].service == "a"));
    assert_eq!(seen.value("a", "op", SeriesKind::RequestRate, 150).map(|value| value.0), Some(21.0));
}

// Scenario: everything falls silent; only ticks come.
// Guarantees: windows wait for a delay and two windows, then close at the pace of the wall clock with
// measured zeros; ticks alone move nothing before.
#[test]
fn silence_is_noticed_at_the_pace_of_the_clock() {
    let mut seen = Seen::new(&Settings::default());
    live(&mut seen, 0, 101, 0);
    let before = seen.closed().len();
    (101..115).for_each(|second| seen.tick(at(f64::from(second))));
    assert_eq!(seen.closed().len(), before);
    (115..200).for_each(|second| seen.tick(at(f64::from(second))));
    assert_eq!(seen.value("a", "op", SeriesKind::RequestRate, 120), Some((0.0, 0.0, 0.0)));
    assert!(seen.value("a", "op", SeriesKind::DurationP50, 120).is_some_and(|value| value.0 == 0.0 && value.2.is_nan()));
    let last = seen.closed().last().copied().expect("closed");
    assert!((140..=170).contains(&last), "{last}");
}

// Scenario: a service is gone for good, another lives on.
// Guarantees: zeros for a quarter of an hour, then its series end and are told.
#[test]
fn a_service_that_is_gone_expires() {
    let mut seen = Seen::new(&Settings::default());
    seen.spans(at(6.0), &[span("gone", "op", 1, 5.0, 5)]);
    let mut gone = Vec::new();
    for minute in 1..20u64 {
        let rows: Vec<TestSpan> = (0..60).map(|n| span("b", "op", minute * 100 + n, (minute * 60 + n) as f64, 5)).collect();
        seen.spans(at((minute * 60 + 60) as f64), &rows);
        gone.extend(seen.observer.gone_series());
    }
    assert_eq!(seen.value("gone", "op", SeriesKind::RequestRate, 840), Some((0.0, 0.0, 0.0)));
    assert_eq!(seen.value("gone", "op", SeriesKind::RequestRate, 1020), None);
    assert_eq!(gone.len(), 6);
}

// Scenario: one of four senders has a clock five minutes ahead, in live and in hours-old telemetry.
// Guarantees: nobody else is late, windows of the others close in time.
#[test]
fn one_clock_ahead_makes_nobody_late() {
    for (shift, first) in [(0, true), (0, false), (10_800_000_000_000, true), (10_800_000_000_000, false)] {
        let mut seen = Seen::new(&Settings::default());
        for second in 0..300u64 {
            let ahead = |seen: &mut Seen| {
                seen.spans(at(second as f64 + 0.2) + shift, &[span("ahead", "op", second + 1, second as f64 + 300.0, 5)]);
            };
            if first {
                ahead(&mut seen);
            }
            for (order, service) in (1u64..).zip(["a", "b", "c"]) {
                seen.spans(at(second as f64 + 0.3) + shift, &[span(service, "op", second + 1 + order * 1000, second as f64, 5)]);
            }
            if !first {
                ahead(&mut seen);
            }
            seen.tick(at(second as f64 + 0.4) + shift);
        }
        assert_eq!(seen.counted("too_late"), 0);
        let last = seen.closed().last().copied().expect("closed");
        assert!((250..=290).contains(&last), "{last}");
        assert_eq!(seen.value("a", "op", SeriesKind::RequestRate, 200).map(|value| value.0), Some(10.0));
    }
}

// Scenario: spans come each second, gauges each minute.
// Guarantees: windows of spans do not wait for gauges; a window without reading has none.
#[test]
fn metrics_each_minute_do_not_delay_spans() {
    let mut seen = Seen::new(&Settings::default());
    for second in 0..200u64 {
        seen.spans(at(second as f64 + 0.3), &[span("a", "op", second + 1, second as f64, 5)]);
        if second % 60 == 0 {
            let gauge = TestPoint { service: "a", metric: "memory", at_ns: at(second as f64), value: 7.0, ..TestPoint::default() };
            seen.batch(&points(at(second as f64 + 0.4), &[gauge]));
        }
    }
    assert!(seen.closed().last().is_some_and(|last| *last >= 180));
    assert_eq!(seen.value("a", "memory", SeriesKind::MetricValue, 120), Some((1.0, 7.0, 7.0)));
    assert!(seen.value("a", "memory", SeriesKind::MetricValue, 130).is_some_and(|value| value.0 == 0.0 && value.2.is_nan()));
}

// Scenario: the operator fixes the delay.
// Guarantees: windows close exactly that long after their end.
#[test]
fn a_fixed_delay_is_kept() {
    let mut seen = Seen::new(&Settings { delay: Some(Duration::from_secs(3)), ..Settings::default() });
    for second in 0..30u64 {
        seen.spans(at(second as f64), &[span("a", "op", second + 1, second as f64, 5)]);
        assert_eq!(seen.closed().len() as u64, second.saturating_sub(3) / 10);
    }
}

// Scenario: one service flushes each 40 s, longer than anybody waits; another each second.
// Guarantees: its windows are never told half empty or as zeros: they come, complete, by amending; when
// it falls silent, zeros come before the lateness has passed.
#[test]
fn a_slow_flusher_is_no_drop_in_traffic() {
    let mut seen = Seen::new(&Settings::default());
    for second in 0..600u64 {
        seen.spans(at(second as f64 + 0.3), &[span("quick", "op", second + 1, second as f64, 5)]);
        if second % 40 == 39 && second < 400 {
            let rows: Vec<TestSpan> = (second - 39..=second).map(|at| span("slow", "op", at + 10_000, at as f64, 5)).collect();
            seen.spans(at(second as f64 + 0.4), &rows);
        }
    }
    let rate = |series: &u32| seen.series[series].kind == SeriesKind::RequestRate && seen.series[series].service == "slow";
    for window in &seen.windows {
        let (second, row) = ((window.start_ns - EPOCH_NS) / 1_000_000_000, window.rows.iter().find(|row| rate(&row.series)));
        if let Some(row) = row.filter(|_| (80..380).contains(&second)) {
            assert_eq!(row.stat.n, 10.0, "told at {second}");
        }
    }
    assert_eq!(seen.value("slow", "op", SeriesKind::RequestRate, 300).map(|value| value.0), Some(10.0));
    assert_eq!(seen.value("slow", "op", SeriesKind::RequestRate, 450), Some((0.0, 0.0, 0.0)));
}
