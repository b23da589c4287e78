//! The observer as a whole: what windows say of spans, points and records.

use super::Observer;
use crate::{
    fixture::{EPOCH_NS, TestSpan, at, span, spans},
    settings::Settings,
    window::ClosedWindow,
};
use geophone_proto::{Seq, SeriesKind, UnixNanos, series::Series};
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

    pub fn spans(&mut self, arrived_ns: u64, rows: &[TestSpan]) {
        self.observer.batch(&spans(arrived_ns, rows), Seq(1));
        self.drain();
    }

    pub fn finish(&mut self) {
        self.observer.finish();
        self.drain();
    }

    /// Newest `(n, s1, shown)` of a series in the window that starts at a second.
    pub fn value(&self, service: &str, name: &str, kind: SeriesKind, start_s: u64) -> Option<(f64, f64, f64)> {
        let named = |series: &Series| series.service == service && series.name == name && series.kind == kind;
        let start_ns = EPOCH_NS + start_s * 1_000_000_000;
        let rows = self.windows.iter().filter(|window| window.start_ns == start_ns).flat_map(|window| &window.rows);
        let rows = rows.filter(|row| named(&self.series[&row.series]));
        rows.last().map(|row| (row.stat.n, row.stat.s1, row.shown))
    }
}

#[test]
fn spans_become_rate_errors_and_durations_of_the_window_they_end_in() {
    let mut seen = Seen::new(&Settings::default());
    let rows: Vec<TestSpan> = (0..40).map(|n| span("cart", "GET /cart", n + 1, n as f64 + 0.5, 100)).collect();
    seen.spans(at(40.0), &rows[..20]);
    seen.spans(at(41.0), &[rows[20..].to_vec(), vec![span("cart", "GET /cart", 99, 12.0, 100).failed()]].concat());
    seen.finish();
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 0), Some((10.0, 10.0, 1.0)));
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 10), Some((11.0, 11.0, 1.1)));
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::ErrorRatio, 10), Some((11.0, 1.0, 1.0 / 11.0)));
    let (n, _, median) = seen.value("cart", "GET /cart", SeriesKind::DurationP50, 20).expect("a row");
    assert!(n == 10.0 && (median - 0.1).abs() <= 0.001);
    assert_eq!(seen.value("cart", "GET /cart", SeriesKind::RequestRate, 30), None, "the last window is not complete");
    assert!(seen.observer.settled().is_some_and(|settled| settled < UnixNanos(EPOCH_NS)));
}
