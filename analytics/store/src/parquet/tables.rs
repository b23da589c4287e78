//! The tables made from telemetry, `spans`, `metric_points`, `logs` and `profiles`: their columns and how each is
//! filled. SQL, Parquet and the names in the documentation all come from here.

use super::{
    cells::{Part, RowsOf, flags, floats, ints, lists, shared, text, text_ref},
    json_text::{attributes, events, hex},
};
use arrow_array::{Array, Float64Array, ListArray};
use geophone_proto::{
    Batch, Signal,
    columns::{Logs, PointKind, Points, Samples, Spans, severity_str, span_kind_str, status_str},
};
use polars::prelude::{Column, DataFrame, DataType, PolarsResult};

/// A table of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Telemetry {
    Spans,
    MetricPoints,
    Logs,
    Profiles,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Float,
    /// Single precision, as models see it.
    Single,
    Flag,
    Floats,
}

impl Type {
    pub(crate) fn dtype(self) -> DataType {
        match self {
            Self::Text => DataType::String,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Single => DataType::Float32,
            Self::Flag => DataType::Boolean,
            Self::Floats => DataType::List(Box::new(DataType::Float64)),
        }
    }
}

/// Columns of `spans`.
const SPANS: &[(&str, Type)] = &[
    ("trace_id", Type::Text),
    ("span_id", Type::Text),
    ("parent_span_id", Type::Text),
    ("service", Type::Text),
    ("name", Type::Text),
    ("kind", Type::Text),
    ("start_ns", Type::Int),
    ("end_ns", Type::Int),
    ("duration_ns", Type::Int),
    ("status", Type::Text),
    ("status_message", Type::Text),
    ("route", Type::Text),
    ("peer", Type::Text),
    ("attributes", Type::Text),
    ("events", Type::Text),
    ("resource", Type::Text),
    ("version", Type::Text),
    ("instance", Type::Text),
    ("scope", Type::Text),
    ("tenant", Type::Text),
];

/// Columns that files of pressed spans hold as lists of JSON members, and everybody else as JSON objects.
pub(crate) const LISTS: &[&str] = &["attributes"];

/// Columns of `metric_points`.
const METRIC_POINTS: &[(&str, Type)] = &[
    ("metric", Type::Text),
    ("service", Type::Text),
    ("type", Type::Text),
    ("unit", Type::Text),
    ("time_ns", Type::Int),
    ("start_ns", Type::Int),
    ("value", Type::Float),
    ("count", Type::Int),
    ("temporality", Type::Text),
    ("monotonic", Type::Flag),
    ("flags", Type::Int),
    ("bounds", Type::Floats),
    ("buckets", Type::Floats),
    ("trace_id", Type::Text),
    ("span_id", Type::Text),
    ("attributes", Type::Text),
    ("resource", Type::Text),
    ("version", Type::Text),
    ("instance", Type::Text),
    ("scope", Type::Text),
    ("tenant", Type::Text),
];

/// Columns of `logs`.
const LOGS: &[(&str, Type)] = &[
    ("time_ns", Type::Int),
    ("service", Type::Text),
    ("severity", Type::Text),
    ("severity_number", Type::Int),
    ("severity_text", Type::Text),
    ("body", Type::Text),
    ("trace_id", Type::Text),
    ("span_id", Type::Text),
    ("attributes", Type::Text),
    ("resource", Type::Text),
    ("version", Type::Text),
    ("instance", Type::Text),
    ("scope", Type::Text),
    ("tenant", Type::Text),
];

/// Columns of `profiles`: one row a sample.
const PROFILES: &[(&str, Type)] = &[
    ("time_ns", Type::Int),
    ("duration_ns", Type::Int),
    ("service", Type::Text),
    ("profile_id", Type::Text),
    ("sample_type", Type::Text),
    ("unit", Type::Text),
    ("value", Type::Int),
    ("count", Type::Int),
    ("period_ns", Type::Int),
    ("observations", Type::Text),
    ("stack", Type::Text),
    ("trace_id", Type::Text),
    ("span_id", Type::Text),
    ("attributes", Type::Text),
    ("resource", Type::Text),
    ("version", Type::Text),
    ("instance", Type::Text),
    ("scope", Type::Text),
    ("tenant", Type::Text),
];

