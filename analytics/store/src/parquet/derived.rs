//! The tables made from what the brain derived: `features`, `scores`, `bands` (one row a series and
//! window), `anomalies`, `incidents`, `actions` (one row a thing, its newest version).

use super::Type;
use geophone_proto::{UnixNanos, action::Action, anomaly::Anomaly, feature::FeatureSchema, incident::Incident};
use polars::prelude::{
    Column, DataFrame, Float64Chunked, Int64Chunked, IntoColumn, IntoSeries, NewChunkedArray, PolarsResult, StringChunked,
};
use serde::Serialize;
use std::sync::Arc;

/// A table of derived rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Derived {
    Features,
    Scores,
    Bands,
    Anomalies,
    Incidents,
    Actions,
}

const KEY: &[(&str, Type)] = &[("series", Type::Text), ("service", Type::Text), ("at_ns", Type::Int)];
const SCORES: &[(&str, Type)] =
    &[("raw", Type::Single), ("score", Type::Single), ("model", Type::Text), ("version", Type::Text), ("role", Type::Text)];
const BANDS: &[(&str, Type)] = &[
    ("window_ns", Type::Int),
    ("actual", Type::Float),
    ("expected", Type::Float),
    ("lower", Type::Float),
    ("upper", Type::Float),
    ("score", Type::Single),
    ("maturity", Type::Text),
];
const ANOMALIES: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("incident_id", Type::Text),
    ("tenant", Type::Text),
    ("series", Type::Text),
    ("service", Type::Text),
    ("name", Type::Text),
    ("kind", Type::Text),
    ("labels", Type::Text),
    ("state", Type::Text),
    ("opened_at", Type::Text),
    ("opened_ns", Type::Int),
    ("started_at", Type::Text),
    ("started_ns", Type::Int),
    ("closed_at", Type::Text),
    ("closed_ns", Type::Int),
    ("actual", Type::Float),
    ("expected", Type::Float),
    ("lower", Type::Float),
    ("upper", Type::Float),
    ("score", Type::Float),
    ("evidence_count", Type::Int),
    ("maturity", Type::Text),
    ("raw", Type::Float),
    ("raw_baseline", Type::Float),
    ("contributions", Type::Text),
    ("attributes", Type::Text),
    ("model", Type::Text),
    ("version", Type::Text),
    ("exemplars", Type::Text),
    ("stacks", Type::Text),
];
const INCIDENTS: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("tenant", Type::Text),
    ("state", Type::Text),
    ("severity", Type::Text),
    ("title", Type::Text),
    ("verdict", Type::Text),
    ("service", Type::Text),
    ("opened_at", Type::Text),
    ("opened_ns", Type::Int),
    ("started_at", Type::Text),
    ("started_ns", Type::Int),
    ("closed_at", Type::Text),
    ("closed_ns", Type::Int),
    ("suspects", Type::Text),
    ("anomalies", Type::Text),
    ("actions", Type::Text),
    ("services", Type::Text),
    ("attributes", Type::Text),
    ("timeline", Type::Text),
];
const ACTIONS: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("incident_id", Type::Text),
    ("policy", Type::Text),
    ("state", Type::Text),
    ("operation", Type::Text),
    ("undo", Type::Text),
    ("reason", Type::Text),
    ("decided_at", Type::Text),
    ("decided_ns", Type::Int),
    ("verify_until", Type::Text),
    ("output", Type::Text),
];

impl Derived {
    pub(crate) const ALL: [Self; 6] = [Self::Features, Self::Scores, Self::Bands, Self::Anomalies, Self::Incidents, Self::Actions];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Scores => "scores",
            Self::Bands => "bands",
            Self::Anomalies => "anomalies",
            Self::Incidents => "incidents",
            Self::Actions => "actions",
        }
    }

    /// Names and types in order; those of `features` follow the engine's list.
    pub(crate) fn columns(self, features: &FeatureSchema) -> Vec<(String, Type)> {
        let fixed = |parts: &[&[(&str, Type)]]| parts.concat().into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        match self {
            Self::Features => {
                let mut columns: Vec<(String, Type)> = fixed(&[KEY]);
                columns.extend(features.names.iter().map(|name| (name.clone(), Type::Single)));
                columns
            }
            Self::Scores => fixed(&[KEY, SCORES]),
            Self::Bands => fixed(&[KEY, BANDS]),
            Self::Anomalies => fixed(&[ANOMALIES]),
            Self::Incidents => fixed(&[INCIDENTS]),
            Self::Actions => fixed(&[ACTIONS]),
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The word that serde writes for a plain enum.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn json<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok().filter(|text| text != "null")
}

/// Builds columns of a list of things.
struct Things<'a, T>(&'a [Arc<T>], Vec<Column>);

