//! The whole brain as one fold: a record in, effects out. Nothing here reads a clock or does IO.
//!
//! batch or tick -> observer -> for each closed window, in order: detector -> correlator -> decider.
//! Called by the roof's one brain thread, in log order. Invariant: the same records give the same
//! effects; so after a restart effects come again and their receivers take the newest version of an
//! id, and do each `Perform` (action id, undo or not) once.

use crate::{
    budget::Ledger,
    correlate::{Correlator, Findings, Release, Sight, Tails},
    decide::{Decider, Move, Ward},
    detect::{Detector, DetectorSnapshot, Scored},
    error::EngineError,
    line_up::Seats,
    observe::Observer,
    settings::Settings,
    window::{ClosedWindow, SeriesIndex},
};
use geophone_proto::{
    Effect, Record, RecordBody, Seq, UnixNanos,
    anomaly::Anomaly,
    effect::ScoredWindow,
    incident::Incident,
    model::{LineUp, ModelRef},
    seam::Model,
    series::{Series, SeriesKey},
    stacks::StackRequest,
};
use serde::{Deserialize, Serialize};
use std::{io, sync::Arc};

/// Raised whenever the snapshot's layout changes.
const LAYOUT: u32 = 13;
/// Hosts are looked up again after so many windows.
const PLACES_EVERY: u64 = 6;

/// State = fold(log).
pub struct Brain {
    settings: Settings,
    pub(crate) observer: Observer,
    pub(crate) detector: Detector,
    pub(crate) mind: Mind,
    pub(crate) seats: Seats,
}

/// What the brain itself keeps, all of it plain data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Mind {
    pub(crate) names: Vec<Arc<Series>>,
    tails: Tails,
    pub(crate) correlator: Correlator,
    decider: Decider,
    /// Which models score; trials stand in the detector.
    pub(crate) line_up: LineUp,
    /// End of the newest scored window.
    pub(crate) now: UnixNanos,
    settled: Option<UnixNanos>,
    windows: u64,
}

/// One layout for both ways: borrowed to write, so that nothing is there twice, owned to read.
#[derive(Serialize, Deserialize)]
struct Snapshot<O, D, M> {
    layout: u32,
    settings: String,
    observer: O,
    detector: D,
    mind: M,
}

/// Settings that shape the state; others may change over a restart.
fn shape(settings: &Settings) -> String {
    format!(
        "window {:?}, delay {:?}, allowed_lateness {:?}, alerts_per_week {}, series {} / {}",
        settings.window,
        settings.delay,
        settings.allowed_lateness,
        settings.alerts_per_week,
        settings.series_per_tenant_max,
        settings.series_per_name_max
    )
}

impl Brain {
    /// A brain that knows nothing yet.
    pub fn new(settings: Settings, model: Box<dyn Model>) -> Self {
        let observer = Observer::new(&settings);
        let own = model.card().model_ref();
        let line_up = LineUp { start: own.clone(), active: own, ..LineUp::default() };
        let detector = Detector::new(&settings, model);
        let mut mind = Mind { line_up, ..Mind::default() };
        mind.correlator.ledger = Ledger::new(settings.alerts_per_week);
        Self { settings, observer, detector, mind, seats: Seats::default() }
    }

    /// A brain that knows nothing but which models scored before its log begins.
    pub fn with_line_up(settings: Settings, active: Box<dyn Model>, line_up: LineUp) -> Self {
        let active_ref = active.card().model_ref();
        let mut brain = Self::new(settings, active);
        brain.mind.line_up = LineUp { active: active_ref, trials: Vec::new(), ..line_up };
        brain
    }

    /// Goes on from a snapshot. Models that it names and that differ from the given one are `missing`
    /// and can be `offer`ed until the first step; the given one stands in for the active one.
    ///
    /// # Errors
    /// If the bytes are none, have another layout, or were made under settings that shape the state
    /// differently; then the log must be replayed.
    pub fn restore(settings: Settings, model: Box<dyn Model>, bytes: &[u8]) -> Result<Self, EngineError> {
        let (layout, _) = postcard::take_from_bytes::<u32>(bytes)?;
        if layout != LAYOUT {
            return Err(EngineError::Layout { found: layout, wanted: LAYOUT });
        }
        let (was, now) = (postcard::take_from_bytes::<(u32, String)>(bytes)?.0.1, shape(&settings));
        if was != now {
            return Err(EngineError::Settings { was, now });
        }
        let snapshot: Snapshot<Observer, DetectorSnapshot, Mind> = postcard::from_bytes(bytes)?;
        let detector = Detector::restore(&settings, snapshot.detector, model);
        let mut observer = snapshot.observer;
        observer.set_budgets(&settings);
        let seats = Seats::open();
        Ok(Self { settings, observer, detector, mind: snapshot.mind, seats })
    }