/// Times and counts are signed, so that SQL can subtract them; beyond the year 2262 they stop.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Telemetry {
    pub(crate) const ALL: [Self; 4] = [Self::Spans, Self::MetricPoints, Self::Logs, Self::Profiles];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::MetricPoints => "metric_points",
            Self::Logs => "logs",
            Self::Profiles => "profiles",
        }
    }

    pub(crate) const fn columns(self) -> &'static [(&'static str, Type)] {
        match self {
            Self::Spans => SPANS,
            Self::MetricPoints => METRIC_POINTS,
            Self::Logs => LOGS,
            Self::Profiles => PROFILES,
        }
    }

    /// The table that a batch's rows go to.
    pub(crate) const fn of(batch: &Batch) -> Self {
        Self::of_signal(batch.signal())
    }

    /// The table of a signal.
    pub(crate) const fn of_signal(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Spans,
            Signal::Metrics => Self::MetricPoints,
            Signal::Logs => Self::Logs,
            Signal::Profiles => Self::Profiles,
        }
    }

    /// The named columns of these rows, in the order named; unknown names are left out.
    pub(crate) fn frame(self, names: &[&str], parts: &[Part]) -> PolarsResult<DataFrame> {
        let height = parts.iter().map(Part::len).sum();
        let columns: Vec<Column> = names
            .iter()
            .filter_map(|name| {
                match self {
                    Self::Spans => span_column(name, parts),
                    Self::MetricPoints => point_column(name, parts),
                    Self::Logs => log_column(name, parts),
                    Self::Profiles => sample_column(name, parts),
                }
                .transpose()
            })
            .collect::<PolarsResult<_>>()?;
        DataFrame::new(height, columns)
    }
}

/// Columns that every table has: who sent it.
fn origin_column<T: RowsOf>(name: &str, parts: &[Part]) -> PolarsResult<Option<Column>> {
    let resource = |write: fn(&Batch, usize, &mut String)| shared(name, parts, T::resource_of, write).map(Some);
    match name {
        "service" => resource(|batch, row, out| out.push_str(batch.resources.service().value(row))),
        "version" => resource(|batch, row, out| out.push_str(batch.resources.version().value(row))),
        "instance" => resource(|batch, row, out| out.push_str(batch.resources.instance().value(row))),
        "resource" => resource(|batch, row, out| attributes(batch.resources.attributes().value(row), out)),
        "tenant" => resource(|batch, _, out| out.push_str(&batch.tenant.0)),
        "scope" => shared(name, parts, T::scope_of, |batch, row, out| out.push_str(batch.scopes.name().value(row))).map(Some),
        _ => Ok(None),
    }
}

fn span_column(name: &str, parts: &[Part]) -> PolarsResult<Option<Column>> {
    Ok(Some(match name {
        "trace_id" => text::<Spans>(name, parts, |rows, row, out| hex(rows.trace_id().value(row), out)),
        "span_id" => text::<Spans>(name, parts, |rows, row, out| hex(rows.span_id().value(row), out)),
        "parent_span_id" => text::<Spans>(name, parts, |rows, row, out| hex(rows.parent_span_id().value(row), out)),
        "name" => text_ref::<Spans>(name, parts, |rows, row| rows.name().value(row)),
        "kind" => text_ref::<Spans>(name, parts, |rows, row| span_kind_str(rows.kind().value(row))),
        "start_ns" => ints::<Spans>(name, parts, |rows, row| signed(rows.start_ns().value(row))),
        "end_ns" => ints::<Spans>(name, parts, |rows, row| signed(rows.end_ns().value(row))),
        "duration_ns" => {
            ints::<Spans>(name, parts, |rows, row| signed(rows.end_ns().value(row)).saturating_sub(signed(rows.start_ns().value(row))))
        }
        "status" => text_ref::<Spans>(name, parts, |rows, row| status_str(rows.status().value(row))),
        "status_message" => text_ref::<Spans>(name, parts, |rows, row| rows.status_message().value(row)),
        "route" => text_ref::<Spans>(name, parts, |rows, row| rows.route().value(row)),
        "peer" => text_ref::<Spans>(name, parts, |rows, row| rows.peer().value(row)),
        "attributes" => text::<Spans>(name, parts, |rows, row, out| attributes(rows.attributes().value(row), out)),
        "events" => text::<Spans>(name, parts, |rows, row, out| events(rows.events().value(row), out)),
        other => return origin_column::<Spans>(other, parts),
    }))
}

/// One row's list; cells hold `Float64` by the schema.
fn floats_of(lists: &ListArray, row: usize) -> Vec<f64> {
    let values = lists.value(row);
    values.as_any().downcast_ref::<Float64Array>().map(|values| values.values().to_vec()).unwrap_or_default()
}

