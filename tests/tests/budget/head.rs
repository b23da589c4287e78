//! The brain with a log position of its own, and what it said.

use geophone_client::ExportRequest;
use geophone_engine::{Brain, Settings, detect::baseline::LargestDeviation};
use geophone_proto::{
    Effect, Record, RecordBody, Seq, Series, SeriesKey, Tenant, Transport, UnixNanos,
    anomaly::Maturity,
    effect::{BudgetState, ScoredWindow},
    incident::Incident,
    record::Export,
    time::SECOND_NS,
};
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

/// The brain.
pub struct Head {
    brain: Brain,
    seq: Seq,
    pub incidents: BTreeMap<String, Incident>,
    pub series: BTreeMap<SeriesKey, Known>,
    pub budget: BudgetState,
}

impl Head {
    /// Knows nothing; promises so many false alarms a week.
    pub fn new(alerts_per_week: f64) -> Self {
        let settings = Settings { alerts_per_week, ..Settings::default() };
        let brain = Brain::new(settings, Box::new(LargestDeviation::default()));
        Self { brain, seq: Seq(0), incidents: BTreeMap::new(), series: BTreeMap::new(), budget: BudgetState::default() }
    }

    /// Takes what was sent at this moment.
    pub fn beat(&mut self, at: UnixNanos, requests: &[ExportRequest]) {
        for request in requests {
            let mut export = Export {
                tenant: Tenant::default(),
                signal: request.signal(),
                transport: Transport::File,
                wire: request.encode(),
                decoded: None,
            };
            export.decoded = Some(geophone_ingest::decode_export(&export, at));
            self.step(&Record { at, body: RecordBody::Batch(export) });
        }
        self.step(&Record { at, body: RecordBody::Tick });
    }

    fn step(&mut self, record: &Record) {
        self.seq = self.seq.next();
        for effect in self.brain.step(self.seq, record) {
            match effect {
                Effect::Incident(incident) => drop(self.incidents.insert(incident.id.clone(), *incident)),
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
