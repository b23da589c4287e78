//! Windows that can still change: cells per window of one source, and the order of closing.
//!
//! A window is open, then closed (scored; late rows amend it), then settled (nothing changes it).
//! Closing window `w` settles window `w - lag`, so what is settled follows from what is closed alone.

use crate::observe::Drafts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Number of a window: its start divided by its length.
pub type WindowNumber = u64;

/// The few windows of one source that can still change, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cells<T>(Vec<(WindowNumber, T)>);

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Cells<T> {
    /// The cell of a window, made if there is none. Fast for the newest.
    pub fn at(&mut self, window: WindowNumber) -> &mut T {
        let at = match self.0.last() {
            Some(last) if last.0 == window => self.0.len() - 1,
            _ => match self.0.binary_search_by_key(&window, |cell| cell.0) {
                Ok(at) => at,
                Err(at) => {
                    self.0.insert(at, (window, T::default()));
                    at
                }
            },
        };
        &mut self.0[at].1
    }

    /// How many windows there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The cell of the newest window.
    pub fn newest(&self) -> Option<&T> {
        self.0.last().map(|cell| &cell.1)
    }

    /// The cell of a window, if it has one.
    pub fn get(&self, window: WindowNumber) -> Option<&T> {
        self.0.iter().rev().find(|cell| cell.0 == window).map(|cell| &cell.1)
    }

    /// Takes out the cell of a window, and forgets older ones.
    pub fn settle(&mut self, window: WindowNumber) -> Option<T> {
        let keep = self.0.partition_point(|cell| cell.0 <= window);
        self.0.drain(..keep).next_back().filter(|cell| cell.0 == window).map(|cell| cell.1)
    }

    /// All open cells, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (WindowNumber, &T)> {
        self.0.iter().map(|(window, cell)| (*window, cell))
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What has been closed and settled, and what late rows have changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// Length of a window.
    pub length_ns: u64,
    /// Windows between closing and settling.
    pub lag: u64,
    /// The next window to close; `None` before the first row.
    pub next: Option<WindowNumber>,
    /// Whether any window has been closed.
    pub begun: bool,
    /// Sources of closed windows that late rows have changed.
    pub dirty: BTreeMap<WindowNumber, BTreeSet<u32>>,
    /// Rows of the next window, as far as they have been written ahead.
    #[serde(skip)]
    pub drafts: Drafts,
}

impl Closing {
    /// Nothing closed yet.
    pub fn new(length_ns: u64, lateness_ns: u64) -> Self {
        let length_ns = length_ns.max(1);
        Self {
            length_ns,
            lag: lateness_ns.div_ceil(length_ns) + 1,
            next: None,
            begun: false,
            dirty: BTreeMap::new(),
            drafts: Drafts::default(),
        }
    }

    /// The window that a moment falls in. A window holds its start, not its end.
    pub const fn window_of(&self, at_ns: u64) -> WindowNumber {
        at_ns / self.length_ns
    }

    /// End of a window.
    pub const fn end_of(&self, window: WindowNumber) -> u64 {
        (window + 1).saturating_mul(self.length_ns)
    }

    /// The last window that nothing can change any more.
    pub fn settled(&self) -> Option<WindowNumber> {
        self.next.filter(|_| self.begun).and_then(|next| next.checked_sub(self.lag + 1))
    }

    /// Whether rows of this window can still count.
    pub fn takes(&self, window: WindowNumber) -> bool {
        self.settled().is_none_or(|settled| window > settled)
    }

    /// Notes that a source has changed in this window.
    pub fn touch(&mut self, window: WindowNumber, source: u32) {
        self.drafts.stir(window, source);
        match self.next {
            Some(next) if self.begun && window < next => {
                self.dirty.entry(window).or_default().insert(source);
            }
            Some(next) if self.begun || window >= next => {}
            _ => self.next = Some(window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_out_once_and_take_the_older_with_them() {
        let mut cells: Cells<u32> = Cells::default();
        *cells.at(5) += 1;
        *cells.at(3) += 2;
        *cells.at(5) += 1;
        assert_eq!((cells.get(3), cells.get(4), cells.get(5)), (Some(&2), None, Some(&2)));
        assert_eq!(cells.settle(4), None);
        assert_eq!(cells.get(3), None);
        assert_eq!(cells.settle(5), Some(2));
        assert!(cells.is_empty());
    }

    #[test]
    fn rows_before_the_first_closing_move_the_beginning_and_later_ones_amend() {
        let mut closing = Closing::new(10, 60);
        assert_eq!(closing.lag, 7);
        closing.touch(8, 0);
        closing.touch(6, 0);
        assert_eq!(closing.next, Some(6));
        closing.begun = true;
        closing.next = Some(9);
        closing.touch(7, 4);
        assert_eq!(closing.dirty[&7].iter().copied().collect::<Vec<_>>(), [4]);
        assert_eq!(closing.settled(), Some(1));
        assert!(closing.takes(2) && !closing.takes(1));
    }
}
