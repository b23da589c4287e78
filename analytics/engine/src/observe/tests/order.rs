//! Neither the order of rows within the lateness, nor a restart, changes what windows end up with.

use super::Seen;
use crate::{
    fixture::{TestPoint, TestSpan, at, logs, points, span, spans},
    observe::Observer,
    settings::Settings,
};
use geophone_proto::{Seq, UnixNanos, batch::Batch, series::SeriesKey};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Traces of a front, a client span, a callee and an inner span, one about each second.
fn traces(seeds: &[(u64, u8)]) -> Vec<TestSpan> {
    let mut rows = Vec::new();
    for (number, (jitter, shape)) in (1u64..).zip(seeds) {
        let end_s = number as f64 + *jitter as f64 / 1000.0;
        let front = span("front", "GET /", number * 10, end_s, 50 + jitter % 40);
        let client = TestSpan { peer: "cart".into(), ..span("front", "call", number * 10 + 1, end_s - 0.001, 40).kind(3).under(&front) };
        let callee = span("cart", "add", number * 10 + 2, end_s - 0.002, 20 + jitter % 15).kind(2).under(&client);
        let inner = span("cart", "inner", number * 10 + 3, end_s - 0.004, 10).kind(0).under(&callee);
        let entry = span("ledger", "book", number * 10 + 4, end_s - 0.005, 5).kind(0).under(&callee);
        let failed = shape % 3 == 0;
        rows.extend([front, client, if failed { callee.failed() } else { callee }]);
        if shape % 2 == 0 {
            rows.extend([inner, entry]);
        }
    }
    rows
}

fn values(seen: &Seen) -> BTreeMap<(u64, SeriesKey), (f64, f64, f64, String)> {
    let settled = seen.observer.settled().unwrap_or_default();
    let windows = seen.windows.iter().filter(|window| UnixNanos(window.start_ns + window.length_ns) <= settled);
    let rows = windows.flat_map(|window| window.rows.iter().map(move |row| (window.start_ns, row)));
    let mut values = BTreeMap::new();
    for (start_ns, row) in rows {
        let key = (start_ns, seen.series[&row.series].key);
        values.insert(key, (row.stat.n, row.stat.s1, row.stat.s2, format!("{:?} {:?}", row.shown, row.exemplars)));
    }
    values.retain(|_, value| value.0 > 0.0);
    values
}

fn run(batches: &[Batch]) -> Seen {
    let mut seen = Seen::new(&Settings::default());
    batches.iter().for_each(|batch| seen.batch(batch));
    seen.batch(&spans(at(2000.0), &[span("end", "end", 1, 1999.0, 1)]));
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    // Scenario: the same spans, in batches of a few seconds, in order and shuffled within the lateness.
    // Guarantees: every settled value, exemplars included, is the same to the last bit.
    #[test]
    fn order_within_lateness_does_not_change_settled_values(
        seeds in prop::collection::vec((0u64..900, any::<u8>()), 150..220),
        delays in prop::collection::vec(0u64..40, 1100),
        backwards in any::<bool>(),
    ) {
        let rows = traces(&seeds);
        let in_order: Vec<Batch> = rows.chunks(37).map(|rows| spans(rows.iter().map(|row| row.end_ns).max().unwrap_or(0), rows)).collect();
        let mut late: Vec<(u64, TestSpan)> = rows.iter().zip(&delays).map(|(row, delay)| (row.end_ns + delay * 1_000_000_000, row.clone())).collect();
        late.sort_by_key(|(arrival, _)| *arrival);
        let shuffled: Vec<Batch> = late.chunks(23).map(|chunk| {
            let mut rows: Vec<TestSpan> = chunk.iter().map(|(_, row)| row.clone()).collect();
            if backwards { rows.reverse(); }
            spans(chunk.last().map_or(0, |(arrival, _)| *arrival), &rows)
        }).collect();
        let (mut a, mut b) = (run(&in_order), run(&shuffled));
        prop_assert_eq!(b.counted("too_late"), 0);
        prop_assert_eq!(a.counted("duplicate"), 0);
        let (left, right) = (values(&a), values(&b));
        prop_assert!(left.len() > 100);
        prop_assert_eq!(left, right);
    }

    // Scenario: cumulative counters of two streams, exported each 5 s, in any order within the lateness.
    // Guarantees: rates with their resets are the same to the last bit.
    #[test]
    fn order_of_points_does_not_change_rates(steps in prop::collection::vec((0u64..1000, 0u64..30), 40)) {
        let mut total = 0;
        let rows: Vec<(u64, TestPoint)> = (1u64..).zip(&steps).map(|(number, (step, delay))| {
            total = if step % 13 == 0 { *step } else { total + step };
            let at_ns = at(5.0 * number as f64);
            let point = TestPoint { service: "cart", metric: "requests", kind: 1, temporality: 2, monotonic: true, at_ns, value: total as f64, ..TestPoint::default() };
            (at_ns + delay * 1_000_000_000, point)
        }).collect();
        let mut late = rows.clone();
        late.sort_by_key(|(arrival, _)| *arrival);
        let batches = |rows: &[(u64, TestPoint)]| rows.iter().map(|(arrival, row)| points(*arrival, std::slice::from_ref(row))).collect::<Vec<_>>();
        prop_assert_eq!(values(&run(&batches(&rows))), values(&run(&batches(&late))));
    }
}

// Scenario: a stream is cut after each of its batches, the observer is written out and read back.
// Guarantees: what comes afterwards is what would have come: replay = live.
#[test]
fn a_snapshot_goes_on_as_if_nothing_had_happened() {
    let seeds: Vec<(u64, u8)> = (0..120u64).map(|n| (n * 37 % 900, (n % 7) as u8)).collect();
    let rows = traces(&seeds);
    let mut batches: Vec<Batch> = rows.chunks(29).map(|rows| spans(rows.iter().map(|row| row.end_ns).max().unwrap_or(0), rows)).collect();
    batches.insert(5, logs(at(30.0), &[("cart", 29.0, 17, "user 17 failed"), ("cart", 29.5, 9, "ok")]));
    let mut whole = Observer::new(&Settings::default());
    let mut cut = Observer::new(&Settings::default());
    for (seq, batch) in (0u64..).zip(&batches) {
        whole.batch(batch, Seq(seq));
        cut.batch(batch, Seq(seq));
        let bytes = postcard::to_stdvec(&cut).expect("plain state");
        cut = postcard::from_bytes(&bytes).expect("what was just written");
    }
    whole.finish();
    cut.finish();
    assert_eq!(whole.new_series(), cut.new_series());
    assert_eq!(format!("{:?}", whole.drain()), format!("{:?}", cut.drain()));
    assert_eq!(whole.settled(), cut.settled());
}
