//! Which side of a series hurts: weights of deviations upwards and downwards.

use geophone_proto::series::SeriesKind;

/// Weights (up, down). More traffic, faster answers, fewer errors are rarely what somebody must be
/// woken for, but very large such changes still count.
pub(crate) const fn sides(kind: SeriesKind) -> (f64, f64) {
    match kind {
        SeriesKind::RequestRate | SeriesKind::EdgeRate => (0.25, 1.0),
        SeriesKind::ErrorRatio
        | SeriesKind::EdgeErrorRatio
        | SeriesKind::DurationP50
        | SeriesKind::DurationP95
        | SeriesKind::DurationP99
        | SeriesKind::ExclusiveTime
        | SeriesKind::EdgeGap
        | SeriesKind::MetricP95
        | SeriesKind::LogRate => (1.0, 0.4),
        SeriesKind::MetricValue | SeriesKind::MetricRate | SeriesKind::Value => (1.0, 1.0),
    }
}
