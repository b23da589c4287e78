//! Numbers and series as people say them. Used by evidence sentences, titles and verdicts.

use super::book::Live;
use geophone_proto::{Series, SeriesKind, UnixNanos};

/// Seconds with a fitting unit: `1.24 s`, `340 ms`, `12 us`.
pub fn seconds(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        format!("{value:.0} s")
    } else if size >= 1.0 {
        format!("{value:.2} s")
    } else if size >= 1e-3 {
        format!("{} ms", number(value * 1e3))
    } else {
        format!("{} us", number(value * 1e6))
    }
}

/// Three digits that matter: `0.31`, `4.2`, `1530`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "?".into()
    } else if size >= 1e7 {
        format!("{:.1}M", value / 1e6)
    } else if size >= 100.0 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.1e}")
    }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value.abs() >= 10.0 || value == 0.0 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// A value of a series in its unit.
pub fn value(kind: SeriesKind, value: f64) -> String {
    match kind {
        SeriesKind::DurationP50 | SeriesKind::DurationP95 | SeriesKind::DurationP99 | SeriesKind::ExclusiveTime | SeriesKind::EdgeGap => {
            seconds(value)
        }
        SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio => percent(value),
        SeriesKind::RequestRate | SeriesKind::EdgeRate | SeriesKind::MetricRate | SeriesKind::LogRate => format!("{}/s", number(value)),
        SeriesKind::MetricValue | SeriesKind::MetricP95 | SeriesKind::Value => number(value),
    }
}

/// What a series measures, in a few words: `` `POST /pay` p95 ``.
pub fn what(series: &Series) -> String {
    let caller = series.labels.get("caller").unwrap_or("its callers");
    match series.kind {
        SeriesKind::RequestRate => format!("`{}` request rate", series.name),
        SeriesKind::ErrorRatio => format!("`{}` error ratio", series.name),
        SeriesKind::DurationP50 => format!("`{}` p50", series.name),
        SeriesKind::DurationP95 => format!("`{}` p95", series.name),
        SeriesKind::DurationP99 => format!("`{}` p99", series.name),
        SeriesKind::ExclusiveTime => format!("`{}` exclusive time", series.name),
        SeriesKind::EdgeRate => format!("rate of calls of `{}` from {caller}", series.name),
        SeriesKind::EdgeErrorRatio => format!("error ratio of calls of `{}` from {caller}", series.name),
        SeriesKind::EdgeGap => format!("time between {caller} and `{}`", series.name),
        SeriesKind::MetricValue => format!("`{}`", series.name),
        SeriesKind::MetricRate => format!("rate of `{}`", series.name),
        SeriesKind::MetricP95 => format!("`{}` p95", series.name),
        SeriesKind::LogRate => {
            format!("{} log `{}`", series.labels.get("severity").unwrap_or(""), short(&series.name, 60)).trim_start().into()
        }
        SeriesKind::Value => series.name.clone(),
    }
}

/// At most so many characters.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect() }
}

/// How much: `3.1x expected`, `32 % (expected 0.5 %)`, `down 62 %`.
pub fn how_much(kind: SeriesKind, actual: f64, expected: f64) -> String {
    let ratio = if expected.abs() > 1e-12 { actual / expected } else { f64::INFINITY };
    match kind {
        SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio => format!("{} (expected {})", percent(actual), percent(expected)),
        _ if (0.0..1.0).contains(&ratio) => format!("down {}", percent(1.0 - ratio)),
        _ if ratio.is_finite() && (1.0..1000.0).contains(&ratio) => format!("{}x expected", number(ratio)),
        _ => format!("{} instead of {}", value(kind, actual), value(kind, expected)),
    }
}

/// Hours, minutes, seconds in UTC.
pub fn clock(at: UnixNanos) -> String {
    let text = UnixNanos(at.0 / 1_000_000_000 * 1_000_000_000).to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// Whether the value alone is unremarkable: the anomaly lies in how many windows or requests share it.
pub fn is_within_band(live: &Live) -> bool {
    let anomaly = &live.anomaly;
    match (anomaly.lower, anomaly.actual, anomaly.upper) {
        (Some(lower), Some(actual), Some(upper)) => (lower..=upper).contains(&actual),
        _ => false,
    }
}

/// An anomaly in a sentence's middle: what is how far from which band, or from what is usual.
pub fn deviation(live: &Live) -> String {
    let anomaly = &live.anomaly;
    let kind = anomaly.series.kind;
    let Some((actual, expected)) = anomaly.actual.zip(anomaly.expected) else {
        return format!("{} is unusual", what(&anomaly.series));
    };
    let is_share = matches!(kind, SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio);
    let band = match (anomaly.lower, anomaly.upper) {
        (Some(lower), Some(upper)) if !is_within_band(live) => format!("{}-{}", value(kind, lower.max(0.0).min(upper)), value(kind, upper)),
        _ => value(kind, expected),
    };
    if is_share {
        return format!("{} is {} (expected {band})", what(&anomaly.series), percent(actual));
    }
    format!("{} is {} ({}, expected {band})", what(&anomaly.series), how_much(kind, actual, expected), value(kind, actual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(seconds(1.2421), "1.24 s");
        assert_eq!(seconds(0.0341), "34.1 ms");
        assert_eq!(number(f64::NAN), "?");
        assert_eq!(how_much(SeriesKind::DurationP95, 1.24, 0.4), "3.10x expected");
        assert_eq!(how_much(SeriesKind::RequestRate, 4.0, 10.0), "down 60 %");
        assert_eq!(how_much(SeriesKind::ErrorRatio, 0.5, 0.0), "50 % (expected 0 %)");
        assert_eq!(clock(UnixNanos(1_700_000_000_900_000_000)), "22:13:20");
    }
}
