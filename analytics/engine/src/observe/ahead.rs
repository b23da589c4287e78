//! Reads ahead what the next rows will change, so that the memory it lies in is fetched for many rows at once: what
//! is kept of some hundred operations does not fit into a core's cache, and rows taken one by one would wait for each
//! piece in turn. Changes nothing, and decides nothing.

use super::{
    observer::Parts,
    requests::Requests,
    source::{Body, Source},
};
use crate::{topology::names::OperationIndex, why::Subject};
use std::hint::black_box;

/// Rows that are read ahead of.
pub const ROWS: usize = 64;

/// A row's operation, if it is known.
pub type Known = Option<OperationIndex>;

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

fn gathered<T: Copy>(values: impl Iterator<Item = Option<T>>) -> [Option<T>; ROWS] {
    let mut all = [None; ROWS];
    all.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    all
}
