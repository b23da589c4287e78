//! Rows of scored windows as columns of `features`, `scores` and `bands`. What is made at once is bounded by whoever
//! calls: sealing, a row group after the other, and SQL, with the columns that a statement names.

use super::derived::Derived;
use geophone_proto::{
    Series,
    effect::ScoredWindow,
    feature::FeatureSchema,
    model::{ModelRef, Role},
};
use polars::prelude::{
    Column, DataFrame, Float32Chunked, Float64Chunked, Int64Chunked, IntoColumn, IntoSeries, NewChunkedArray, PolarsResult, StringChunked,
};
use std::sync::Arc;

/// One series in one window.
pub(crate) struct FrameRow {
    pub(crate) window: Arc<ScoredWindow>,
    pub(crate) row: usize,
    pub(crate) service: Arc<Series>,
}

impl Derived {
    /// The named columns of rows of `features`, `scores` or `bands`; unknown names are left out. A row without a
    /// score (its series learns) is none in `scores`; one that other models scored unheard is several.
    pub(crate) fn window_frame(self, rows: &[FrameRow], names: &[&str], features: &FeatureSchema) -> PolarsResult<DataFrame> {
        let said: Vec<Said<'_>> = if self == Self::Scores { rows.iter().flat_map(said).collect() } else { Vec::new() };
        let of: Vec<&FrameRow> = if self == Self::Scores { said.iter().map(|said| said.of).collect() } else { rows.iter().collect() };
        let column = |name: &&str| {
            key_column(name, &of).or_else(|| match self {
                Self::Features => feature_column(name, &of, features),
                Self::Scores => score_column(name, &said),
                Self::Bands | Self::Anomalies | Self::Incidents | Self::Actions => band_column(name, &of),
            })
        };
        DataFrame::new(of.len(), names.iter().filter_map(column).collect())
    }
}

fn key_column(name: &str, of: &[&FrameRow]) -> Option<Column> {
    Some(match name {
        "series" => texts(name, of.iter().map(|row| row.window.features.keys[row.row].to_string())),
        "service" => texts(name, of.iter().map(|row| row.service.service.as_str())),
        "at_ns" => ints(name, of.iter().map(|row| row.window.features.at.0)),
        _ => return None,
    })
}

fn feature_column(name: &str, of: &[&FrameRow], features: &FeatureSchema) -> Option<Column> {
    let place = features.names.iter().position(|feature| feature == name)?;
    Some(singles(name, of.iter().map(|row| at(row.window.features.row(row.row), place).unwrap_or(f32::NAN))))
}

fn score_column(name: &str, said: &[Said<'_>]) -> Option<Column> {
    Some(match name {
        "raw" => singles(name, said.iter().map(|said| said.raw)),
        "score" => singles(name, said.iter().map(|said| said.score)),
        "model" => texts(name, said.iter().map(|said| &*said.model.name)),
        "version" => texts(name, said.iter().map(|said| &*said.model.version)),
        "role" => texts(name, said.iter().map(|said| said.role.as_str())),
        _ => return None,
    })
}

fn band_column(name: &str, of: &[&FrameRow]) -> Option<Column> {
    let floats = |get: fn(&ScoredWindow) -> &[f64]| {
        let values: Vec<f64> = of.iter().map(|row| at(get(&row.window), row.row).unwrap_or(f64::NAN)).collect();
        Float64Chunked::from_vec(name.into(), values).into_series().into_column()
    };
    Some(match name {
        "window_ns" => ints(name, of.iter().map(|row| row.window.window_ns)),
        "actual" => floats(|window| &window.actual),
        "expected" => floats(|window| &window.expected),
        "lower" => floats(|window| &window.lower),
        "upper" => floats(|window| &window.upper),
        "score" => singles(name, of.iter().map(|row| at(&row.window.score, row.row).unwrap_or(f32::NAN))),
        "maturity" => texts(name, of.iter().map(|row| at(&row.window.maturity, row.row).map_or("", |maturity| maturity.as_str()))),
        _ => return None,
    })
}

/// What one model said of one series in one window.
struct Said<'a> {
    of: &'a FrameRow,
    model: &'a ModelRef,
    role: Role,
    raw: f32,
    score: f32,
}

/// Everything said of a row: first who speaks, if anybody does, then shadows.
fn said(of: &FrameRow) -> impl Iterator<Item = Said<'_>> {
    let window = &*of.window;
    let (model, role) = window.speaker(of.row);
    let spoken = at(&window.score, of.row).filter(|score| !score.is_nan());
    let spoken = spoken.map(|score| Said { of, model, role, raw: at(&window.raw, of.row).unwrap_or(f32::NAN), score });
    let shadows = window.parts.iter().filter(|part| part.role == Role::Shadow).filter_map(move |part| {
        let place = part.rows.binary_search(&u32::try_from(of.row).ok()?).ok()?;
        Some(Said { of, model: &part.model, role: part.role, raw: at(&part.raw, place)?, score: at(&part.score, place)? })
    });
    spoken.into_iter().chain(shadows)
}

fn at<T: Copy>(values: &[T], row: usize) -> Option<T> {
    values.get(row).copied()
}

fn singles(name: &str, values: impl Iterator<Item = f32>) -> Column {
    Float32Chunked::from_vec(name.into(), values.collect()).into_series().into_column()
}

fn ints(name: &str, values: impl Iterator<Item = u64>) -> Column {
    let values = values.map(|value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
    Int64Chunked::from_vec(name.into(), values).into_series().into_column()
}

fn texts<T: AsRef<str>>(name: &str, values: impl Iterator<Item = T>) -> Column {
    StringChunked::from_iter_values(name.into(), values).into_series().into_column()
}
