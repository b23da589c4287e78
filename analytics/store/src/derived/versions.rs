//! The newest version of every series, anomaly, incident and action. Every change goes to the journal.

use super::journal::{self, Journal};
use crate::error::StoreError;
use geophone_proto::{
    Effect, Series, SeriesKey, UnixNanos,
    action::Action,
    anomaly::{Anomaly, State},
    incident::Incident,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

/// More closed anomalies, incidents or actions than this are forgotten, oldest first.
const VERSIONS_MAX: usize = 20_000;
/// The journal is rewritten when it is this large and mostly history.
const JOURNAL_BYTES: u64 = 16 << 20;

/// Which table a version belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Anomalies,
    Incidents,
    Actions,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Series(Arc<Series>),
    Anomaly(Arc<Anomaly>, UnixNanos),
    Incident(Arc<Incident>, UnixNanos),
    Action(Arc<Action>, UnixNanos),
}

type Kept<T> = BTreeMap<String, (Arc<T>, UnixNanos)>;

/// Everything by id.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    series: HashMap<SeriesKey, Arc<Series>>,
    anomalies: Kept<Anomaly>,
    incidents: Kept<Incident>,
    actions: Kept<Action>,
    /// Tables and hours (in hours since 1970) whose Parquet file is behind.
    dirty: BTreeSet<(Kind, u64)>,
    journal: Option<Journal>,
    journal_live_bytes: u64,
}

pub(crate) fn hour_of(at: UnixNanos) -> u64 {
    at.0 / 3_600_000_000_000
}

impl Versions {
    /// Reads the journal at `path`; with `write` it is rewritten without history and kept open.
    pub(crate) fn open(path: &Path, write: bool) -> Result<Self, StoreError> {
        let mut versions = Self::default();
        for entry in journal::read::<Entry>(path) {
            versions.take(entry);
        }
        if write {
            versions.rewrite(path)?;
        }
        Ok(versions)
    }

