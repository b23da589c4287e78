//! A brain, and what it said of its series and its budget.

use geophone_client::ExportRequest;
use geophone_engine::{Settings, detect::baseline::LargestDeviation};
use geophone_proto::{
    Effect, Series, SeriesKey, UnixNanos,
    anomaly::Maturity,
    effect::{BudgetState, ScoredWindow},
    incident::Incident,
    time::SECOND_NS,
};
use geophone_tests::head::Head;
use std::{collections::BTreeMap, sync::Arc};

/// Where all installations begin.
pub const START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);

/// A series from its first row on.
pub struct Known {
    pub series: Arc<Series>,
    /// How many came before it.
    pub index: usize,
    /// Start of the first window with a row, end of the first with a score, and how far it was known then.
    pub first_row: Option<UnixNanos>,
    pub first_score: Option<UnixNanos>,
    pub first_maturity: Maturity,
}

/// A brain that is listened to.
pub struct Watched {
    head: Head,
    pub series: BTreeMap<SeriesKey, Known>,
    pub budget: BudgetState,
}

impl Watched {
    /// Knows nothing; promises so many false alarms a week.
    pub fn new(alerts_per_week: f64) -> Self {
        let settings = Settings { alerts_per_week, ..Settings::default() };
        let head = Head::new(settings, Box::new(LargestDeviation::default()));
        Self { head, series: BTreeMap::new(), budget: BudgetState::default() }
    }

    /// As last told, by id.
    pub const fn incidents(&self) -> &BTreeMap<String, Incident> {
        &self.head.incidents
    }

    /// Takes what was sent at this moment.
    pub fn beat(&mut self, at: UnixNanos, requests: &[ExportRequest]) {
        for request in requests {
            let effects = self.head.take(at, request);
            self.hear(effects);
        }
        let effects = self.head.tick(at);
        self.hear(effects);
    }

    fn hear(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SeriesSeen(series) => {
                    let index = self.series.len();
                    let known = Known { series, index, first_row: None, first_score: None, first_maturity: Maturity::Learning };
                    self.series.insert(known.series.key, known);
                }
                Effect::Window(window) => self.look(&window),
                Effect::Budget(budget) => self.budget = budget,
                _ => {}
            }
        }
    }

    fn look(&mut self, window: &ScoredWindow) {
        for (row, key) in window.features.keys.iter().enumerate() {
            let Some(known) = self.series.get_mut(key).filter(|known| known.first_score.is_none()) else { continue };
            known.first_row.get_or_insert(window.features.at.minus(window.window_ns));
            if !window.score[row].is_nan() {
                known.first_score = Some(window.features.at);
                known.first_maturity = window.maturity[row];
            }
        }
    }
}
