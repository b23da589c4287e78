//! One series that leaves its expected band.

use crate::{
    ids::{SpanId, TraceId},
    model::ModelRef,
    series::Series,
    stacks::Stacks,
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};

/// Open or closed: each anomaly and each incident opens and closes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Going on.
    Open,
    /// Over.
    Closed,
}

/// How much the series' own past can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maturity {
    /// Too little seen for any score.
    #[default]
    Learning,
    /// Scored against its cohort.
    Provisional,
    /// Scored against itself.
    Calibrated,
}

impl Maturity {
    /// As it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Provisional => "provisional",
            Self::Calibrated => "calibrated",
        }
    }
}

/// One feature's part of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Name of the feature.
    pub feature: String,
    /// Its part; the parts add up to the raw score minus the raw score of the baseline row.
    pub value: f64,
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeSource {
    /// On the span or log record itself.
    Row,
    /// On the resource that sent it.
    Resource,
}

/// An attribute value that stands out in an anomaly, and what the score would be without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttributeShare {
    /// Name of the attribute.
    pub key: String,
    /// Its value as text; what is no text is shown as JSON.
    pub value: String,
    /// Where it stands.
    pub source: AttributeSource,
    /// Share of the anomaly that has it: of its failed, its slow (fast) or, for rates, of all its spans or records.
    pub share: f64,
    /// Share of all spans or records before the anomaly that have it.
    pub baseline_share: f64,
    /// Calibrated score of the same window if spans and records with this value had not been there.
    pub score_without: f64,
    /// It tells how a request ended (status code, kind of error): a symptom, listed after the others.
    pub outcome: bool,
}

/// A span that shows the anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// A series that left its expected band, as the API shows it. All times are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Hash of series and opening: the same in every replay.
    pub id: String,
    /// The incident it belongs to.
    pub incident_id: Option<String>,
    /// Which series.
    pub series: Series,
    /// Open or closed.
    pub state: State,
    /// When it would have been alerted: end of the window that decided.
    pub opened_at: UnixNanos,
    /// Estimated onset.
    pub started_at: UnixNanos,
    /// End of the last anomalous window.
    pub closed_at: Option<UnixNanos>,
    /// Measured in the worst window so far.
    pub actual: Option<f64>,
    /// Expected there.
    pub expected: Option<f64>,
    /// Lower end of the band there.
    pub lower: Option<f64>,
    /// Upper end of the band there.
    pub upper: Option<f64>,
    /// Calibrated score there, 0 to 1.
    pub score: f32,
    /// Spans, points or records that the worst window rests on.
    pub evidence_count: u64,
    /// How far the series was known.
    pub maturity: Maturity,
    /// The model's output there.
    #[serde(default)]
    pub raw: Option<f64>,
    /// The model's output where every feature is as expected (all zero).
    #[serde(default)]
    pub raw_baseline: Option<f64>,
    /// Parts of the score, largest first: they add up to `raw - raw_baseline`.
    pub contributions: Vec<Contribution>,
    /// Attribute values that carry it, the strongest first.
    #[serde(default)]
    pub attributes: Vec<AttributeShare>,
    /// Who scored.
    pub model: ModelRef,
    /// Spans to look at, at most a handful.
    pub exemplars: Vec<Exemplar>,
    /// Stacks of the flagged spans.
    pub stacks: Option<Stacks>,
}
