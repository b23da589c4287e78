//! Batches for tests and benches, spelt in a few words.

#![allow(dead_code, reason = "each test and bench uses a part")]

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, ListArray, StringArray, UInt8Array, UInt32Array, UInt64Array,
    types::Float64Type,
};
use geophone_proto::{
    batch::{Batch, Columns},
    columns::{Logs, Points, Resources, Scopes, Spans},
    ids::Tenant,
    time::UnixNanos,
};
use std::sync::Arc;

/// Some day, at a round hour; seconds of tests count from here.
pub const EPOCH_NS: u64 = 1_700_006_400_000_000_000;

/// Nanoseconds of a test's second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test are small and positive")]
pub fn at(seconds: f64) -> u64 {
    EPOCH_NS + (seconds * 1e9) as u64
}

/// A span in a few words.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSpan {
    pub service: String,
    pub name: String,
    pub kind: u8,
    pub trace: u64,
    pub id: u64,
    pub parent: u64,
    pub start_ns: u64,
    pub end_ns: u64,
    pub failed: bool,
    pub peer: String,
    pub route: String,
    pub attributes: Vec<u8>,
}

/// A server span without parent that ends at a second and lasts so many milliseconds.
pub fn span(service: &str, name: &str, id: u64, end_s: f64, ms: u64) -> TestSpan {
    let (start_ns, end_ns) = (at(end_s) - ms * 1_000_000, at(end_s));
    let (service, name) = (service.to_owned(), name.to_owned());
    let (peer, route) = (String::new(), String::new());
    TestSpan { service, name, kind: 2, trace: id, id, parent: 0, start_ns, end_ns, failed: false, peer, route, attributes: Vec::new() }
}

impl TestSpan {
    /// The same as a child of another.
    pub fn under(mut self, parent: &Self) -> Self {
        (self.trace, self.parent) = (parent.trace, parent.id);
        self
    }

    /// The same with another kind.
    pub fn kind(mut self, kind: u8) -> Self {
        self.kind = kind;
        self
    }

    /// The same, failed.
    pub fn failed(mut self) -> Self {
        self.failed = true;
        self
    }
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Vec<_>>().into_iter().map(Some).collect::<StringArray>())
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn small(values: impl IntoIterator<Item = u8>) -> ArrayRef {
    Arc::new(UInt8Array::from_iter_values(values))
}

fn rows_of(values: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(values.into_iter().map(|value| u32::try_from(value).expect("few rows"))))
}

fn ids(len: usize, values: impl Iterator<Item = u64>) -> ArrayRef {
    let bytes: Vec<Vec<u8>> = values
        .map(|value| {
            let mut id = value.to_be_bytes().repeat(len / 8);
            id.truncate(len);
            id
        })
        .collect();
    let width = i32::try_from(len).expect("8 or 16");
    if bytes.is_empty() {
        return Arc::new(FixedSizeBinaryArray::new_null(width, 0));
    }
    Arc::new(FixedSizeBinaryArray::try_from_iter(bytes.into_iter()).expect("equal widths"))
}

fn cells(cells: impl IntoIterator<Item = Vec<u8>>) -> ArrayRef {
    let cells: Vec<Vec<u8>> = cells.into_iter().collect();
    Arc::new(BinaryArray::from_iter_values(cells))
}

fn lists(values: impl IntoIterator<Item = Vec<f64>>) -> ArrayRef {
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>(
        values.into_iter().map(|list| Some(list.into_iter().map(Some).collect::<Vec<_>>())),
    );
    // The schema wants items without nulls.
    let (_, offsets, items, nulls) = list.into_parts();
    let data_type = geophone_proto::columns::list_of_f64();
    let arrow_schema::DataType::List(field) = data_type else { unreachable!("it is a list") };
    Arc::new(ListArray::new(field, offsets, items, nulls))
}

/// One resource per service, in order of appearance; `sender` tells instances apart.
pub fn resources(services: &[&str], attributes: &[Vec<u8>]) -> Resources {
    let hash = |service: &&str| xxhash_rust::xxh3::xxh3_64(service.as_bytes());
    let cell = |at: usize| attributes.get(at).cloned().unwrap_or_default();
    Resources::try_new(vec![
        texts(services.iter().copied()),
        texts(services.iter().map(|_| "")),
        texts(services.iter().map(|_| "")),
        texts(services.iter().map(|_| "i1")),
        numbers(services.iter().map(hash)),
        cells((0..services.len()).map(cell)),
    ])
    .expect("columns in schema order")
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut services: Vec<&str> = Vec::new();
    for name in names {
        if !services.contains(&name) {
            services.push(name);
        }
    }
    services
}

