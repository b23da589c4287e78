//! One metric: its streams, their recent points in order of time, and what they say of a window.
//!
//! Readings are drawn from sorted points when a window closes, so late points fall into place. A rate
//! or distribution takes the streams of all instances together: its reading is that of one instance,
//! and there are as many readings as instances and exports. A cumulative point is compared with the
//! one before it; a counter that went down, or another start, is a reset: it has grown from zero.

use super::source::{Frame, rows_of};
use crate::window::{SeriesIndex, Stat, WindowRow};
use geophone_proto::anomaly::Exemplar;
use serde::{Deserialize, Serialize};

/// Streams of one metric at most; more are refused, and counted.
const STREAMS_MAX: usize = 1_000;
/// Points of one stream that may wait to be settled.
const POINTS_MAX: usize = 600;

/// What is read from the points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// The value: gauges and sums that may fall.
    Value,
    /// The increase a second.
    Rate,
    /// Observations a second, and their 95th percentile.
    Distribution,
    /// The same of a summary, which brings its quantiles.
    Summary,
}

impl Shape {
    /// Series that a metric of this shape has.
    pub const fn series(self) -> u32 {
        match self {
            Self::Value | Self::Rate => 1,
            Self::Distribution | Self::Summary => 2,
        }
    }
}

/// One data point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its time.
    pub at: u64,
    /// Start of what it sums up, or 0.
    pub start: u64,
    /// Value, or number of observations.
    pub value: f64,
    /// What few points have besides: a point is kept for every series and window that can still change.
    pub more: Option<Box<More>>,
}

/// What a point of a distribution has besides, or one with an exemplar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct More {
    /// Bounds and buckets, or quantiles and values.
    pub buckets: Option<(Vec<f64>, Vec<f64>)>,
    /// A span that shows it.
    pub exemplar: Option<Exemplar>,
}

impl Point {
    fn buckets(&self) -> Option<&(Vec<f64>, Vec<f64>)> {
        self.more.as_ref()?.buckets.as_ref()
    }

    fn exemplar(&self) -> Option<Exemplar> {
        self.more.as_ref()?.exemplar
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stream {
    is_cumulative: bool,
    points: Vec<Point>,
}

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metric {
    shape: Shape,
    length_ns: u64,
    streams: Vec<Stream>,
}

impl Metric {
    /// A metric without streams.
    pub fn new(shape: Shape, length_ns: u64) -> Self {
        Self { shape, length_ns, streams: Vec::new() }
    }

    /// Number of a new stream; `None` if there are too many.
    pub fn open(&mut self, is_cumulative: bool) -> Option<u32> {
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        make_room(&mut self.streams, 1);
        self.streams.push(Stream { is_cumulative, points: Vec::new() });
        u32::try_from(self.streams.len() - 1).ok()
    }

    /// Takes a point; gives the windows whose readings change.
    pub fn put(&mut self, stream: u32, point: Point) -> [Option<u64>; 2] {
        let points = &mut self.streams[stream as usize].points;
        // Mostly it is the newest: those before are not looked at.
        let is_newest = points.last().is_none_or(|last| last.at < point.at);
        let at = if is_newest { points.len() } else { points.partition_point(|other| other.at < point.at) };
        let window = point.at / self.length_ns;
        if points.get(at).is_some_and(|other| other.at == point.at) {
            // The same moment again: the larger value stays, whichever came first.
            if points[at].value.total_cmp(&point.value).is_ge() {
                return [None, None];
            }
            points[at] = point;
        } else if points.len() < POINTS_MAX {
            make_room(points, 2);
            points.insert(at, point);
        } else {
            return [None, None];
        }
        let next = points.get(at + 1).map(|next| next.at / self.length_ns).filter(|next| *next != window);
        [Some(window), next]
    }

    /// Reads where a stream's points lie.
    pub fn touch(&self, stream: u32) -> usize {
        self.streams.get(stream as usize).map_or(0, |stream| stream.points.len())
    }

    /// Reads a stream's newest point.
    pub fn touch_points(&self, stream: u32) -> u64 {
        self.streams.get(stream as usize).and_then(|stream| stream.points.last()).map_or(0, |point| point.at)
    }

    /// The window is final: of earlier points only the last is needed.
    pub fn settle(&mut self, window: u64) {
        let end = (window + 1).saturating_mul(self.length_ns);
        for stream in &mut self.streams {
            let settled = stream.points.partition_point(|point| point.at < end);
            stream.points.drain(..settled.saturating_sub(1));
        }
    }

    /// The one or two rows of a window.
    pub fn rows(&self, frame: &Frame, first: SeriesIndex, rows: &mut Vec<WindowRow>) {
        let (start, end) = (frame.window * self.length_ns, (frame.window + 1) * self.length_ns);
        let (mut rates, mut tails, mut exemplars) = (Vec::new(), Vec::new(), Vec::new());
        for stream in &self.streams {
            let from = stream.points.partition_point(|point| point.at < start);
            for (at, point) in stream.points.iter().enumerate().skip(from).take_while(|(_, point)| point.at < end) {
                let before = at.checked_sub(1).map(|before| &stream.points[before]);
                let grown = Growth::of(point, before, stream.is_cumulative);
                match self.shape {
                    Shape::Value => rates.push(point.value),
                    Shape::Rate => rates.extend(grown.rate()),
                    Shape::Distribution => {
                        rates.extend(grown.rate());
                        tails.extend(grown.p95());
                    }
                    Shape::Summary => {
                        rates.extend(grown.rate());
                        tails.extend(quantile_near_p95(point));
                    }
                }
                exemplars.extend(point.exemplar());
            }
        }
        exemplars.sort_by_key(|exemplar| (exemplar.trace_id, exemplar.span_id));
        exemplars.truncate(2);
        let (stat, shown) = level(rates);
        rows_of(rows, first, [(stat, shown, exemplars.clone())]);
        if self.shape.series() == 2 {
            let (stat, shown) = level(tails);
            rows_of(rows, first + 1, [(stat, shown, exemplars)]);
        }
    }
}

/// Room for one more, and little that stays empty: lists are short and there are as many as series.
fn make_room<T>(list: &mut Vec<T>, least: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(least));
    }
}

