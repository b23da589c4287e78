//! What series are measured by: a source gives one to five of them, with consecutive numbers.

use super::{
    ahead,
    drafts::{Draft, Drafts},
    edge::Edge,
    logs::LogRate,
    metric::Metric,
    requests::{Exclusive, Requests},
};
use crate::{
    cardinality::{Owner, Registry},
    topology::names::{Names, OperationIndex, ServiceIndex},
    window::{SeriesIndex, Stat, StatKind, WindowRow},
};
use geophone_proto::{anomaly::Exemplar, series::Series};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, ops::Range};

/// Number of a source, in the order of its series.
pub type SourceIndex = u32;

/// A service that was silent for so long is gone, its series with it.
const SERVICE_SILENT_NS: u64 = 900_000_000_000;
/// A source without a sample for so long is gone, even if its service lives.
const SOURCE_SILENT_NS: u64 = 6 * 3_600_000_000_000;

/// The window that rows are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its number.
    pub window: u64,
    /// Its length.
    pub length_ns: u64,
}

impl Frame {
    /// Length in seconds.
    #[allow(clippy::cast_precision_loss, reason = "at most a minute")]
    pub fn length_s(&self) -> f64 {
        self.length_ns as f64 * 1e-9
    }
}

/// Writes rows of consecutive series.
pub fn rows_of<const N: usize>(rows: &mut Vec<WindowRow>, first: SeriesIndex, values: [(Stat, f64, Vec<Exemplar>); N]) {
    for (series, (stat, shown, exemplars)) in (first..).zip(values) {
        rows.push(WindowRow { series, stat, shown, exemplars });
    }
}

/// The kinds of sources.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Requests of an operation.
    Requests(Box<Requests>),
    /// Time in an operation itself.
    Exclusive(Exclusive),
    /// Calls between services.
    Edge(Edge),
    /// A metric.
    Metric(Box<Metric>),
    /// A log template.
    Log(LogRate),
}

/// One source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its first series.
    pub first_series: SeriesIndex,
    /// How many it has.
    pub series: u32,
    /// Whose it is.
    pub service: ServiceIndex,
    /// Key under which its makers find it; for operations their number.
    pub made_for: u128,
    /// Oldest and newest window with a row.
    pub seen: (u64, u64),
    group: Box<str>,
    /// What it measures.
    pub body: Body,
}

/// All sources, by number; those that are gone leave a hole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sources(Vec<Option<Box<Source>>>);

/// What a new source is made of.
pub struct Plan<'a> {
    /// Whose it is.
    pub service: ServiceIndex,
    /// Where its series are counted: `spans`, `edges`, `logs`, the metric's name, or `REST`.
    pub group: &'a str,
    /// Key under which its makers find it.
    pub made_for: u128,
    /// Window of its first row.
    pub window: u64,
    /// Its series, in the order of its rows.
    pub series: Vec<(Series, StatKind)>,
    /// What it measures.
    pub body: Body,
}

impl Sources {
    /// Makes a source and numbers its series; `None` if the tenant has no room for them.
    pub fn make(&mut self, registry: &mut Registry, names: &Names, plan: Plan<'_>) -> Option<SourceIndex> {
        let service = names.get(plan.service);
        let owner = Owner { tenant: &service.tenant, service: &service.name, group: plan.group };
        let count = u32::try_from(plan.series.len()).unwrap_or(0);
        let first_series = registry.number(owner, plan.series)?;
        let (seen, group) = ((plan.window, plan.window), plan.group.into());
        let (service, made_for, body) = (plan.service, plan.made_for, plan.body);
        self.0.push(Some(Box::new(Source { first_series, series: count, service, made_for, seen, group, body })));
        Some(u32::try_from(self.0.len() - 1).expect("a source has a series, and series are numbered in 32 bits"))
    }

    /// A living source, noted as having a row in this window.
    pub fn seen(&mut self, source: SourceIndex, window: u64) -> Option<&mut Body> {
        let source = self.0.get_mut(source as usize)?.as_mut()?;
        source.seen = (source.seen.0.min(window), source.seen.1.max(window));
        Some(&mut source.body)
    }

    /// A living source.
    pub fn get(&self, source: SourceIndex) -> Option<&Source> {
        self.0.get(source as usize)?.as_deref()
    }