fn scopes() -> Scopes {
    Scopes::try_new(vec![texts([""]), texts([""])]).expect("columns in schema order")
}

fn place(services: &[&str], service: &str) -> usize {
    services.iter().position(|known| *known == service).expect("collected before")
}

fn batch(arrived_ns: u64, resources: Resources, columns: Columns) -> Batch {
    Batch { tenant: Tenant::default(), arrived_at: UnixNanos(arrived_ns), resources, scopes: scopes(), columns }
}

/// A batch of spans that arrives at a wall clock.
pub fn spans(arrived_ns: u64, rows: &[TestSpan]) -> Batch {
    let services = unique(rows.iter().map(|row| row.service.as_str()));
    let columns = Spans::try_new(vec![
        rows_of(rows.iter().map(|row| place(&services, &row.service))),
        rows_of(rows.iter().map(|_| 0)),
        ids(16, rows.iter().map(|row| row.trace)),
        ids(8, rows.iter().map(|row| row.id)),
        ids(8, rows.iter().map(|row| row.parent)),
        texts(rows.iter().map(|row| row.name.as_str())),
        texts(rows.iter().map(|row| row.route.as_str())),
        texts(rows.iter().map(|row| row.peer.as_str())),
        small(rows.iter().map(|row| row.kind)),
        numbers(rows.iter().map(|row| row.start_ns)),
        numbers(rows.iter().map(|row| row.end_ns)),
        small(rows.iter().map(|row| if row.failed { 2 } else { 0 })),
        texts(rows.iter().map(|_| "")),
        cells(rows.iter().map(|row| row.attributes.clone())),
        cells(rows.iter().map(|_| Vec::new())),
    ])
    .expect("columns in schema order");
    batch(arrived_ns, resources(&services, &[]), Columns::Traces(columns))
}

/// A batch of log records `(service, second, severity, body)`.
pub fn logs(arrived_ns: u64, rows: &[(&str, f64, u8, &str)]) -> Batch {
    let services = unique(rows.iter().map(|row| row.0));
    let columns = Logs::try_new(vec![
        rows_of(rows.iter().map(|row| place(&services, row.0))),
        rows_of(rows.iter().map(|_| 0)),
        numbers(rows.iter().map(|row| at(row.1))),
        small(rows.iter().map(|row| row.2)),
        texts(rows.iter().map(|_| "")),
        texts(rows.iter().map(|row| row.3)),
        ids(16, rows.iter().map(|_| 0)),
        ids(8, rows.iter().map(|_| 0)),
        cells(rows.iter().map(|_| Vec::new())),
    ])
    .expect("columns in schema order");
    batch(arrived_ns, resources(&services, &[]), Columns::Logs(columns))
}

/// A data point in a few words.
#[derive(Clone, Debug, Default)]
pub struct TestPoint {
    pub service: &'static str,
    pub metric: &'static str,
    pub kind: u8,
    pub temporality: u8,
    pub monotonic: bool,
    pub start_ns: u64,
    pub at_ns: u64,
    pub value: f64,
    pub count: u64,
    pub flags: u32,
    pub bounds: Vec<f64>,
    pub buckets: Vec<f64>,
    pub attributes: Vec<u8>,
}

/// A batch of data points.
pub fn points(arrived_ns: u64, rows: &[TestPoint]) -> Batch {
    let services = unique(rows.iter().map(|row| row.service));
    let columns = Points::try_new(vec![
        rows_of(rows.iter().map(|row| place(&services, row.service))),
        rows_of(rows.iter().map(|_| 0)),
        texts(rows.iter().map(|row| row.metric)),
        texts(rows.iter().map(|_| "1")),
        small(rows.iter().map(|row| row.kind)),
        small(rows.iter().map(|row| row.temporality)),
        Arc::new(rows.iter().map(|row| Some(row.monotonic)).collect::<BooleanArray>()),
        numbers(rows.iter().map(|row| row.start_ns)),
        numbers(rows.iter().map(|row| row.at_ns)),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))),
        numbers(rows.iter().map(|row| row.count)),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.flags))),
        lists(rows.iter().map(|row| row.bounds.clone())),
        lists(rows.iter().map(|row| row.buckets.clone())),
        ids(16, rows.iter().map(|_| 0)),
        ids(8, rows.iter().map(|_| 0)),
        cells(rows.iter().map(|row| row.attributes.clone())),
    ])
    .expect("columns in schema order");
    batch(arrived_ns, resources(&services, &[]), Columns::Metrics(columns))
}