fn point_column(name: &str, parts: &[Part]) -> PolarsResult<Option<Column>> {
    Ok(Some(match name {
        "metric" => text_ref::<Points>(name, parts, |rows, row| rows.metric().value(row)),
        "type" => {
            text_ref::<Points>(name, parts, |rows, row| PointKind::from_u8(rows.kind().value(row)).map_or("unknown", PointKind::as_str))
        }
        "unit" => text_ref::<Points>(name, parts, |rows, row| rows.unit().value(row)),
        "time_ns" => ints::<Points>(name, parts, |rows, row| signed(rows.time_ns().value(row))),
        "start_ns" => ints::<Points>(name, parts, |rows, row| signed(rows.start_ns().value(row))),
        "value" => floats::<Points>(name, parts, |rows, row| rows.value().value(row)),
        "count" => ints::<Points>(name, parts, |rows, row| signed(rows.count().value(row))),
        "temporality" => text_ref::<Points>(name, parts, |rows, row| match rows.temporality().value(row) {
            1 => "DELTA",
            2 => "CUMULATIVE",
            _ => "UNSPECIFIED",
        }),
        "monotonic" => flags::<Points>(name, parts, |rows, row| rows.monotonic().value(row)),
        "flags" => ints::<Points>(name, parts, |rows, row| rows.flags().value(row).into()),
        "bounds" => lists::<Points>(name, parts, |rows, row| floats_of(rows.bounds(), row)),
        "buckets" => lists::<Points>(name, parts, |rows, row| floats_of(rows.buckets(), row)),
        "trace_id" => text::<Points>(name, parts, |rows, row, out| hex(rows.exemplar_trace_id().value(row), out)),
        "span_id" => text::<Points>(name, parts, |rows, row, out| hex(rows.exemplar_span_id().value(row), out)),
        "attributes" => text::<Points>(name, parts, |rows, row, out| attributes(rows.attributes().value(row), out)),
        other => return origin_column::<Points>(other, parts),
    }))
}

fn log_column(name: &str, parts: &[Part]) -> PolarsResult<Option<Column>> {
    Ok(Some(match name {
        "time_ns" => ints::<Logs>(name, parts, |rows, row| signed(rows.time_ns().value(row))),
        "severity" => text_ref::<Logs>(name, parts, |rows, row| severity_str(rows.severity().value(row))),
        "severity_number" => ints::<Logs>(name, parts, |rows, row| rows.severity().value(row).into()),
        "severity_text" => text_ref::<Logs>(name, parts, |rows, row| rows.severity_text().value(row)),
        "body" => text_ref::<Logs>(name, parts, |rows, row| rows.body().value(row)),
        "trace_id" => text::<Logs>(name, parts, |rows, row, out| hex(rows.trace_id().value(row), out)),
        "span_id" => text::<Logs>(name, parts, |rows, row, out| hex(rows.span_id().value(row), out)),
        "attributes" => text::<Logs>(name, parts, |rows, row, out| attributes(rows.attributes().value(row), out)),
        other => return origin_column::<Logs>(other, parts),
    }))
}

fn sample_column(name: &str, parts: &[Part]) -> PolarsResult<Option<Column>> {
    Ok(Some(match name {
        "time_ns" => ints::<Samples>(name, parts, |rows, row| signed(rows.time_ns().value(row))),
        "duration_ns" => ints::<Samples>(name, parts, |rows, row| signed(rows.duration_ns().value(row))),
        "profile_id" => text::<Samples>(name, parts, |rows, row, out| hex(rows.profile_id().value(row), out)),
        "sample_type" => text_ref::<Samples>(name, parts, |rows, row| rows.sample_type().value(row)),
        "unit" => text_ref::<Samples>(name, parts, |rows, row| rows.unit().value(row)),
        "value" => ints::<Samples>(name, parts, |rows, row| rows.value().value(row)),
        "count" => ints::<Samples>(name, parts, |rows, row| signed(rows.count().value(row))),
        "period_ns" => ints::<Samples>(name, parts, |rows, row| signed(rows.period_ns().value(row))),
        "observations" => text_ref::<Samples>(name, parts, |rows, row| rows.observations().value(row)),
        "stack" => text_ref::<Samples>(name, parts, |rows, row| rows.stack().value(row)),
        "trace_id" => text::<Samples>(name, parts, |rows, row, out| hex(rows.trace_id().value(row), out)),
        "span_id" => text::<Samples>(name, parts, |rows, row, out| hex(rows.span_id().value(row), out)),
        "attributes" => text::<Samples>(name, parts, |rows, row, out| attributes(rows.attributes().value(row), out)),
        other => return origin_column::<Samples>(other, parts),
    }))
}
