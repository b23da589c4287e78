//! Names of time series: what is watched, without anybody having declared it.

use crate::{ids::Tenant, labels::Labels, time::UnixNanos};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, fmt};
use xxhash_rust::xxh3::Xxh3;

/// Fixed-seed hash of everything that names a series; the same on every machine and in every run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey(pub u128);

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl SeriesKey {
    /// Reads the 32 hex digits that `Display` writes.
    pub fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl Serialize for SeriesKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for SeriesKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a series key of 32 hex digits")))
        } else {
            u128::deserialize(deserializer).map(Self)
        }
    }
}

/// What a series measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesKind {
    /// Requests a second of an operation, counted at the span's end.
    RequestRate,
    /// Share of requests whose span status is error.
    ErrorRatio,
    /// Median duration of an operation, seconds.
    DurationP50,
    /// 95th percentile of the duration, seconds.
    DurationP95,
    /// 99th percentile of the duration, seconds.
    DurationP99,
    /// Mean time that spans of an operation spend in no child span, seconds.
    ExclusiveTime,
    /// Calls a second from one service to another.
    EdgeRate,
    /// Share of those calls that fail.
    EdgeErrorRatio,
    /// Mean of the caller's span minus the callee's span, seconds: network, queueing, pools.
    EdgeGap,
    /// Value of a gauge or non-monotonic sum.
    MetricValue,
    /// Increase a second of a monotonic sum or of a distribution's count.
    MetricRate,
    /// 95th percentile of a distribution metric.
    MetricP95,
    /// Records a second of one log template and severity.
    LogRate,
    /// A plain series of numbers (`score`).
    Value,
}

impl SeriesKind {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestRate => "request_rate",
            Self::ErrorRatio => "error_ratio",
            Self::DurationP50 => "duration_p50",
            Self::DurationP95 => "duration_p95",
            Self::DurationP99 => "duration_p99",
            Self::ExclusiveTime => "exclusive_time",
            Self::EdgeRate => "edge_rate",
            Self::EdgeErrorRatio => "edge_error_ratio",
            Self::EdgeGap => "edge_gap",
            Self::MetricValue => "metric_value",
            Self::MetricRate => "metric_rate",
            Self::MetricP95 => "metric_p95",
            Self::LogRate => "log_rate",
            Self::Value => "value",
        }
    }
}

/// One series, spelt out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Hash of all the rest.
    pub key: SeriesKey,
    /// Whose telemetry it is.
    #[serde(default)]
    pub tenant: Tenant,
    /// `service.name` of the owner; for an edge, of the callee.
    pub service: String,
    /// Operation (route or span name), metric name or log template.
    pub name: String,
    /// What is measured.
    pub kind: SeriesKind,
    /// Whatever else tells it apart (`span_kind`, `caller`, `severity`, attributes); `overflow: true`
    /// marks the one series that takes what exceeds a cap.
    pub labels: Labels,
}

impl Series {
    /// Names a series and computes its key.
    pub fn new(tenant: Tenant, service: &str, name: &str, kind: SeriesKind, labels: BTreeMap<String, String>) -> Self {
        let mut hash = Xxh3::with_seed(0x6765_6f70_686f_6e65);
        let mut part = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        [&*tenant.0, service, name, kind.as_str()].iter().for_each(|text| part(text));
        labels.iter().for_each(|(key, value)| {
            part(key);
            part(value);
        });
        Self { key: SeriesKey(hash.digest128()), tenant, service: service.into(), name: name.into(), kind, labels: labels.into() }
    }
}

/// One window of a series as the page and the API show it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// End of the window.
    pub at: UnixNanos,
    /// What was measured; `None` where nothing was.
    pub actual: Option<f64>,
    /// What was expected before it was measured.
    pub expected: Option<f64>,
    /// Lower end of the expected band.
    pub lower: Option<f64>,
    /// Upper end of the expected band.
    pub upper: Option<f64>,
    /// Calibrated score, 0 to 1; `None` while learning.
    pub score: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_changes_and_depends_on_where_a_text_ends() {
        let key = |service: &str, name: &str| Series::new(Tenant::default(), service, name, SeriesKind::RequestRate, BTreeMap::new()).key;
        assert_eq!(key("cart", "GET /cart"), key("cart", "GET /cart"));
        assert_ne!(key("cart", "GET /cart"), key("cartG", "ET /cart"));
        assert_eq!(SeriesKey::from_hex(&key("a", "b").to_string()), Some(key("a", "b")));
    }
}