impl<T> Things<'_, T> {
    fn text(&mut self, name: &str, get: impl Fn(&T) -> Option<String>) -> &mut Self {
        let values: Vec<Option<String>> = self.0.iter().map(|thing| get(thing)).collect();
        self.1.push(StringChunked::from_slice_options(name.into(), &values).into_series().into_column());
        self
    }

    fn int(&mut self, name: &str, get: impl Fn(&T) -> Option<u64>) -> &mut Self {
        let values: Vec<Option<i64>> = self.0.iter().map(|thing| get(thing).map(signed)).collect();
        self.1.push(Int64Chunked::from_slice_options(name.into(), &values).into_series().into_column());
        self
    }

    fn float(&mut self, name: &str, get: impl Fn(&T) -> Option<f64>) -> &mut Self {
        let values: Vec<Option<f64>> = self.0.iter().map(|thing| get(thing)).collect();
        self.1.push(Float64Chunked::from_slice_options(name.into(), &values).into_series().into_column());
        self
    }

    /// A time twice: `NAME_at` for people, `NAME_ns` for arithmetic.
    fn time(&mut self, name: &str, get: impl Fn(&T) -> Option<UnixNanos>) -> &mut Self {
        self.text(&format!("{name}_at"), |thing| get(thing).map(|at| at.to_string()));
        self.int(&format!("{name}_ns"), |thing| get(thing).map(|at| at.0))
    }

    fn frame(&mut self) -> PolarsResult<DataFrame> {
        DataFrame::new(self.0.len(), std::mem::take(&mut self.1))
    }
}

/// All columns of `anomalies`.
pub(crate) fn anomaly_frame(anomalies: &[Arc<Anomaly>]) -> PolarsResult<DataFrame> {
    Things(anomalies, Vec::new())
        .text("id", |it| Some(it.id.clone()))
        .text("incident_id", |it| it.incident_id.clone())
        .text("tenant", |it| Some(it.series.tenant.0.to_string()))
        .text("series", |it| Some(it.series.key.to_string()))
        .text("service", |it| Some(it.series.service.clone()))
        .text("name", |it| Some(it.series.name.clone()))
        .text("kind", |it| Some(it.series.kind.as_str().to_owned()))
        .text("labels", |it| json(&it.series.labels))
        .text("state", |it| Some(word(&it.state)))
        .time("opened", |it| Some(it.opened_at))
        .time("started", |it| Some(it.started_at))
        .time("closed", |it| it.closed_at)
        .float("actual", |it| it.actual)
        .float("expected", |it| it.expected)
        .float("lower", |it| it.lower)
        .float("upper", |it| it.upper)
        .float("score", |it| Some(it.score.into()))
        .int("evidence_count", |it| Some(it.evidence_count))
        .text("maturity", |it| Some(word(&it.maturity)))
        .float("raw", |it| it.raw)
        .float("raw_baseline", |it| it.raw_baseline)
        .text("contributions", |it| json(&it.contributions))
        .text("attributes", |it| json(&it.attributes))
        .text("model", |it| Some(it.model.name.clone()))
        .text("version", |it| Some(it.model.version.clone()))
        .text("exemplars", |it| json(&it.exemplars))
        .text("stacks", |it| json(&it.stacks))
        .frame()
}

/// All columns of `incidents`.
pub(crate) fn incident_frame(incidents: &[Arc<Incident>]) -> PolarsResult<DataFrame> {
    Things(incidents, Vec::new())
        .text("id", |it| Some(it.id.clone()))
        .text("tenant", |it| Some(it.tenant.0.to_string()))
        .text("state", |it| Some(word(&it.state)))
        .text("severity", |it| Some(it.severity.as_str().to_owned()))
        .text("title", |it| Some(it.title.clone()))
        .text("verdict", |it| Some(it.verdict.clone()))
        .text("service", |it| it.suspects.first().map(|suspect| suspect.service.clone()))
        .time("opened", |it| Some(it.opened_at))
        .time("started", |it| Some(it.started_at))
        .time("closed", |it| it.closed_at)
        .text("suspects", |it| json(&it.suspects))
        .text("anomalies", |it| json(&it.anomalies))
        .text("actions", |it| json(&it.actions))
        .text("services", |it| json(&it.services))
        .text("attributes", |it| json(&it.attributes))
        .text("timeline", |it| json(&it.timeline))
        .frame()
}

/// All columns of `actions`.
pub(crate) fn action_frame(actions: &[Arc<Action>]) -> PolarsResult<DataFrame> {
    Things(actions, Vec::new())
        .text("id", |it| Some(it.id.clone()))
        .text("incident_id", |it| Some(it.incident_id.clone()))
        .text("policy", |it| Some(it.policy.clone()))
        .text("state", |it| Some(word(&it.state)))
        .text("operation", |it| json(&it.operation))
        .text("undo", |it| json(&it.undo))
        .text("reason", |it| Some(it.reason.clone()))
        .time("decided", |it| Some(it.decided_at))
        .text("verify_until", |it| it.verify_until.map(|at| at.to_string()))
        .text("output", |it| Some(it.output.clone()))
        .frame()
}
