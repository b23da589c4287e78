//! A few rows of one window, chosen so that they stand for all: failed ones, the slowest, and others.
//!
//! Failed and other rows are those with the smallest lots (bottom-k sampling: every row has the same
//! chance, and samples of several windows merge into the sample of all). Invariant: what is kept
//! depends on the set of rows, never on their order.

use geophone_proto::stacks::WantedSpan;
use serde::{Deserialize, Serialize};

/// What the hot path looks at; everything else is copied only of rows that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    lot: u64,
    ns: u64,
    failed: bool,
}

impl Glance {
    /// Of a span.
    pub fn of_span(span: &WantedSpan, failed: bool) -> Self {
        let trace = u64::from_le_bytes(*span.trace_id.0.first_chunk().unwrap_or(&[0; 8]));
        let lot = mixed(u64::from_le_bytes(span.span_id.0) ^ trace.rotate_left(32));
        Self { lot, ns: span.end.since(span.start), failed }
    }

    /// Of a log record, by a hash of its content.
    pub fn of_record(hash: u64) -> Self {
        Self { lot: mixed(hash), ns: 0, failed: false }
    }
}

/// Spreads ids that count upwards over all numbers (the finaliser of MurmurHash3).
const fn mixed(id: u64) -> u64 {
    let id = (id ^ (id >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let id = (id ^ (id >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    id ^ (id >> 33)
}

/// A row that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    lot: u64,
    /// Duration.
    pub(crate) ns: u64,
    /// Status error.
    pub(crate) failed: bool,
    /// Hash of the resource.
    pub(crate) sender: u64,
    /// `attributes::Encoded`, long values left out.
    pub(crate) attributes: Box<[u8]>,
}

impl Row {
    pub(crate) fn new(glance: Glance, sender: u64, attributes: Box<[u8]>) -> Self {
        Self { lot: glance.lot, ns: glance.ns, failed: glance.failed, sender, attributes }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.attributes.len()
    }

    /// Slower rows first.
    fn slowness(&self) -> (std::cmp::Reverse<u64>, u64) {
        (std::cmp::Reverse(self.ns), self.lot)
    }
}

/// How many rows of each sort a cell keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) failed: usize,
    pub(crate) slow: usize,
    pub(crate) others: usize,
}

impl Room {
    /// Half as many with each step.
    pub(crate) const fn thinned(steps: u32) -> Self {
        Self { failed: 8 >> steps, slow: 8 >> steps, others: 24 >> steps }
    }
}

/// Rows of one window, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    n: u64,
    failed_n: u64,
    /// By lot.
    failed: Vec<Row>,
    /// Slowest first.
    slow: Vec<Row>,
    /// By lot.
    others: Vec<Row>,
    /// What a row that did not fail must pass to be kept, once there is no room left: most rows end there, without a
    /// look at those that are kept.
    #[serde(skip)]
    bars: Bars,
}

/// The last of the slow and of the other rows, where both are as many as may be.
#[derive(Clone, Copy, Debug, Default)]
struct Bars(Option<(Room, u64, [u64; 2])>);

/// They follow from the rows.
impl PartialEq for Bars {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Bars {
    /// Whether a row is certainly not among the few.
    #[inline]
    fn turn_away(self, glance: Glance, room: Room) -> bool {
        let Self(Some((of_room, slow_ns, [slow_lot, other_lot]))) = self else { return false };
        let is_slow = (std::cmp::Reverse(glance.ns), glance.lot) < (std::cmp::Reverse(slow_ns), slow_lot);
        !glance.failed && of_room == room && !is_slow && glance.lot >= other_lot
    }
}

/// A kept row, and how many it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) row: &'a Row,
    pub(crate) weight: f64,
}

/// Keeps a row if it is among the `max` first; what had to go for it.
fn keep<K: Ord>(rows: &mut Vec<Row>, row: Row, max: usize, order: impl Fn(&Row) -> K) -> Option<Row> {
    let at = rows.partition_point(|other| order(other) <= order(&row));
    if at >= max {
        return Some(row);
    }
    rows.insert(at, row);
    if rows.len() > max { rows.pop() } else { None }
}

impl Cell {
    /// Counts a row, and keeps it if it is one of the few; bytes that came and bytes that went for it.
    pub(crate) fn look(&mut self, glance: Glance, room: Room, row: impl FnOnce() -> Row) -> (usize, usize) {
        self.n += 1;
        self.failed_n += u64::from(glance.failed);
        if self.bars.turn_away(glance, room) {
            return (0, 0);
        }
        let is_wanted = |rows: &[Row], max: usize, is_before: &dyn Fn(&Row) -> bool| {
            max > 0 && (rows.len() < max || rows.last().is_some_and(is_before))
        };
        let by_lot = |last: &Row| glance.lot < last.lot;
        let is_slow = |last: &Row| (std::cmp::Reverse(glance.ns), glance.lot) < last.slowness();
        let is_kept = match glance.failed {
            true => is_wanted(&self.failed, room.failed, &by_lot),
            false => is_wanted(&self.slow, room.slow, &is_slow) || is_wanted(&self.others, room.others, &by_lot),
        };
        if !is_kept {
            return (0, 0);
        }
        let row = row();
        let came = row.bytes();
        (came, self.take(row, room).map_or(0, |gone| gone.bytes()))
    }

    /// Reads what `look` looks at, ahead of it.
    pub(crate) fn touch(&self) -> u64 {
        self.n ^ self.bars.0.map_or(0, |(_, ns, _)| ns)
    }

    /// Keeps a row if it is one of the few; which one had to go.
    fn take(&mut self, row: Row, room: Room) -> Option<Row> {
        if row.failed {
            return keep(&mut self.failed, row, room.failed, |row| row.lot);
        }
        let gone = keep(&mut self.slow, row, room.slow, Row::slowness);
        let gone = gone.and_then(|row| keep(&mut self.others, row, room.others, |row| row.lot));
        self.bars = Bars(match (self.slow.last(), self.others.last()) {
            (Some(slow), Some(other)) if self.slow.len() == room.slow && self.others.len() == room.others => {
                Some((room, slow.ns, [slow.lot, other.lot]))
            }
            _ => None,
        });
        gone
    }

    /// Takes the rows of another window.
    pub(crate) fn merge(&mut self, other: Self, room: Room) {
        self.bars = Bars::default();
        self.n += other.n;
        self.failed_n += other.failed_n;
        for row in other.failed.into_iter().chain(other.slow) {
            self.take(row, room);
        }
        // Slower rows of that window were looked at before: these cannot be among the slowest.
        for row in other.others {
            keep(&mut self.others, row, room.others, |row| row.lot);
        }
    }

    /// Keeps fewer from now on.
    pub(crate) fn thin(&mut self, room: Room) {
        self.bars = Bars::default();
        self.failed.truncate(room.failed);
        let fast = self.slow.split_off(room.slow.min(self.slow.len()));
        fast.into_iter().for_each(|row| drop(keep(&mut self.others, row, room.others, |row| row.lot)));
        self.others.truncate(room.others);
    }

    /// All rows that are kept.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.failed.iter().chain(&self.slow).chain(&self.others)
    }

    /// Every kept row with the number of rows it stands for.
    #[allow(clippy::cast_precision_loss, reason = "counts of a window")]
    pub(crate) fn kept(&self) -> impl Iterator<Item = Kept<'_>> {
        let each = |all: u64, rows: &[Row]| all as f64 / rows.len().max(1) as f64;
        let failed = each(self.failed_n, &self.failed);
        let others = each(self.n.saturating_sub(self.failed_n + self.slow.len() as u64), &self.others);
        [(&self.failed, failed), (&self.slow, 1.0), (&self.others, others)]
            .into_iter()
            .flat_map(|(rows, weight)| rows.iter().map(move |row| Kept { row, weight }))
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.rows().map(Row::bytes).sum::<usize>()
    }
}
