//! The features have two implementations, streaming in the engine and in columns here; they agree.

mod columns;
mod recursions;

use columns::Trait;
use geophone_engine::{
    Detector, Settings,
    detect::baseline::LargestDeviation,
    feature_schema,
    window::{ClosedWindow, Stat, StatKind, WindowRow},
};
use geophone_proto::{Series, SeriesKind, Tenant};
use polars::prelude::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

/// Ten minutes, so that a few hundred windows are days.
const LENGTH_NS: u64 = 600_000_000_000;
const FIRST_NS: u64 = 1_700_000_400_000_000_000;

/// A kind of sums and a series kind that has it, with the weights of its sides.
fn kinds() -> impl Strategy<Value = (Trait, SeriesKind)> {
    let of = |kind, up, down, series| (Trait { kind, up, down }, series);
    prop_oneof![
        Just(of(StatKind::Count, 0.25, 1.0, SeriesKind::RequestRate)),
        Just(of(StatKind::Share, 1.0, 0.4, SeriesKind::ErrorRatio)),
        Just(of(StatKind::LogMean, 1.0, 0.4, SeriesKind::DurationP50)),
        Just(of(StatKind::Level, 1.0, 1.0, SeriesKind::MetricValue)),
    ]
}

/// Sums of one window from three numbers in 0..1; `gaps` of them are missing.
fn stat(kind: StatKind, (a, b, c): (f64, f64, f64), (shift, gaps): (f64, f64)) -> Stat {
    let missing = c < gaps && kind != StatKind::Count;
    let n = if missing { 0.0 } else { (a * 30.0).floor() + 1.0 };
    match kind {
        StatKind::Count => {
            let count = ((a * 12.0 + shift * 20.0).max(0.0)).floor();
            Stat { n: count, s1: count, s2: 0.0 }
        }
        StatKind::Share => Stat { n, s1: (n * (b * 0.2 + shift * 0.5).clamp(0.0, 1.0)).floor(), s2: 0.0 },
        StatKind::LogMean | StatKind::Level => {
            let mean = b + shift * 4.0 - 2.0;
            Stat { n, s1: n * mean, s2: n * (mean * mean + 0.1 * a) }
        }
    }
}

fn by_engine(series_kind: SeriesKind, kind: StatKind, history: &[Stat]) -> Vec<f32> {
    let settings = Settings { allowed_lateness: Duration::ZERO, ..Settings::default() };
    let mut detector = Detector::new(&settings, Box::new(LargestDeviation::default()));
    detector.series(0, &Series::new(Tenant::default(), "shop", "op", series_kind, BTreeMap::new()), kind);
    let window = |(t, stat): (usize, &Stat)| {
        let rows = vec![WindowRow { series: 0, stat: *stat, shown: f64::NAN, exemplars: Vec::new() }];
        let start_ns = FIRST_NS + t as u64 * LENGTH_NS;
        detector.window(&ClosedWindow { start_ns, length_ns: LENGTH_NS, amended: false, rows }).window.features.x
    };
    history.iter().enumerate().flat_map(window).collect()
}

fn by_polars(its: Trait, history: &[Stat]) -> DataFrame {
    let column = |pick: fn(&Stat) -> f64| history.iter().map(pick).collect::<Vec<f64>>();
    let starts: Vec<u64> = (0..history.len() as u64).map(|t| FIRST_NS + t * LENGTH_NS).collect();
    let frame = df!("start_ns" => starts, "n" => column(|s| s.n), "s1" => column(|s| s.s1), "s2" => column(|s| s.s2));
    columns::features(frame.expect("columns are equally long"), its).expect("the expressions are valid")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    // Scenario: a series of any kind, quiet, shifted and with gaps (or read once in six windows, as a sender does that
    // flushes every minute), over one to five days.
    // Guarantees: every feature of every window is the same by the stream and by columns.
    #[test]
    fn streaming_features_equal_polars_features(
        (its, series_kind) in kinds(),
        noise in prop::collection::vec((0f64..1.0, 0f64..1.0, 0f64..1.0), 1..600),
        shift_at in 0usize..600,
        shift in -1f64..1.0,
        gaps in prop_oneof![Just(0.1), Just(5.0 / 6.0)],
    ) {
        let shifted = |t: usize| if (shift_at..shift_at + 80).contains(&t) { shift } else { 0.0 };
        let history: Vec<Stat> = noise.iter().enumerate().map(|(t, noise)| stat(its.kind, *noise, (shifted(t), gaps))).collect();
        let streamed = by_engine(series_kind, its.kind, &history);
        let frame = by_polars(its, &history);
        let names = feature_schema().names;
        prop_assert_eq!(streamed.len(), history.len() * names.len());
        for (place, name) in names.iter().enumerate() {
            let column = frame.column(name).expect("every feature is a column").cast(&DataType::Float64).expect("a number");
            let values = column.f64().expect("it was cast");
            for t in 0..history.len() {
                let (stream, polars) = (f64::from(streamed[t * names.len() + place]), values.get(t).expect("no feature is null"));
                prop_assert!((stream - polars).abs() <= 1e-4, "{} in window {}: {} by the stream, {} by polars", name, t, stream, polars);
            }
        }
    }
}