    /// Everything but settings and model, as bytes, piece by piece: as a whole they are as large as the brain.
    ///
    /// # Errors
    /// If the sink takes no more.
    pub fn save(&mut self, sink: impl io::Write) -> Result<(), EngineError> {
        self.settle();
        let settings = shape(&self.settings);
        let (observer, detector, mind) = (&self.observer, self.detector.snapshot(), &self.mind);
        postcard::to_io(&Snapshot { layout: LAYOUT, settings, observer, detector, mind }, sink).map_err(EngineError::Unwritten)?;
        Ok(())
    }

    /// `save`, in one piece.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.save(&mut bytes).expect("memory takes all");
        bytes
    }

    /// Who scores.
    pub fn model(&self) -> ModelRef {
        self.detector.model_ref()
    }

    /// Takes the next record of the log. A batch must come with `decoded` set.
    pub fn step(&mut self, seq: Seq, record: &Record) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.settle();
        self.close_seats(&mut effects);
        match &record.body {
            RecordBody::Batch(export) => match &export.decoded {
                Some(batch) => {
                    self.observer.batch(batch, seq);
                    self.advance(&mut effects);
                }
                None => effects.push(count("geophone_engine_batches_skipped_total", "not_decoded", 1)),
            },
            RecordBody::Tick => {
                self.observer.tick(record.at);
                self.advance(&mut effects);
            }
            RecordBody::Decided(decision) => {
                let step = self.mind.decider.decided(decision, self.observer.complete());
                self.mind.carry_out(step, self.observer.complete(), &mut effects);
            }
            RecordBody::Outcome(outcome) => {
                let at = self.observer.complete().max(self.mind.now);
                let step = self.mind.decider.outcome(&self.settings, outcome, at);
                self.mind.carry_out(step, at, &mut effects);
            }
            RecordBody::Model(step) => self.model_step(step, &mut effects),
            RecordBody::Stacks(answer) => match self.mind.correlator.attach(answer) {
                Some(effect) => effects.push(effect),
                None => effects.push(count(
                    "geophone_engine_stacks_unused_total",
                    if answer.stacks.is_some() { "unknown_anomaly" } else { "none_found" },
                    1,
                )),
            },
        }
        effects
    }

    /// Does what the last step left: nobody waits for it, so whoever steps hands on the effects first. The next step
    /// does it where nobody has.
    pub fn settle(&mut self) {
        self.observer.settle();
        self.detector.settle();
    }

    /// Does a little of what the closing of the next window will want, if its points should be there by now; false if
    /// there is nothing to do. Whether and when this is called leaves no trace in what `step` gives.
    pub fn draft(&mut self) -> bool {
        self.settle();
        let Some(drafted) = self.observer.draft() else { return false };
        self.detector.draft(drafted);
        true
    }

    /// No more records will come (end of a replay): closes what the data have completed.
    pub fn finish(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.observer.finish();
        self.advance(&mut effects);
        effects
    }

    /// Everything that new rows or time have completed.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        for (index, series, kind) in self.observer.new_series() {
            let series = Arc::new(series);
            self.detector.series(index, &series, kind);
            self.mind.learn(index, &series);
            effects.push(Effect::SeriesSeen(series));
        }
        for closed in self.observer.drain() {
            self.window(&closed, effects);
        }
        effects.extend(self.observer.counts().into_iter().map(|(name, reason, by)| count(name, reason, by)));
        let settled = self.observer.settled();
        if let Some(at) = settled.filter(|_| settled > self.mind.settled) {
            self.mind.settled = settled;
            effects.push(Effect::Settled(at));
        }
    }

    fn window(&mut self, closed: &ClosedWindow, effects: &mut Vec<Effect>) {
        let Scored { mut window, mut later, mut flags, candidates, counts, unfit } = self.detector.window(closed);
        effects.extend(counts.into_iter().map(|(name, reason, by)| count(name, reason, by)));
        let at = UnixNanos(closed.start_ns).plus(closed.length_ns);
        if !closed.amended {
            self.mind.now = self.mind.now.max(at);
            self.look_around();
        }
        let rows = self.rows_of(closed, &window);
        self.mind.tails.dress(&rows, &mut window, (!closed.amended).then_some(&mut flags[..]));
        for scored in &mut later {
            let rows = self.rows_of(closed, scored);
            self.mind.tails.dress(&rows, scored, None);
        }
        let left_out = self.find_carriers(&mut flags);
        if left_out > 0 {
            effects.push(count("geophone_engine_attributes_skipped_total", "too_many_at_once", left_out));
        }
        let (names, known, amended) = (&self.mind.names[..], self.detector.known(), closed.amended);
        let sight = Sight { window: &window, rows: &rows, flags: &flags, candidates: &candidates, known, amended, names };
        let findings = self.mind.correlator.step(sight);
        self.detector.set_bar(self.mind.correlator.ledger.bar());
        let map = self.mind.correlator.map();
        self.detector.set_bare(map.has_spans() && !map.has_clients());
        // First what somebody waits for: rows of many series take their receivers a while.
        self.tell(findings, at, effects);
        self.tell_of_models(unfit, closed.amended, effects);
        if !closed.amended {
            effects.push(Effect::Budget(self.mind.correlator.ledger.state()));
            self.decide(at, closed.length_ns, effects);
        }
        let told = std::iter::once(window).chain(later).filter(|scored| !scored.features.is_empty());
        effects.extend(told.map(|scored| Effect::Window(Arc::new(scored))));
    }

    /// The series and samples of each row of a scored window, which has the closed window's rows or fewer, in order.
    fn rows_of(&self, closed: &ClosedWindow, window: &ScoredWindow) -> Vec<(SeriesIndex, f64)> {
        if closed.rows.len() == window.features.len() {
            return closed.rows.iter().map(|row| (row.series, row.stat.n)).collect();
        }
        let mut keys = window.features.keys.iter().peekable();
        let is_known = |index: SeriesIndex, key: &SeriesKey| self.detector.key_of(index) == Some(*key);
        let rows = closed.rows.iter().map(|row| (row.series, row.stat.n));
        rows.filter(|(index, _)| keys.next_if(|key| is_known(*index, key)).is_some()).collect()
    }

    /// What the observer has learnt about places and versions.
    fn look_around(&mut self) {
        let topology = self.observer.topology();
        let map = self.mind.correlator.map_mut();
        for deploy in topology.deploys().iter().rev().take_while(|deploy| deploy.at.plus(600_000_000_000) >= self.mind.now) {
            let release = Release { at: deploy.at, from: deploy.previous.clone(), to: deploy.version.clone() };
            map.learn_release(&deploy.tenant, &deploy.service, release);
        }
        if self.mind.windows.is_multiple_of(PLACES_EVERY) {
            map.renew_hosts(&|tenant, service| topology.hosts_of(tenant, service));
        }
        self.mind.windows += 1;
    }

    fn tell(&mut self, findings: Findings, at: UnixNanos, effects: &mut Vec<Effect>) {
        let Findings { anomalies, incidents, wanted } = findings;
        effects.extend(anomalies.into_iter().map(|anomaly| Effect::Anomaly(Box::new(anomaly))));
        effects.extend(incidents.into_iter().map(|incident| Effect::Incident(Box::new(incident))));
        effects.extend(wanted.into_iter().filter_map(|(series, anomaly)| self.want_stacks(series, &anomaly, at)));
    }

    fn want_stacks(&self, series: SeriesIndex, anomaly: &Anomaly, at: UnixNanos) -> Option<Effect> {
        let samples = self.observer.span_samples(series, at).filter(|samples| !samples.flagged.is_empty())?;
        Some(Effect::WantStacks(Box::new(StackRequest {
            anomaly_id: anomaly.id.clone(),
            service: samples.service,
            instance: String::new(),
            flagged: samples.flagged,
            baseline: samples.baseline,
            places: Vec::new(),
        })))
    }

    fn decide(&mut self, at: UnixNanos, window_ns: u64, effects: &mut Vec<Effect>) {
        if self.settings.policies.is_empty() {
            return;
        }
        let Mind { correlator, decider, .. } = &mut self.mind;
        let ails = |incident: &str, service: &str| correlator.ails(incident, service, at, window_ns);
        let ward = Ward { at, open: correlator.open_incidents().cloned().collect(), ails: &ails };
        for step in decider.step(&self.settings, &ward) {
            self.mind.carry_out(Some(step), at, effects);
        }
    }
}

impl Mind {
    fn learn(&mut self, index: SeriesIndex, series: &Arc<Series>) {
        let slot = index as usize;
        if self.names.len() <= slot {
            self.names.resize(slot + 1, series.clone());
        }
        self.names[slot] = series.clone();
        self.tails.learn_series(index, series.kind);
        self.correlator.map_mut().learn_series(index, series);
    }

    /// Tells an action's step to everybody concerned; asks for it last.
    fn carry_out(&mut self, step: Option<Move>, at: UnixNanos, effects: &mut Vec<Effect>) {
        let Some(Move { action, event, perform }) = step else {
            effects.push(count("geophone_engine_answers_ignored_total", "no_such_action", 1));
            return;
        };
        let noted: Option<Incident> = self.correlator.note(&action.incident_id, at, &action.id, event);
        effects.push(Effect::Action(Box::new(action)));
        effects.extend(noted.map(|incident| Effect::Incident(Box::new(incident))));
        effects.extend(perform.map(|request| Effect::Perform(Box::new(request))));
    }
}

pub(crate) fn count(name: &'static str, reason: &'static str, by: u64) -> Effect {
    Effect::Count { name, reason, by }
}

#[cfg(test)]
#[path = "brain_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "draft_tests.rs"]
mod draft_tests;