    /// The source of a series, and its number.
    pub fn of_series(&self, series: SeriesIndex) -> Option<(SourceIndex, &Source)> {
        // Holes have no series: each stands for the nearest living source to its left.
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match (low..=middle).rev().find_map(|at| Some((at, self.0[at].as_deref()?))) {
                Some((at, source)) if source.first_series > series => high = at,
                _ => low = middle + 1,
            }
        }
        let (at, source) = (0..low).rev().find_map(|at| Some((at, self.0[at].as_deref()?)))?;
        (series < source.first_series + source.series).then_some((u32::try_from(at).ok()?, source))
    }

    /// Writes the rows of the closing window, in series order, or takes them from drafts; none of services that are
    /// held, metrics apart. Settles `settling` where rows follow from what is settled; `settle_metrics` does the rest.
    pub fn close(&mut self, settling: Option<u64>, frame: &Frame, held: &BTreeSet<ServiceIndex>, drafts: &mut Drafts) -> Vec<WindowRow> {
        let count = self.series_end();
        let mut rows = Vec::with_capacity(count as usize);
        let mut before = Draft::default();
        for (draft, mut drafted) in drafts.take(frame.window, count) {
            self.close_between((&before, &draft), (settling, held), frame, &mut rows);
            rows.append(&mut drafted);
            before = draft;
        }
        let end = Draft::none(count, self.0.len());
        self.close_between((&before, &end), (settling, held), frame, &mut rows);
        rows
    }

    /// What `close` does for series between two drafts. A source may reach into both.
    fn close_between(
        &mut self,
        (before, after): (&Draft, &Draft),
        (settling, held): (Option<u64>, &BTreeSet<ServiceIndex>),
        frame: &Frame,
        rows: &mut Vec<WindowRow>,
    ) {
        let series = before.series.end..after.series.start;
        let sources = before.sources.end.saturating_sub(1)..(after.sources.start + 1).min(self.0.len());
        if series.is_empty() {
            return;
        }
        for sources in self.0[sources].chunks_mut(ahead::ROWS) {
            ahead::touch_sources(sources);
            for source in sources.iter_mut().flatten().filter(|source| source.meets(&series)) {
                if let Some(window) = settling.filter(|_| source.is_prompt()) {
                    source.settle(window);
                }
                if let Body::Requests(requests) = &mut source.body {
                    requests.close(frame.window);
                }
                if source.seen.0 <= frame.window && (!source.is_prompt() || !held.contains(&source.service)) {
                    source.rows_within(&series, frame, rows);
                }
            }
        }
    }

    /// Settles what is left of a closed window: points of metrics, on which no row of a window that is open depends.
    pub fn settle_metrics(&mut self, settling: u64) {
        for sources in self.0.chunks_mut(ahead::ROWS) {
            ahead::touch_sources(sources);
            sources.iter_mut().flatten().filter(|source| !source.is_prompt()).for_each(|source| source.settle(settling));
        }
    }

    /// One more than the last series.
    pub fn series_end(&self) -> SeriesIndex {
        self.0.iter().rev().flatten().next().map_or(0, |source| source.series().end)
    }

    /// Which sources, from this one on, have series among these; and whether all of them are metrics.
    pub fn with_series(&self, from: usize, series: &Range<SeriesIndex>) -> (Range<usize>, bool) {
        let (mut run, mut are_metrics) = (from..from, true);
        for (at, source) in self.0.iter().enumerate().skip(from).filter_map(|(at, source)| Some((at, source.as_deref()?))) {
            if source.first_series >= series.end {
                break;
            }
            if source.meets(series) {
                are_metrics &= !source.is_prompt();
                run.end = at + 1;
            } else {
                run = at + 1..at + 1;
            }
        }
        (run, are_metrics)
    }

    /// Rows of some metrics, as far as they are of these series.
    pub fn rows(&self, sources: Range<usize>, series: &Range<SeriesIndex>, frame: &Frame, rows: &mut Vec<WindowRow>) {
        for sources in self.0[sources].chunks(ahead::ROWS) {
            ahead::touch_sources(sources);
            let living = sources.iter().flatten().filter(|source| source.seen.0 <= frame.window);
            living.for_each(|source| source.rows_within(series, frame, rows));
        }
    }

    /// Numbers of a service's sources of spans and logs that have rows in this window.
    pub fn of_service(&self, service: ServiceIndex, window: u64) -> impl Iterator<Item = SourceIndex> + '_ {
        let living = (0u32..).zip(&self.0).filter_map(|(index, source)| Some((index, source.as_deref()?)));
        let wanted = living.filter(move |(_, source)| source.service == service && source.is_prompt() && source.seen.0 <= window);
        wanted.map(|(index, _)| index)
    }

    /// Drops what has been silent; tells who was dropped.
    pub fn expire(&mut self, now: u64, registry: &mut Registry, names: &Names, length_ns: u64) -> Vec<Gone> {
        let mut gone = Vec::new();
        for slot in &mut self.0 {
            let is_over = |source: &Source| {
                let silent_ns = now.saturating_sub((source.seen.1 + 1) * length_ns);
                let service_silent_ns = match names.get(source.service) {
                    service if service.inferred => silent_ns,
                    service => now.saturating_sub(service.clock),
                };
                silent_ns > SERVICE_SILENT_NS && (service_silent_ns > SERVICE_SILENT_NS || silent_ns > SOURCE_SILENT_NS)
            };
            if let Some(source) = slot.take_if(|source| is_over(source)) {
                let service = names.get(source.service);
                let owner = Owner { tenant: &service.tenant, service: &service.name, group: &source.group };
                registry.release(owner, source.first_series, source.series);
                gone.push(Gone::of(&source));
            }
        }
        gone
    }

    /// Numbers of living sources that could still give rows.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// A source that is gone: its makers forget it.
