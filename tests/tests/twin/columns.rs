//! Every feature of one series over its whole history, by polars: the definition of
//! `engine/features/define.rs` written a second time, in columns.
//!
//! What backfill and notebooks may use where the stream is not there; not what scores. Rolling sums,
//! moving averages, shifts and profiles are polars expressions; three recursions that feed back into
//! themselves (expectation, clipped averages, CUSUM) are folds over columns.

use crate::recursions::{self, Expectation, Sums};
use geophone_engine::window::StatKind;
use polars::prelude::*;

/// Short and long span, windows.
const SPANS: [usize; 2] = [6, 18];
/// Bound of every feature.
const BOUND: f64 = 20.0;

/// What is fixed for the series.
#[derive(Clone, Copy, Debug)]
pub struct Trait {
    /// Law of the sums.
    pub kind: StatKind,
    /// Weight of deviations upwards.
    pub up: f64,
    /// Weight of deviations downwards.
    pub down: f64,
}

/// `history`: one row a window with `start_ns` (u64), `n`, `s1`, `s2` (f64). Answer: one f64 column per
/// feature, in any order.
pub fn features(history: DataFrame, its: Trait) -> PolarsResult<DataFrame> {
    let sums = rolling(history, its.kind)?;
    let expected = judge(sums, its.kind)?;
    let smooth = smooth(expected)?;
    let all = season(smooth)?;
    finish(all, its)
}

fn numbers(frame: &DataFrame, name: &str) -> PolarsResult<Vec<f64>> {
    Ok(frame.column(name)?.f64()?.iter().map(|value| value.unwrap_or(0.0)).collect())
}

/// Sums over the last windows, and how many of them hold a sample.
fn rolling(history: DataFrame, kind: StatKind) -> PolarsResult<DataFrame> {
    let present = if kind == StatKind::Count { lit(1.0) } else { when(col("n").gt(lit(0.0))).then(lit(1.0)).otherwise(lit(0.0)) };
    let windows = UInt64Chunked::from_iter_values("age".into(), 1..=history.height() as u64).into_series();
    let mut frame = history;
    frame.with_column(windows.cast(&DataType::Float64)?.into())?;
    let mut sums = Vec::new();
    for span in SPANS {
        let options = || RollingOptionsFixedWindow { window_size: span, min_periods: 1, ..Default::default() };
        sums.extend(["n", "s1", "s2", "present"].map(|name| col(name).rolling_sum(options()).alias(format!("{name}_{span}"))));
    }
    frame.lazy().with_columns([present.alias("present")]).with_columns(sums).collect()
}

/// Deviations from what the past leads to expect: the recursion that feeds back.
fn judge(mut frame: DataFrame, kind: StatKind) -> PolarsResult<DataFrame> {
    let span = |suffix: &str| -> PolarsResult<Vec<Sums>> {
        let column = |name: &str| numbers(&frame, &format!("{name}{suffix}"));
        let (n, s1, s2, present) = (column("n")?, column("s1")?, column("s2")?, column("present")?);
        // A rolling sum of nothing may keep a rounding error of what has left it.
        Ok((0..n.len())
            .map(|t| Sums { n: if present[t] > 0.5 { n[t] } else { 0.0 }, s1: s1[t], s2: s2[t], present: present[t].round() })
            .collect())
    };
    let (one, short, long) = (span("")?, span("_6")?, span("_18")?);
    let mut expectation = Expectation::default();
    let judged: Vec<[f64; 7]> = (0..one.len()).map(|t| expectation.window(kind, t, [&one, &short, &long])).collect();
    for (place, name) in ["u", "z_6", "z_18", "recent_1", "recent_6", "effect_6", "effect_18"].into_iter().enumerate() {
        frame.with_column(Column::new(name.into(), judged.iter().map(|row| row[place]).collect::<Vec<f64>>()))?;
    }
    Ok(frame)
}

/// Averages over the residuals of the windows that hold a sample; others repeat the last.
fn smooth(frame: DataFrame) -> PolarsResult<DataFrame> {
    let seen = frame.clone().lazy().filter(col("present").gt(lit(0.0))).select([col("start_ns"), col("u")]).collect()?;
    // One row before all, so that every average begins where the definition says.
    let before = df!("start_ns" => [0u64], "u" => [0.0], "first" => [true])?;
    let seen = concat([before.lazy(), seen.lazy().with_columns([lit(false).alias("first")])], UnionArgs::default())?;
    let from = |start: f64, value: Expr| when(col("first")).then(lit(start)).otherwise(value);
    let average = |alpha: f64, start: f64, value: Expr| {
        from(start, value).ewm_mean(EWMOptions { alpha, adjust: false, bias: true, min_periods: 1, ignore_nulls: true })
    };
    let u = || col("u");
    let cut = |value: Expr, limit: f64| clamp(value, -limit, limit);
    let previous = || u().shift(lit(1)).fill_null(lit(0.0));
    let seen = seen
        .with_columns([
            average(0.3, 0.0, u()).alias("fast"),
            average(0.2, 0.0, u()).alias("middle"),
            average(0.05, 0.0, u()).alias("slow"),
            average(1.0 / 12.0, 0.0, cut(u(), 1.0)).alias("persistence"),
            average(0.15, 1.0, u() * u()).alias("square_fast"),
            average(1.0 / 360.0, 0.0, cut(u(), 4.0) * cut(previous(), 4.0)).alias("product"),
            average(1.0 / 360.0, 1.0, cut(previous(), 4.0) * cut(previous(), 4.0)).alias("square_before"),
        ])
        .with_columns([clamp(col("product") / at_least(col("square_before"), 0.05), -0.95, 0.98).alias("memory")])
        .with_columns([(u() - col("memory").shift(lit(1)).fill_null(lit(0.0)) * previous()).alias("residual")])
        .collect()?;
    let seen = recursions::clipped(seen)?;
    let rows = frame
        .lazy()
        .join(seen.lazy().drop(by_name(["u"], true, false)), [col("start_ns")], [col("start_ns")], JoinArgs::new(JoinType::Left))
        .collect()?;
    carry(rows)
}

