//! Newest versions by id, bounded: what is over and oldest goes first.

use geophone_proto::{
    action::{Action, ActionState},
    anomaly::{Anomaly, State},
    incident::Incident,
    time::UnixNanos,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// How much the view keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Incidents.
    pub incidents: usize,
    /// Anomalies.
    pub anomalies: usize,
    /// Actions.
    pub actions: usize,
    /// Series.
    pub series: usize,
    /// Points of all series together.
    pub points: usize,
    /// Points of one series.
    pub points_per_series: usize,
}

impl Limits {
    /// Charts get an eighth of the memory, and a point with its place takes 64 bytes.
    pub fn of_memory(bytes: u64, series: u64) -> Self {
        let points = usize::try_from(bytes / 8 / 64).unwrap_or(usize::MAX).max(10_000);
        let series = usize::try_from(series).unwrap_or(usize::MAX);
        Self { incidents: 5_000, anomalies: 20_000, actions: 5_000, series, points, points_per_series: 1_440 }
    }
}

/// What is kept by id and listed by time, newest first.
pub(crate) trait Kept {
    fn id(&self) -> &str;
    fn at(&self) -> UnixNanos;
    fn is_over(&self) -> bool;
}

impl Kept for Incident {
    fn id(&self) -> &str {
        &self.id
    }
    fn at(&self) -> UnixNanos {
        self.opened_at
    }
    fn is_over(&self) -> bool {
        self.state == State::Closed
    }
}

impl Kept for Anomaly {
    fn id(&self) -> &str {
        &self.id
    }
    fn at(&self) -> UnixNanos {
        self.opened_at
    }
    fn is_over(&self) -> bool {
        self.state == State::Closed
    }
}

impl Kept for Action {
    fn id(&self) -> &str {
        &self.id
    }
    fn at(&self) -> UnixNanos {
        self.decided_at
    }
    fn is_over(&self) -> bool {
        use ActionState::{AwaitingApproval, Running, Undoing, Verifying};
        !matches!(self.state, AwaitingApproval | Running | Verifying | Undoing)
    }
}

/// Place of an item in a list: time, then id.
pub(crate) type Place = (UnixNanos, String);

/// A bounded shelf of newest versions.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    by_id: HashMap<String, Arc<T>>,
    by_place: BTreeMap<Place, ()>,
    open: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { by_id: HashMap::new(), by_place: BTreeMap::new(), open: 0 }
    }
}

impl<T: Kept> Shelf<T> {
    /// Keeps the newest version; forgets the oldest that is over when there are more than `limit`.
    pub fn put(&mut self, item: Arc<T>, limit: usize) {
        if let Some(old) = self.by_id.insert(item.id().to_owned(), item.clone()) {
            self.by_place.remove(&(old.at(), old.id().to_owned()));
            self.open -= usize::from(!old.is_over());
        }
        self.open += usize::from(!item.is_over());
        self.by_place.insert((item.at(), item.id().to_owned()), ());
        while self.by_id.len() > limit {
            let over = self.by_place.keys().find(|(_, id)| self.by_id.get(id).is_none_or(|item| item.is_over())).cloned();
            let Some(place) = over.or_else(|| self.by_place.keys().next().cloned()) else { return };
            self.by_place.remove(&place);
            if let Some(gone) = self.by_id.remove(&place.1) {
                self.open -= usize::from(!gone.is_over());
                metrics::counter!("geophone_view_forgotten_total").increment(1);
            }
        }
    }

    pub fn get(&self, id: &str) -> Option<Arc<T>> {
        self.by_id.get(id).cloned()
    }

    /// How many are not over.
    pub fn open(&self) -> usize {
        self.open
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Newest first, strictly older than `after`.
    pub fn newest_first(&self, after: Option<&Place>) -> impl Iterator<Item = &Arc<T>> {
        let upper = after.map_or(std::ops::Bound::Unbounded, |place| std::ops::Bound::Excluded(place.clone()));
        self.by_place.range((std::ops::Bound::Unbounded, upper)).rev().filter_map(|((_, id), ())| self.by_id.get(id))
    }
}
