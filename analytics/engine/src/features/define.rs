//! The one list of features: name, unit, window, formula, source. Everything else follows it.
//!
//! All are dimensionless, so one model fits every series and nothing changes with a series' unit or
//! zero. Symbols: `S_k, n_k, c_k` = sums `s1`, samples and present windows of the last k windows;
//! `d(k; c, v, W)` = deviation of those sums from a centre `c` with spread `v` that rests on mass `W`
//! (`law`); `u` = `z_1` before damping. On a series' harmless side (more traffic, faster answers,
//! fewer errors) signed features are multiplied by a weight below 1 (`detect::harm`).
//! Missing = 0. Bounded by +-20.

use geophone_proto::feature::FeatureSchema;

/// One feature, spelt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Column name.
    pub name: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// What it looks back on.
    pub window: &'static str,
    /// Recursion or rolling formula.
    pub formula: &'static str,
    /// Where the idea comes from.
    pub source: &'static str,
    /// Whether it has a side: such a feature is damped on the series' harmless side.
    pub signed: bool,
}

macro_rules! features {
    ($($constant:ident = $index:literal: $name:literal, $unit:literal, $window:literal, $signed:literal, $formula:literal, $source:literal;)+) => {
        /// All features in column order.
        pub const FEATURES: &[Feature] = &[$(Feature {
            name: $name, unit: $unit, window: $window, formula: $formula, source: $source, signed: $signed,
        }),+];
        $(pub(crate) const $constant: usize = $index;)+
    };
}

features! {
    Z_1 = 0: "z_1", "sd", "1", true, "d(1; c, v, W) / sqrt(max(1, s_1)); c, v, W: robust EWMA of 360 windows up to t-1", "signed deviance root (McCullagh, Nelder 1989)";
    Z_6 = 1: "z_6", "sd", "6", true, "d(6; c, v, W) / sqrt(max(1, s_6))", "as z_1; s_k: EWMA of min(d_k^2, 9 s_k), overdispersion and autocorrelation";
    Z_18 = 2: "z_18", "sd", "18", true, "d(18; c, v, W) / sqrt(max(1, s_18))", "as z_6";
    RECENT_1 = 3: "recent_1", "sd", "1 vs 30 before the last 6", true, "d(1; c', v, W') / sqrt(max(1, s_1)); c', W': EWMA of 30 windows up to t-6", "freshness: ramps and drifts move c' too";
    RECENT_6 = 4: "recent_6", "sd", "6 vs 30 before them", true, "d(6; c', v, W') / sqrt(max(1, s_r))", "two-sample test of neighbouring spans";
    EFFECT_6 = 5: "effect_6", "ratio", "6", true, "count: ln((S+1)/(c_6 c+1)); share: 10 (S/n - c); log mean: S/n - c; level: z_6 / 8", "size of the change, however sure";
    EFFECT_18 = 6: "effect_18", "ratio", "18", true, "as effect_6 over 18 windows", "as effect_6";
    EWMA_FAST = 7: "ewma_fast", "sd", "EWMA 0.3", true, "e += 0.3 (u - e); e sqrt((2 - 0.3) / 0.3)", "Roberts 1959";
    EWMA_SLOW = 8: "ewma_slow", "sd", "EWMA 0.05", true, "e += 0.05 (u - e); e sqrt((2 - 0.05) / 0.05)", "Roberts 1959";
    SLOPE = 9: "slope", "sd", "EWMA 0.2 - EWMA 0.05", true, "(e_0.2 - e_0.05) / its sd under white noise", "moving average convergence";
    ROBUST_Z = 10: "robust_z", "sd", "about 200", true, "(u - m) / (1.4826 max(a, 0.2)); m += 0.02 clamp(4 (u - m)), a += 0.02 clamp(4 (|u - m| - a))", "median and MAD by stochastic approximation (Robbins, Monro 1951)";
    CUSUM_UP = 11: "cusum_up", "sd", "since it was 0", true, "C = clamp(C + u - 0.5, 0, 20)", "Page 1954";
    CUSUM_DOWN = 12: "cusum_down", "sd", "since it was 0", true, "-clamp(C - u - 0.5, 0, 20)", "Page 1954; negative, so that it has a side";
    PERSISTENCE = 13: "persistence", "share", "EWMA 1/12", true, "p += (clamp(u, -1, 1) - p) / 12", "run rules (Western Electric 1956)";
    SPREAD = 14: "spread", "ln ratio", "EWMA 0.15 vs EWMA 1/360", false, "0.5 ln((f + 0.1) / (l + 0.1)); f, l: fast and slow EWMA of u^2", "variance change";
    AR_RESIDUAL = 15: "ar_residual", "sd", "1", true, "(u - phi u') / sqrt(r); phi = sum u u' / sum u'^2, r: EWMA of its square", "AR(1), exponentially weighted least squares";
    MEMORY = 16: "memory", "correlation", "EWMA 1/360", false, "phi", "lag-one autocorrelation of u";
    SEASON_Z = 17: "season_z", "sd", "6 vs same half hour of past days", true, "z_6 - mean of z_6 in this half hour of the day on past days; 0 if not known", "seasonal profile";
    SEASON_KNOWN = 18: "season_known", "flag", "days", false, "1 if this half hour was seen on 2 past days", "mask of season_z";
    EVIDENCE = 19: "evidence", "ln", "18", false, "ln(1 + n_18), at most 20", "samples under the tests";
    MISSING = 20: "missing", "share", "6", false, "1 - c_6 / min(6, age)", "mask";
    AGE = 21: "age", "share", "all", false, "1 - exp(-age / 360)", "trust in c";
    IS_COUNT = 22: "is_count", "flag", "-", false, "1 if the sums are counts", "kind";
    IS_SHARE = 23: "is_share", "flag", "-", false, "1 if hits among trials", "kind";
    IS_LOG_MEAN = 24: "is_log_mean", "flag", "-", false, "1 if logarithms of durations", "kind";
    IS_LEVEL = 25: "is_level", "flag", "-", false, "1 if readings of a level", "kind";
}

/// Number of features.
pub(crate) const WIDTH: usize = FEATURES.len();
/// Bound of every feature.
pub(crate) const BOUND: f64 = 20.0;
/// Windows of the short span.
pub(crate) const SHORT: usize = 6;
/// Windows of the long span.
pub(crate) const LONG: usize = 18;

/// Names and id, as model cards quote them.
pub fn feature_schema() -> FeatureSchema {
    FeatureSchema::of(FEATURES.iter().map(|feature| feature.name))
}