/// Windows without a sample repeat the averages before them; at the very start they are as they begin.
fn carry(frame: DataFrame) -> PolarsResult<DataFrame> {
    let begins = [("square_fast", 1.0), ("square_slow", 1.0), ("square_before", 1.0)];
    let names = [
        "fast",
        "middle",
        "slow",
        "persistence",
        "square_fast",
        "square_slow",
        "square_before",
        "product",
        "memory",
        "cusum_up",
        "cusum_down",
    ];
    let filled = names.map(|name| {
        let start = begins.iter().find(|(own, _)| *own == name).map_or(0.0, |(_, start)| *start);
        col(name).fill_null_with_strategy(FillNullStrategy::Forward(None)).fill_null(lit(start))
    });
    let now = ["robust_z", "ar_residual"].map(|name| col(name).fill_null(lit(0.0)));
    frame.lazy().sort(["age"], SortMultipleOptions::default()).with_columns(filled).with_columns(now).collect()
}

/// The usual `z_6` of this half hour of the day, from past days.
fn season(frame: DataFrame) -> PolarsResult<DataFrame> {
    const BIN_NS: u64 = 1_800_000_000_000;
    let frame = frame.lazy().with_columns([(col("start_ns") / lit(BIN_NS)).cast(DataType::UInt64).alias("bin")]);
    let means = frame
        .clone()
        .group_by([col("bin")])
        .agg([(clamp(col("z_6"), -6.0, 6.0) * col("present")).sum().alias("sum"), col("present").sum().alias("windows")])
        .filter(col("windows").gt(lit(0.0)))
        .sort(["bin"], SortMultipleOptions::default())
        .collect()?;
    let bins: Vec<u64> = means.column("bin")?.u64()?.iter().flatten().collect();
    let (sum, windows) = (numbers(&means, "sum")?, numbers(&means, "windows")?);
    let values: Vec<(u64, f64)> = bins.iter().zip(sum.iter().zip(&windows)).map(|(bin, (sum, windows))| (*bin, sum / windows)).collect();
    let mut frame = frame.collect()?;
    let usual: Vec<Option<f64>> = frame.column("bin")?.u64()?.iter().flatten().map(|bin| recursions::usual(&values, bin)).collect();
    frame.with_column(Column::new("usual".into(), usual))?;
    Ok(frame)
}

/// Scales, kinds and the harmless side.
fn finish(frame: DataFrame, its: Trait) -> PolarsResult<DataFrame> {
    let white = |alpha: f64| ((2.0 - alpha) / alpha).sqrt();
    let slope_sd = (0.2f64 / 1.8 + 0.05 / 1.95 - 0.02 / (0.25 - 0.01)).sqrt();
    let is = |kind: StatKind| lit(f64::from(u8::from(its.kind == kind)));
    let count =
        if its.kind == StatKind::Count { col("n_18") } else { when(col("present_18").gt(lit(0.5))).then(col("n_18")).otherwise(lit(0.0)) };
    let sided = |value: Expr| {
        let bounded = clamp(value, -BOUND, BOUND);
        when(bounded.clone().gt(lit(0.0))).then(bounded.clone() * lit(its.up)).otherwise(bounded * lit(its.down))
    };
    let mut columns: Vec<Expr> = [
        (col("u") * col("present"), "z_1"),
        (col("fast") * lit(white(0.3)), "ewma_fast"),
        (col("slow") * lit(white(0.05)), "ewma_slow"),
        ((col("middle") - col("slow")) / lit(slope_sd), "slope"),
        (lit(0.0) - col("cusum_down"), "cusum_down"),
        ((col("z_6") - col("usual")).fill_null(lit(0.0)), "season_z"),
    ]
    .map(|(value, name)| sided(value).alias(name))
    .into();
    let as_is = ["z_6", "z_18", "recent_1", "recent_6", "effect_6", "effect_18", "robust_z", "cusum_up", "persistence", "ar_residual"];
    columns.extend(as_is.map(|name| sided(col(name)).alias(name)));
    columns.extend([
        (((col("square_fast") + lit(0.1)) / (col("square_slow") + lit(0.1))).log(lit(std::f64::consts::E)) * lit(0.5)).alias("spread"),
        col("memory"),
        when(col("usual").is_null()).then(lit(0.0)).otherwise(lit(1.0)).alias("season_known"),
        clamp((count + lit(1.0)).log(lit(std::f64::consts::E)), 0.0, BOUND).alias("evidence"),
        (lit(1.0) - col("present_6") / when(col("age").lt(lit(6.0))).then(col("age")).otherwise(lit(6.0))).alias("missing"),
        (lit(1.0) - (lit(0.0) - col("age") / lit(360.0)).exp()).alias("age"),
        is(StatKind::Count).alias("is_count"),
        is(StatKind::Share).alias("is_share"),
        is(StatKind::LogMean).alias("is_log_mean"),
        is(StatKind::Level).alias("is_level"),
    ]);
    frame.lazy().select(columns).collect()
}

fn clamp(value: Expr, low: f64, high: f64) -> Expr {
    let raised = at_least(value, low);
    when(raised.clone().gt(lit(high))).then(lit(high)).otherwise(raised)
}

fn at_least(value: Expr, low: f64) -> Expr {
    when(value.clone().lt(lit(low))).then(lit(low)).otherwise(value)
}
