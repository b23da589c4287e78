//! Cost of a window in the detector, model aside, in nanoseconds a series: fold, features, calibration, gates.
//!
//! `cargo bench -p geophone-engine --bench fold`, and once more with `RUSTFLAGS="-C target-cpu=x86-64-v3"` (into
//! another target folder) to learn what AVX2 would give. One thread; processor time.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, missing_docs, reason = "a benchmark")]

use geophone_engine::{
    Detector, Settings, feature_schema,
    window::{ClosedWindow, Stat, StatKind, WindowRow},
};
use geophone_proto::{
    Tenant,
    feature::FeatureFrame,
    model::{Dimension, ModelCard, TensorCard},
    seam::{Model, SeamError},
    series::{Series, SeriesKind},
    time::SECOND_NS,
};
use std::{collections::BTreeMap, fs, hint::black_box};

const SERIES: u32 = 20_000;
const WINDOWS: u64 = 30;
const RUNS: usize = 7;
const LENGTH_NS: u64 = 10 * SECOND_NS;

/// A model that costs nothing.
struct Indifferent(ModelCard);

impl Model for Indifferent {
    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        scores.resize(frame.len(), 0.0);
        Ok(())
    }
}

/// Processor time of this thread so far, nanoseconds.
fn cpu_ns() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn window(number: u64) -> ClosedWindow {
    let row = |series: u32| {
        let value = f64::from(series % 97) + ((u64::from(series) * 31 + number * 17) % 23) as f64 / 10.0;
        WindowRow { series, stat: Stat { n: 1.0, s1: value, s2: value * value }, shown: value, exemplars: Vec::new() }
    };
    ClosedWindow { start_ns: number * LENGTH_NS, length_ns: LENGTH_NS, amended: false, rows: (0..SERIES).map(row).collect() }
}

fn detector() -> Detector {
    let schema = feature_schema();
    let tensor = |shape: Vec<Dimension>| TensorCard { name: "x".into(), dtype: "float32".into(), shape };
    let card = ModelCard {
        name: "indifferent".into(),
        version: "1".into(),
        sha256: String::new(),
        feature_schema: schema.id,
        features: schema.names,
        input: tensor(Vec::new()),
        output: tensor(Vec::new()),
        description: None,
        licence: None,
        trained_on: None,
        opset: None,
    };
    let mut detector = Detector::new(&Settings::default(), Box::new(Indifferent(card)));
    for number in 0..SERIES {
        let (service, name) = (format!("service-{}", number % 100), format!("operation-{number}"));
        let series = Series::new(Tenant::default(), &service, &name, SeriesKind::MetricValue, BTreeMap::new());
        detector.series(number, &series, [StatKind::Count, StatKind::Share, StatKind::LogMean, StatKind::Level][number as usize % 4]);
    }
    detector
}

fn main() {
    let windows: Vec<ClosedWindow> = (1..=WINDOWS).map(window).collect();
    let mut costs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let mut detector = detector();
            let began = cpu_ns();
            windows.iter().for_each(|window| drop(black_box(detector.window(window))));
            (cpu_ns() - began) / f64::from(SERIES) / WINDOWS as f64
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    let built_for = if cfg!(target_feature = "avx2") { "AVX2" } else { "any x86-64 (SSE2), or another architecture" };
    println!("{built_for}: {:.0} ns a series and window (of {RUNS} runs {:.0} to {:.0})", costs[RUNS / 2], costs[0], costs[RUNS - 1]);
}
