//! The fold of effects into what is shown, behind one lock, and the bus that tells of changes.

use super::{
    keep::{Kept, Limits, Place, Shelf},
    ring::Ring,
    topology::{self, Topology},
};
use geophone_proto::{
    Effect, Series, SeriesKey, UnixNanos,
    action::Action,
    anomaly::{Anomaly, Maturity},
    effect::{BudgetState, ScoredWindow},
    incident::Incident,
    model::LineUp,
    series::SeriesPoint,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::broadcast;

/// Changes that a slow listener may fall behind before it is told to look anew.
const EVENTS_KEPT: usize = 1_024;

/// One change, ready to be sent to any number of listeners.
#[derive(Clone, Debug)]
pub struct Event {
    /// `incident`, `anomaly`, `action`, `window` or `models`.
    pub kind: &'static str,
    /// JSON.
    pub body: Arc<str>,
}

/// A series with what is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesSeen {
    /// Its name.
    #[serde(flatten)]
    pub series: Arc<Series>,
    /// How far it is known.
    pub maturity: Maturity,
    /// Its newest point.
    pub last: Option<SeriesPoint>,
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub series: Arc<Series>,
    pub maturity: Maturity,
    pub ring: Ring,
}

/// What people and receivers of alerts ask for.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub incidents: Shelf<Incident>,
    pub anomalies: Shelf<Anomaly>,
    pub actions: Shelf<Action>,
    pub line_up: Arc<LineUp>,
    pub budget: BudgetState,
}

/// What is drawn. Behind a lock of its own: a window of many series takes a while to draw, alerts do not wait for it.
#[derive(Debug, Default)]
pub(crate) struct Charts {
    pub series: BTreeMap<SeriesKey, Watched>,
    pub points: usize,
    /// Series by how far they are known.
    pub maturities: [usize; 3],
    pub window_end: UnixNanos,
    pub window_ns: u64,
}

/// Rows drawn before others get their turn.
const DRAWN_AT_ONCE: usize = 4_096;

/// The read model. Cheap to share; readers never wait for long, because nothing is computed under a lock
/// that grows with more than what they ask for.
#[derive(Debug)]
pub struct View {
    state: RwLock<State>,
    charts: RwLock<Charts>,
    limits: Limits,
    bus: broadcast::Sender<Event>,
}

impl View {
    /// An empty view.
    pub fn new(limits: Limits) -> Self {
        Self { state: RwLock::default(), charts: RwLock::default(), limits, bus: broadcast::Sender::new(EVENTS_KEPT) }
    }

    /// Takes over one effect, then tells the listeners: who is told looks here at once.
    pub fn apply(&self, effect: &Effect) {
        match effect {
            Effect::SeriesSeen(series) => self.see(series),
            Effect::Window(window) => self.draw(window),
            Effect::Anomaly(anomaly) => {
                self.write().anomalies.put(Arc::new((**anomaly).clone()), self.limits.anomalies);
                self.tell("anomaly", &**anomaly);
            }
            Effect::Incident(incident) => {
                self.write().incidents.put(Arc::new((**incident).clone()), self.limits.incidents);
                self.tell("incident", &**incident);
            }
            Effect::Action(action) => {
                self.write().actions.put(Arc::new((**action).clone()), self.limits.actions);
                self.tell("action", &**action);
            }
            Effect::LineUp(line_up) => {
                self.write().line_up = Arc::new((**line_up).clone());
                self.tell("models", &**line_up);
            }
            Effect::Budget(budget) => self.write().budget = *budget,
            Effect::Settled(_) | Effect::Perform(_) | Effect::WantStacks(_) | Effect::WantRollback { .. } | Effect::Count { .. } => {}
        }
    }