/// Sums of readings, in an order that only their values set.
#[allow(clippy::cast_precision_loss, reason = "readings of a window")]
fn level(mut readings: Vec<f64>) -> (Stat, f64) {
    readings.retain(|reading| reading.is_finite());
    readings.sort_by(f64::total_cmp);
    let n = readings.len() as f64;
    let s1: f64 = readings.iter().sum();
    (Stat { n, s1, s2: readings.iter().map(|reading| reading * reading).sum() }, s1 / n)
}

/// What a point adds to the one before it.
struct Growth<'a> {
    point: &'a Point,
    /// What to subtract; `None` after a reset and for deltas.
    base: Option<&'a Point>,
    /// Nanoseconds; 0 where unknown.
    over_ns: u64,
}

impl<'a> Growth<'a> {
    fn of(point: &'a Point, before: Option<&'a Point>, is_cumulative: bool) -> Self {
        let since_before = before.map_or(0, |before| point.at.saturating_sub(before.at));
        let since_start = if point.start > 0 { point.at.saturating_sub(point.start) } else { 0 };
        if !is_cumulative {
            return Self { point, base: None, over_ns: if since_start > 0 { since_start } else { since_before } };
        }
        let Some(before) = before else { return Self { point, base: None, over_ns: 0 } };
        let is_reset = point.value < before.value || point.start > before.start && before.start > 0;
        if is_reset {
            let over_ns = if since_start > 0 { since_start.min(since_before) } else { since_before };
            return Self { point, base: None, over_ns };
        }
        Self { point, base: Some(before), over_ns: since_before }
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds between two exports")]
    fn rate(&self) -> Option<f64> {
        let increase = self.point.value - self.base.map_or(0.0, |base| base.value);
        (self.over_ns > 0).then(|| increase / (self.over_ns as f64 * 1e-9))
    }

    /// 95th percentile of the observations since the point before, interpolated within its bucket;
    /// in the last bucket its lower bound. `None` if there is no observation or buckets changed.
    fn p95(&self) -> Option<f64> {
        let (bounds, counts) = self.point.buckets()?;
        if self.over_ns == 0 || bounds.is_empty() || counts.len() != bounds.len() + 1 {
            return None;
        }
        let before = self.base.and_then(Point::buckets).filter(|(other, _)| other == bounds);
        if self.base.is_some() && before.is_none() {
            return None;
        }
        let grown: Vec<f64> =
            counts.iter().enumerate().map(|(at, count)| (count - before.map_or(0.0, |(_, base)| base[at])).max(0.0)).collect();
        let total: f64 = grown.iter().sum();
        let (mut seen, target) = (0.0, 0.95 * total);
        for (at, count) in grown.iter().enumerate() {
            if *count > 0.0 && seen + count >= target {
                let upper = *bounds.get(at).or(bounds.last())?;
                let lower = if at == 0 { bounds[0].min(0.0) } else { bounds[at - 1] };
                return Some(lower + (upper - lower) * ((target - seen) / count).clamp(0.0, 1.0));
            }
            seen += count;
        }
        None
    }
}

/// The summary's quantile closest to 0.95.
fn quantile_near_p95(point: &Point) -> Option<f64> {
    let (quantiles, values) = point.buckets()?;
    let near = quantiles.iter().zip(values).min_by(|a, b| (a.0 - 0.95).abs().total_cmp(&(b.0 - 0.95).abs()));
    near.map(|(_, value)| *value)
}

#[cfg(test)]
#[path = "metric_tests.rs"]
mod tests;
