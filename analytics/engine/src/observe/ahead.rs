//! Reads ahead what the next rows will change, so that the memory it lies in is fetched for many rows at once: what
//! is kept of some hundred operations does not fit into a core's cache, and rows taken one by one would wait for each
//! piece in turn. Changes nothing, and decides nothing.

use super::{
    metric::Metric,
    observer::Parts,
    requests::Requests,
    source::{Body, Source, SourceIndex, Sources},
};
use crate::{topology::names::OperationIndex, why::Subject};
use arrow_array::{FixedSizeBinaryArray, StringArray};
use std::{hint::black_box, ops::Range};

/// Rows that are read ahead of.
pub const ROWS: usize = 64;

/// A row's operation, if it is known.
pub type Known = Option<OperationIndex>;

/// Bytes that a processor fetches at once.
const LINE_BYTES: usize = 64;

/// Reads a place of each line of a column: it was written on another thread, and rows taken one by one would wait for each
/// column in turn.
pub fn lines<T: Copy>(column: &[T]) {
    column.iter().step_by((LINE_BYTES / size_of::<T>()).max(1)).for_each(|place| _ = black_box(*place));
}

/// The same for rows of a column of ids.
pub fn ids(column: &FixedSizeBinaryArray, rows: Range<usize>) {
    let width = usize::try_from(column.value_length()).unwrap_or_default();
    lines(&column.value_data()[rows.start * width..rows.end * width]);
}

/// The same for rows of a column of texts.
pub fn texts(column: &StringArray, rows: Range<usize>) {
    let ends = &column.value_offsets()[rows.start..=rows.end];
    lines(ends);
    let place = |end: Option<&i32>| end.and_then(|end| usize::try_from(*end).ok()).unwrap_or_default();
    lines(&column.value_data()[place(ends.first())..place(ends.last())]);
}

/// Reads what `Requests::add` and `Gallery::look` will want. Step by step for all rows: the steps of one row wait for
/// each other, those of different rows do not.
pub fn touch(parts: &Parts<'_>, rows: &[Known]) {
    let operations = rows.iter().map(|row| parts.topology.names.operation((*row)?).requests);
    let sources: [Option<&Source>; ROWS] = gathered(operations.map(|source| parts.sources.get(source?)));
    let requests: [Option<&Requests>; ROWS] = gathered(sources.iter().map(|source| match &source.as_ref()?.body {
        Body::Requests(requests) => Some(&**requests),
        Body::Exclusive(_) | Body::Edge(_) | Body::Metric(_) | Body::Log(_) => None,
    }));
    let of_requests = || requests.iter().flatten();
    black_box(of_requests().fold(0, |sum: usize, requests| sum.wrapping_add(requests.touch())));
    black_box(of_requests().fold(0, |sum: u64, requests| sum.wrapping_add(requests.touch_cell())));
    let subjects = || rows.iter().flatten().map(|operation| Subject::Operation(*operation));
    black_box(subjects().fold(0, |sum: usize, subject| sum.wrapping_add(parts.gallery.touch(subject))));
    black_box(subjects().fold(0, |sum: u64, subject| sum.wrapping_add(parts.gallery.touch_cell(subject))));
}

/// Reads what `Metric::put` will want of these streams: numbers of source and stream.
pub fn touch_streams(sources: &Sources, streams: &[Option<(SourceIndex, u32)>]) {
    let found = streams.iter().map(|stream| stream.and_then(|(source, _)| sources.get(source)));
    let found: [Option<&Source>; ROWS] = gathered(found);
    let metrics: [Option<&Metric>; ROWS] = gathered(found.iter().map(|source| metric_of((*source)?)));
    let places = || metrics.iter().zip(streams).filter_map(|(metric, stream)| Some(((*metric)?, (*stream)?.1)));
    black_box(places().fold(0, |sum: usize, (metric, stream)| sum.wrapping_add(metric.touch(stream))));
    black_box(places().fold(0, |sum: u64, (metric, stream)| sum.wrapping_add(metric.touch_points(stream))));
}

/// Reads what closing a window will want of these sources, as far as they are metrics: those are many.
pub fn touch_sources(sources: &[Option<Box<Source>>]) {
    let metrics: [Option<&Metric>; ROWS] = gathered(sources.iter().map(|source| metric_of(source.as_deref()?)));
    let metrics = || metrics.iter().flatten();
    black_box(metrics().fold(0, |sum: usize, metric| sum.wrapping_add(metric.touch(0))));
    black_box(metrics().fold(0, |sum: u64, metric| sum.wrapping_add(metric.touch_points(0))));
}

fn metric_of(source: &Source) -> Option<&Metric> {
    match &source.body {
        Body::Metric(metric) => Some(&**metric),
        Body::Requests(_) | Body::Exclusive(_) | Body::Edge(_) | Body::Log(_) => None,
    }
}

fn gathered<T: Copy>(values: impl Iterator<Item = Option<T>>) -> [Option<T>; ROWS] {
    let mut all = [None; ROWS];
    all.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    all
}