#[derive(Clone, Copy, Debug)]
pub enum Gone {
    /// Requests or exclusive time of an operation.
    Operation(OperationIndex, bool),
    /// An edge.
    Edge(u128),
    /// A metric.
    Metric(u128),
    /// A log template.
    Log(u128),
}

impl Gone {
    #[allow(clippy::cast_possible_truncation, reason = "operations are numbered in 32 bits")]
    fn of(source: &Source) -> Self {
        match source.body {
            Body::Requests(_) => Self::Operation(source.made_for as u32, true),
            Body::Exclusive(_) => Self::Operation(source.made_for as u32, false),
            Body::Edge(_) => Self::Edge(source.made_for),
            Body::Metric(_) => Self::Metric(source.made_for),
            Body::Log(_) => Self::Log(source.made_for),
        }
    }
}

impl Source {
    const fn series(&self) -> Range<SeriesIndex> {
        self.first_series..self.first_series + self.series
    }

    const fn meets(&self, series: &Range<SeriesIndex>) -> bool {
        self.first_series < series.end && series.start < self.first_series + self.series
    }

    /// The rows of a window that are of these series.
    fn rows_within(&self, series: &Range<SeriesIndex>, frame: &Frame, rows: &mut Vec<WindowRow>) {
        let from = rows.len();
        self.rows(frame, rows);
        let own = self.series();
        if own.start < series.start || own.end > series.end {
            let others = |row: &WindowRow| !series.contains(&row.series);
            rows.extract_if(from.., |row| others(row)).for_each(drop);
        }
    }

    const fn is_prompt(&self) -> bool {
        !matches!(self.body, Body::Metric(_))
    }

    fn settle(&mut self, window: u64) {
        match &mut self.body {
            Body::Requests(requests) => requests.settle(window),
            Body::Exclusive(exclusive) => exclusive.settle(window),
            Body::Edge(edge) => edge.settle(window),
            Body::Metric(metric) => metric.settle(window),
            Body::Log(log) => log.settle(window),
        }
    }

    /// The rows of a window, in series order.
    pub fn rows(&self, frame: &Frame, rows: &mut Vec<WindowRow>) {
        match &self.body {
            Body::Requests(requests) => requests.rows(frame, self.first_series, rows),
            Body::Exclusive(exclusive) => exclusive.rows(frame, self.first_series, rows),
            Body::Edge(edge) => edge.rows(frame, self.first_series, rows),
            Body::Metric(metric) => metric.rows(frame, self.first_series, rows),
            Body::Log(log) => log.rows(frame, self.first_series, rows),
        }
    }
}
