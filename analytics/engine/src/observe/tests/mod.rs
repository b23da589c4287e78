//! The observer as a whole: what windows say of spans, points and records.

mod order;
mod room;
mod rows;
mod streams;

use super::Observer;
use crate::{
    fixture::{EPOCH_NS, TestSpan, spans},
    settings::Settings,
    window::{ClosedWindow, WindowRow},
};
use geophone_proto::{Seq, SeriesKind, batch::Batch, series::Series};
use std::collections::BTreeMap;

/// An observer with what it has said so far.
pub struct Seen {
    pub observer: Observer,
    pub series: BTreeMap<u32, Series>,
    pub windows: Vec<ClosedWindow>,
}

impl Seen {
    pub fn new(settings: &Settings) -> Self {
        Self { observer: Observer::new(settings), series: BTreeMap::new(), windows: Vec::new() }
    }

    pub fn drain(&mut self) {
        self.series.extend(self.observer.new_series().into_iter().map(|(index, series, _)| (index, series)));
        self.windows.extend(self.observer.drain());
    }

    pub fn batch(&mut self, batch: &Batch) {
        self.observer.batch(batch, Seq(1));
        self.drain();
    }

    pub fn spans(&mut self, arrived_ns: u64, rows: &[TestSpan]) {
        self.batch(&spans(arrived_ns, rows));
    }

    pub fn tick(&mut self, at_ns: u64) {
        self.observer.tick(geophone_proto::UnixNanos(at_ns));
        self.drain();
    }

    pub fn finish(&mut self) {
        self.observer.finish();
        self.drain();
    }

    /// Newest row of a series in the window that starts at a second.
    pub fn row(&self, (service, name, kind): (&str, &str, SeriesKind), start_s: u64) -> Option<&WindowRow> {
        let named = |series: &Series| series.service == service && series.name == name && series.kind == kind;
        let start_ns = EPOCH_NS + start_s * 1_000_000_000;
        let rows = self.windows.iter().filter(|window| window.start_ns == start_ns).flat_map(|window| &window.rows);
        rows.rev().find(|row| named(&self.series[&row.series]))
    }

    /// Its `(n, s1, shown)`.
    pub fn value(&self, service: &str, name: &str, kind: SeriesKind, start_s: u64) -> Option<(f64, f64, f64)> {
        self.row((service, name, kind), start_s).map(|row| (row.stat.n, row.stat.s1, row.shown))
    }

    /// Seconds at which windows were closed first.
    pub fn closed(&self) -> Vec<u64> {
        self.windows.iter().filter(|window| !window.amended).map(|window| (window.start_ns - EPOCH_NS) / 1_000_000_000).collect()
    }

    pub fn counted(&mut self, reason: &str) -> u64 {
        self.observer.counts().iter().filter(|count| count.1 == reason).map(|count| count.2).sum()
    }
}
