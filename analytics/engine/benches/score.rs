//! Cost of `score`, in microseconds a point on one core: one series, and a machine of 38 metrics.
//!
//! `cargo bench -p geophone-engine --bench score`. Seeded noise with a daily wave, a row a minute.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, missing_docs, reason = "a benchmark")]

use geophone_engine::score::{Entity, Univariate};
use std::time::Instant;

const ROWS: usize = 100_000;
const METRICS: usize = 38;

/// A value of a wave with noise: no state, so that rows can be made while scoring.
fn value(row: usize, metric: usize) -> f64 {
    let mixed = (row * METRICS + metric).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise = ((mixed ^ (mixed >> 29)) % 10_007) as f64 / 10_007.0;
    (row as f64 / 1440.0 * std::f64::consts::TAU).sin() * 5.0 + noise + metric as f64
}

/// Median of five runs.
fn us_a_point(points: usize, run: impl Fn() -> f64) -> (f64, f64) {
    let mut sum = 0.0;
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            sum += run();
            start.elapsed().as_secs_f64() * 1e6 / points as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[2], sum)
}

fn main() {
    let (single, one) = us_a_point(ROWS, || {
        let mut scorer = Univariate::default();
        (0..ROWS).map(|row| scorer.row(row as f64 * 60.0, value(row, 0)).score).sum()
    });
    let (many, other) = us_a_point(ROWS / 10 * METRICS, || {
        let mut scorer = Entity::new(METRICS);
        let mut values = [0.0; METRICS];
        let mut score = |row: usize| {
            (0..METRICS).for_each(|metric| values[metric] = value(row, metric));
            scorer.row(row as f64 * 60.0, &values).score
        };
        (0..ROWS / 10).map(&mut score).sum()
    });
    println!("one series: {single:.2} us a point; {METRICS} metrics: {many:.2} us a point (scores {:.0})", one + other);
}
