//! Growth of counters and distributions.

use super::*;

const S: u64 = 1_000_000_000;

fn point(second: u64, start: u64, value: f64) -> Point {
    Point { at: second * S, start: start * S, value, more: None }
}

fn buckets(bounds: &[f64], counts: &[f64]) -> Option<Box<More>> {
    Some(Box::new(More { buckets: Some((bounds.to_vec(), counts.to_vec())), exemplar: None }))
}

fn rows(metric: &Metric, window: u64) -> Vec<(f64, f64)> {
    let mut rows = Vec::new();
    metric.rows(&Frame { window, length_ns: 10 * S }, 0, &mut rows);
    rows.into_iter().map(|row| (row.stat.n, row.shown)).collect()
}

fn metric(shape: Shape, is_cumulative: bool, points: Vec<Point>) -> Metric {
    let mut metric = Metric::new(shape, 10 * S);
    let stream = metric.open(is_cumulative).expect("the first");
    points.into_iter().for_each(|point| {
        metric.put(stream, point);
    });
    metric
}

#[test]
fn a_counter_gives_its_increase_a_second_and_survives_resets() {
    let mut counter = metric(Shape::Rate, true, vec![point(5, 1, 100.0), point(15, 1, 150.0), point(25, 1, 30.0), point(35, 30, 40.0)]);
    assert!(rows(&counter, 0)[0].1.is_nan(), "one point is no rate");
    assert_eq!(rows(&counter, 1), [(1.0, 5.0)]);
    assert_eq!(rows(&counter, 2), [(1.0, 3.0)], "it went down: grown from zero");
    assert_eq!(rows(&counter, 3), [(1.0, 8.0)], "another start: grown from zero since then");
    counter.settle(1);
    assert_eq!(rows(&counter, 2), [(1.0, 3.0)], "the last settled point is remembered");
    assert_eq!(counter.put(0, point(28, 1, 60.0)), [Some(2), Some(3)], "a late point changes the next one's reading");
}

#[test]
fn a_delta_is_spread_over_its_own_interval() {
    let delta = metric(Shape::Rate, false, vec![point(15, 5, 50.0), point(25, 0, 50.0)]);
    assert_eq!(rows(&delta, 1), [(1.0, 5.0)]);
    assert_eq!(rows(&delta, 2), [(1.0, 5.0)]);
}

#[test]
fn a_distribution_gives_rate_and_p95_of_what_is_new() {
    let with = |second, counts: [f64; 3]| Point { more: buckets(&[0.1, 0.2], &counts), ..point(second, 1, counts.iter().sum()) };
    let histogram =
        metric(Shape::Distribution, true, vec![with(5, [100.0, 0.0, 0.0]), with(15, [100.0, 100.0, 0.0]), with(25, [100.0, 100.0, 10.0])]);
    let (rate, p95) = (rows(&histogram, 1)[0], rows(&histogram, 1)[1]);
    assert_eq!(rate, (1.0, 10.0));
    assert!((p95.1 - 0.195).abs() < 1e-9, "{p95:?}");
    assert_eq!(rows(&histogram, 2)[1], (1.0, 0.2), "beyond the last bound nothing is known");
    assert_eq!(rows(&histogram, 3)[0].0, 0.0);
}

#[test]
fn a_summary_gives_its_quantile() {
    let with = |second| Point { more: buckets(&[0.5, 0.99], &[1.0, 3.0]), ..point(second, 1, second as f64) };
    let summary = metric(Shape::Summary, true, vec![with(5), with(15)]);
    assert_eq!(rows(&summary, 1), [(1.0, 1.0), (1.0, 3.0)]);
}

#[test]
fn the_same_moment_twice_counts_once_whichever_comes_first() {
    for order in [[1.0, 2.0], [2.0, 1.0]] {
        let gauge = metric(Shape::Value, false, order.map(|value| point(5, 0, value)).to_vec());
        assert_eq!(rows(&gauge, 0), [(1.0, 2.0)]);
    }
}
