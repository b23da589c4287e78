//! Rows a second through the shipped model, by batch and runtime. `cargo bench -p geophone-models`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use geophone_models::{Runtime, runtime, shipped_with};
use geophone_proto::{SeriesKey, UnixNanos, feature::FeatureFrame, seam::Model};
use std::time::Instant;

fn frame(rows: usize, width: usize) -> FeatureFrame {
    let x = (0..rows * width).map(|place| ((place * 7919) % 401) as f32 / 50.0 - 4.0).collect();
    FeatureFrame { at: UnixNanos(0), width, keys: (0..rows).map(|row| SeriesKey(row as u128)).collect(), x }
}

/// Median of five runs, each at least 50 ms.
fn rows_per_second(model: &mut dyn Model, frame: &FeatureFrame) -> f64 {
    let mut scores = Vec::new();
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let mut rows = 0;
            while start.elapsed().as_millis() < 50 {
                model.score(frame, &mut scores).expect("the shipped model scores");
                rows += frame.len();
            }
            rows as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[2]
}

fn main() {
    println!("runtime of this process: {}", runtime().name);
    for kind in [Runtime::Embedded, Runtime::OnnxRuntime] {
        let mut model = match shipped_with(kind) {
            Ok(model) => model,
            Err(error) => {
                println!("{kind:?}: skipped, {error}");
                continue;
            }
        };
        let width = model.card().features.len();
        for rows in [1, 16, 100, 256, 4096] {
            let rate = rows_per_second(model.as_mut(), &frame(rows, width));
            println!("{kind:?} batch {rows}: {rate:.0} rows/s, {:.2} us a row", 1e6 / rate);
        }
    }
}