    /// Listens to changes from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.bus.subscribe()
    }

    /// One incident.
    pub fn incident(&self, id: &str) -> Option<Arc<Incident>> {
        self.read().incidents.get(id)
    }

    /// One anomaly.
    pub fn anomaly(&self, id: &str) -> Option<Arc<Anomaly>> {
        self.read().anomalies.get(id)
    }

    /// One action.
    pub fn action(&self, id: &str) -> Option<Arc<Action>> {
        self.read().actions.get(id)
    }

    /// Incidents that pass, newest first, at most `limit`, and the place to go on from.
    pub fn incidents(&self, page: &Page, pass: impl Fn(&Incident) -> bool) -> (Vec<Arc<Incident>>, Option<Place>) {
        select(&self.read().incidents, page, pass)
    }

    /// Anomalies that pass, newest first.
    pub fn anomalies(&self, page: &Page, pass: impl Fn(&Anomaly) -> bool) -> (Vec<Arc<Anomaly>>, Option<Place>) {
        select(&self.read().anomalies, page, pass)
    }

    /// Actions that pass, newest first.
    pub fn actions(&self, page: &Page, pass: impl Fn(&Action) -> bool) -> (Vec<Arc<Action>>, Option<Place>) {
        select(&self.read().actions, page, pass)
    }

    /// Series that pass, by key, after `after`.
    pub fn series(&self, after: Option<SeriesKey>, limit: usize, pass: impl Fn(&Series) -> bool) -> (Vec<SeriesSeen>, Option<SeriesKey>) {
        let charts = self.charts();
        let lower = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut found: Vec<SeriesSeen> = charts
            .series
            .range((lower, std::ops::Bound::Unbounded))
            .filter(|(_, watched)| pass(&watched.series))
            .take(limit + 1)
            .map(|(_, watched)| watched.seen())
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|seen| seen.series.key);
        (found, next)
    }

    /// Name and points of one series.
    pub fn points(&self, key: SeriesKey, from: UnixNanos, to: UnixNanos) -> Option<(SeriesSeen, Vec<SeriesPoint>)> {
        let charts = self.charts();
        let watched = charts.series.get(&key)?;
        Some((watched.seen(), watched.ring.between(from, to).collect()))
    }

    /// Services, who calls whom, and how they are.
    pub fn topology(&self) -> Topology {
        topology::of(&self.read(), &self.charts())
    }

    /// Open and kept incidents, open and kept anomalies, series, points.
    pub fn counts(&self) -> [usize; 6] {
        let (series, points) = {
            let charts = self.charts();
            (charts.series.len(), charts.points)
        };
        let state = self.read();
        let (incidents, anomalies) = (&state.incidents, &state.anomalies);
        [incidents.open(), incidents.len(), anomalies.open(), anomalies.len(), series, points]
    }

    /// End of the newest window, and its length.
    pub fn window(&self) -> (UnixNanos, u64) {
        let charts = self.charts();
        (charts.window_end, charts.window_ns)
    }

    /// Which models score.
    pub fn line_up(&self) -> Arc<LineUp> {
        self.read().line_up.clone()
    }

    /// Promised and real alerts, as of the newest window.
    pub fn budget(&self) -> BudgetState {
        self.read().budget
    }

    /// Series by how far they are known: learning, provisional, calibrated.
    pub fn maturities(&self) -> [usize; 3] {
        self.charts().maturities
    }

    fn see(&self, series: &Arc<Series>) {
        let mut charts = self.charts_mut();
        if charts.series.contains_key(&series.key) {
            return;
        }
        if charts.series.len() >= self.limits.series {
            metrics::counter!("geophone_view_series_refused_total").increment(1);
            return;
        }
        charts.maturities[Maturity::Learning as usize] += 1;
        let watched = Watched { series: series.clone(), maturity: Maturity::Learning, ring: Ring::default() };
        charts.series.insert(series.key, watched);
    }

    fn draw(&self, window: &ScoredWindow) {
        let end = window.features.at;
        for (part, keys) in window.features.keys.chunks(DRAWN_AT_ONCE).enumerate() {
            let mut charts = self.charts_mut();
            let Charts { series, points, maturities, .. } = &mut *charts;
            let per_series = self.limits.points_per_series.min(self.limits.points / series.len().max(1)).max(6);
            for (row, key) in (part * DRAWN_AT_ONCE..).zip(keys) {
                let Some(watched) = series.get_mut(key) else { continue };
                *points += watched.ring.put(point_of(window, row));
                *points -= watched.ring.trim(per_series);
                maturities[watched.maturity as usize] -= 1;
                watched.maturity = window.maturity.get(row).copied().unwrap_or_default();
                maturities[watched.maturity as usize] += 1;
            }
        }
        let mut charts = self.charts_mut();
        charts.window_end = charts.window_end.max(end);
        charts.window_ns = window.window_ns;
        drop(charts);
        let body = serde_json::json!({"at": end, "window_ns": window.window_ns, "series": window.features.len()});
        self.tell("window", &body);
    }

    fn tell(&self, kind: &'static str, body: &impl Serialize) {
        if self.bus.receiver_count() == 0 {
            return;
        }
        if let Ok(body) = serde_json::to_string(body) {
            // Nobody listens any more: nothing to do.
            let _ = self.bus.send(Event { kind, body: body.into() });
        }
    }

    // A panic while the lock was held leaves newest versions at worst out of order: better shown than none.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn charts(&self) -> RwLockReadGuard<'_, Charts> {
        self.charts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn charts_mut(&self) -> RwLockWriteGuard<'_, Charts> {
        self.charts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn seen(&self) -> SeriesSeen {
        SeriesSeen { series: self.series.clone(), maturity: self.maturity, last: self.ring.last() }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Go on after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
}

fn select<T: Kept>(shelf: &Shelf<T>, page: &Page, pass: impl Fn(&T) -> bool) -> (Vec<Arc<T>>, Option<Place>) {
    let mut found: Vec<Arc<T>> = shelf.newest_first(page.after.as_ref()).filter(|item| pass(item)).take(page.limit + 1).cloned().collect();
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|item| (item.at(), item.id().to_owned()));
    (found, next)
}

fn point_of(window: &ScoredWindow, row: usize) -> SeriesPoint {
    let number = |column: &[f64]| column.get(row).copied().filter(|value| value.is_finite());
    SeriesPoint {
        at: window.features.at,
        actual: number(&window.actual),
        expected: number(&window.expected),
        lower: number(&window.lower),
        upper: number(&window.upper),
        score: window.score.get(row).copied().filter(|value| value.is_finite()),
    }
}