    /// Keeps the newest version; true if the effect was one.
    pub(crate) fn observe(&mut self, effect: &Effect, now: UnixNanos) -> Result<bool, StoreError> {
        let entry = match effect {
            Effect::SeriesSeen(series) => {
                if self.series.get(&series.key).is_some_and(|known| known == series) {
                    return Ok(true);
                }
                Entry::Series(series.clone())
            }
            Effect::Anomaly(anomaly) => {
                if self.anomalies.get(&anomaly.id).is_some_and(|(known, _)| **known == **anomaly) {
                    return Ok(true);
                }
                Entry::Anomaly(Arc::new((**anomaly).clone()), now)
            }
            Effect::Incident(incident) => {
                if self.incidents.get(&incident.id).is_some_and(|(known, _)| **known == **incident) {
                    return Ok(true);
                }
                Entry::Incident(Arc::new((**incident).clone()), now)
            }
            Effect::Action(action) => {
                if self.actions.get(&action.id).is_some_and(|(known, _)| **known == **action) {
                    return Ok(true);
                }
                Entry::Action(Arc::new((**action).clone()), now)
            }
            Effect::Window(_)
            | Effect::Settled(_)
            | Effect::Perform(_)
            | Effect::WantStacks(_)
            | Effect::LineUp(_)
            | Effect::Budget(_)
            | Effect::WantRollback { .. }
            | Effect::Count { .. } => {
                return Ok(false);
            }
        };
        let written = match &mut self.journal {
            Some(journal) => journal.add(&entry),
            None => Ok(()),
        };
        self.take(entry);
        written.map(|()| true)
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Series(series) => {
                self.series.insert(series.key, series);
            }
            Entry::Anomaly(anomaly, at) => {
                self.dirty.insert((Kind::Anomalies, hour_of(anomaly.opened_at)));
                self.anomalies.insert(anomaly.id.clone(), (anomaly, at));
            }
            Entry::Incident(incident, at) => {
                self.dirty.insert((Kind::Incidents, hour_of(incident.opened_at)));
                self.incidents.insert(incident.id.clone(), (incident, at));
            }
            Entry::Action(action, at) => {
                self.dirty.insert((Kind::Actions, hour_of(action.decided_at)));
                self.actions.insert(action.id.clone(), (action, at));
            }
        }
    }

    fn rewrite(&mut self, path: &Path) -> Result<(), StoreError> {
        let series = self.series.values().map(|series| Entry::Series(series.clone()));
        let anomalies = self.anomalies.values().map(|(value, at)| Entry::Anomaly(value.clone(), *at));
        let incidents = self.incidents.values().map(|(value, at)| Entry::Incident(value.clone(), *at));
        let actions = self.actions.values().map(|(value, at)| Entry::Action(value.clone(), *at));
        let journal = Journal::rewrite(path, series.chain(anomalies).chain(incidents).chain(actions))?;
        self.journal_live_bytes = journal.bytes();
        self.journal = Some(journal);
        Ok(())
    }

    /// Rewrites the journal if it is mostly history.
    pub(crate) fn compact(&mut self) -> Result<(), StoreError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if journal.bytes() > JOURNAL_BYTES.max(4 * self.journal_live_bytes) {
            let path = journal.path().to_owned();
            self.rewrite(&path)?;
        }
        Ok(())
    }

    /// Forgets what closed and was last changed before `before`, and the oldest above the cap.
    /// Returns how many.
    pub(crate) fn forget(&mut self, before: UnixNanos) -> u64 {
        let dirty = &mut self.dirty;
        prune(
            &mut self.anomalies,
            before,
            |value| value.state == State::Closed,
            |value| {
                dirty.insert((Kind::Anomalies, hour_of(value.opened_at)));
            },
        ) + prune(
            &mut self.incidents,
            before,
            |value| value.state == State::Closed,
            |value| {
                dirty.insert((Kind::Incidents, hour_of(value.opened_at)));
            },
        ) + prune(
            &mut self.actions,
            before,
            |_| true,
            |value| {
                dirty.insert((Kind::Actions, hour_of(value.decided_at)));
            },
        )
    }

    /// Tables and hours whose Parquet file is behind; whoever takes them writes them, or gives them back.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<(Kind, u64)> {
        std::mem::take(&mut self.dirty)
    }

    /// They could not be written.
    pub(crate) fn give_back(&mut self, dirty: BTreeSet<(Kind, u64)>) {
        self.dirty.extend(dirty);
    }

    pub(crate) fn series_of(&self, key: &SeriesKey) -> Option<&Arc<Series>> {
        self.series.get(key)
    }

    /// All series, by service, name and kind.
    pub(crate) fn series(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = self.series.values().cloned().collect();
        all.sort_by(|a, b| (&a.service, &a.name, a.kind, a.key).cmp(&(&b.service, &b.name, b.kind, b.key)));
        all
    }

    /// All anomalies, in order of opening.
    pub(crate) fn anomalies(&self) -> Vec<Arc<Anomaly>> {
        sorted(&self.anomalies, |value| value.opened_at)
    }

    /// All incidents, in order of opening.
    pub(crate) fn incidents(&self) -> Vec<Arc<Incident>> {
        sorted(&self.incidents, |value| value.opened_at)
    }

    /// All actions, in order of decision.
    pub(crate) fn actions(&self) -> Vec<Arc<Action>> {
        sorted(&self.actions, |value| value.decided_at)
    }
}

fn sorted<T>(kept: &Kept<T>, at: impl Fn(&T) -> UnixNanos) -> Vec<Arc<T>> {
    let mut all: Vec<Arc<T>> = kept.values().map(|(value, _)| value.clone()).collect();
    all.sort_by_key(|value| at(value));
    all
}

fn prune<T>(kept: &mut Kept<T>, before: UnixNanos, is_over: impl Fn(&T) -> bool, mut gone: impl FnMut(&T)) -> u64 {
    let mut over: Vec<(UnixNanos, String)> =
        kept.iter().filter(|(_, (value, _))| is_over(value)).map(|(id, (_, at))| (*at, id.clone())).collect();
    over.sort();
    let excess = over.len().saturating_sub(VERSIONS_MAX);
    let mut count = 0;
    for (index, (at, id)) in over.iter().enumerate() {
        if (index < excess || *at < before)
            && let Some((value, _)) = kept.remove(id)
        {
            gone(&value);
            count += 1;
        }
    }
    count
}
