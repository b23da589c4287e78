//! All models beside the active one. The detector calls in here at each step of a window; with no
//! companion every call is a look at an empty list.

use super::{
    calibrate::{Calibration, score_of},
    companion::{Companion, CompanionState, Standing},
    comparison::{TrialBounds, trial, trouble},
    hysteresis::{Evidence, Gate},
};
use crate::window::StatKind;
use geophone_proto::{
    SeriesKey, UnixNanos,
    effect::{Part, ScoredWindow},
    model::{ModelRef, Role, Stage, Trial},
    seam::Model,
};

/// Shadows at a time.
const SHADOWS_MAX: usize = 3;

/// The companions.
#[derive(Default)]
pub(crate) struct Company {
    members: Vec<Companion>,
}

/// One scored row: its place in the frame, its series, and what the ring keeps of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoredRow {
    pub(crate) row: usize,
    pub(crate) kind: StatKind,
    pub(crate) voices: [f64; 3],
}

impl Company {
    pub(crate) fn restore(states: Vec<CompanionState>) -> Self {
        Self { members: states.into_iter().map(|state| Companion { state, model: None, asked: (0, 0) }).collect() }
    }

    pub(crate) fn snapshot(&self) -> Vec<CompanionState> {
        self.members.iter().map(|member| member.state.clone()).collect()
    }

    /// Whether the active model is alone.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Models that are known by name only.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &ModelRef> {
        self.members.iter().filter(|member| member.model.is_none()).map(|member| &member.state.model)
    }

    /// Gives a member its model back; returns it if nobody wants it.
    pub(crate) fn seat(&mut self, model: Box<dyn Model>) -> Option<Box<dyn Model>> {
        let own = model.card().model_ref();
        match self.members.iter_mut().find(|member| member.model.is_none() && member.state.model == own) {
            Some(member) => {
                member.model = Some(model);
                None
            }
            None => Some(model),
        }
    }

    pub(crate) fn trials(&self) -> Vec<Trial> {
        self.members.iter().filter(|member| !member.state.is_asleep).map(|member| member.state.trial.clone()).collect()
    }

    pub(crate) fn holds(&self, model: &ModelRef) -> bool {
        self.members.iter().any(|member| member.state.model == *model && member.model.is_some())
    }

    /// Begins a trial of this model, instead of one that it may be in.
    pub(crate) fn begin(&mut self, model: Option<Box<dyn Model>>, how: (Stage, u32), standing: &Standing<'_>) -> bool {
        let name = |model: &dyn Model| model.card().model_ref();
        let Some(own) = model.as_deref().map(name) else { return false };
        self.dismiss(&own);
        if how.0 == Stage::Canary {
            self.members.retain(|member| member.state.trial.stage != Stage::Canary);
        }
        let shadows = self.members.iter().filter(|member| member.state.trial.stage == Stage::Shadow).count();
        if how.0 == Stage::Shadow && shadows >= SHADOWS_MAX {
            let oldest = self.members.iter().position(|member| member.state.trial.stage == Stage::Shadow);
            oldest.map(|oldest| self.members.remove(oldest));
        }
        self.members.extend(model.map(|model| Companion::begin(model, how, standing)));
        true
    }

    /// A model that is on trial already goes on in another stage, with all it has learnt.
    pub(crate) fn go_on(&mut self, model: &ModelRef, how: (Stage, u32), standing: &Standing<'_>, gates: &[Gate]) -> bool {
        if !self.holds(model) {
            return false;
        }
        if how.0 == Stage::Canary {
            self.members.retain(|member| member.state.trial.stage != Stage::Canary || member.state.model == *model);
        }
        for member in self.members.iter_mut().filter(|member| member.state.model == *model) {
            member.state.wake(standing.windows, standing.rows);
            member.state.begin_again(trial(model.clone(), standing.active.clone(), how, standing.now), gates);
        }
        true
    }

    /// Takes a member out.
    pub(crate) fn take(&mut self, model: &ModelRef) -> Option<Companion> {
        let at = self.members.iter().position(|member| member.state.model == *model && member.model.is_some())?;
        Some(self.members.remove(at))
    }

    /// Ends the trial of a model; true if it was in one.
    pub(crate) fn dismiss(&mut self, model: &ModelRef) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.state.model != *model);
        self.members.len() < before
    }

    /// The model before the active one, on probation or asleep, is replaced by this one.
    pub(crate) fn keep_previous(&mut self, previous: Option<Companion>, standing: &Standing<'_>, gates: &[Gate]) {
        self.members.retain(|member| member.state.trial.stage != Stage::Probation);
        for member in &mut self.members {
            let Trial { model, stage, percent, .. } = member.state.trial.clone();
            member.state.begin_again(trial(model, standing.active.clone(), (stage, percent), standing.now), gates);
        }
        if let Some(mut previous) = previous {
            let against = previous.state.model.clone();
            let probation = trial(standing.active.clone(), against, (Stage::Probation, 100), standing.now);
            previous.state.begin_again(probation, gates);
            self.members.push(previous);
        }
    }

    pub(crate) fn resize(&mut self, rows: usize) {
        self.members.iter_mut().for_each(|member| member.state.resize(rows));
    }

    pub(crate) fn open_window(&mut self, rows: usize) {
        self.members.iter_mut().for_each(|member| member.state.open_window(rows));
    }

    pub(crate) fn forget_window(&mut self) {
        self.members.iter_mut().for_each(|member| member.state.forget_window());
    }

    pub(crate) fn learn(&mut self, at: (usize, usize), kind: StatKind, voices: [f64; 3]) {
        self.members.iter_mut().for_each(|member| member.state.learn(at, kind, voices));
    }

    /// A window has been scored.
    pub(crate) fn note_failures(&mut self) {
        self.members.iter_mut().for_each(Companion::note_failures);
    }

    /// The active model failed on rows of this window.
    pub(crate) fn note_active_failure(&mut self, mostly: bool) {
        let probation = self.members.iter_mut().filter(|member| member.state.trial.stage == Stage::Probation);
        probation.for_each(|member| member.state.note_failure(mostly));
    }

    /// Everybody scores the window; a canary's word replaces the active model's for its series.
    pub(crate) fn score(&mut self, position: usize, known: &[ScoredRow], window: &mut ScoredWindow, is_new: bool) {
        if self.members.is_empty() || known.is_empty() {
            return;
        }
        let active = (window.raw.clone(), window.score.clone());
        for member in &mut self.members {
            let Some(raw) = member.raw(&window.features) else { continue };
            let state = &mut member.state;
            let role = if state.trial.stage == Stage::Canary { Role::Canary } else { Role::Shadow };
            let mut part = Part { model: state.model.clone(), role, ..Part::default() };
            for (place, of) in known.iter().enumerate() {
                // A series that learns is scored by nobody.
                let raw = if active.0[place].is_nan() { f32::NAN } else { raw[place] };
                if let Some(kept) = state.raws.get_mut(position).and_then(|raws| raws.get_mut(of.row)) {
                    *kept = raw;
                }
                let Some(score) = state.level((position, of.row), of.kind, of.voices).map(score_of) else { continue };
                if is_new {
                    state.compare((active.0[place], raw), (active.1[place], score));
                }
                let key = window.features.keys[place];
                if role == Role::Canary && state.speaks_for(key) {
                    (window.raw[place], window.score[place]) = (raw, score);
                    part.rows.push(u32::try_from(place).unwrap_or(u32::MAX));
                } else if state.trial.stage == Stage::Shadow {
                    part.rows.push(u32::try_from(place).unwrap_or(u32::MAX));
                    part.raw.push(raw);
                    part.score.push(score);
                }
            }
            if !part.rows.is_empty() {
                window.parts.push(part);
            }
        }
    }

    /// The canary's reading of a row, where it speaks for that series.
    pub(crate) fn canary_level(&self, key: SeriesKey, at: (usize, usize), of: (StatKind, [f64; 3])) -> Option<f64> {
        let canary = self.members.iter().find(|member| member.state.speaks_for(key))?;
        canary.state.level(at, of.0, of.1)
    }

    /// The model that speaks for some series, to be asked why.
    pub(crate) fn canary(&mut self) -> Option<&mut (dyn Model + 'static)> {
        self.members.iter_mut().find(|member| member.state.trial.stage == Stage::Canary)?.model.as_deref_mut()
    }

    /// Judges one row as the unheard voices would. `active` = what the active model says of it.
    pub(crate) fn weigh(&mut self, at: (usize, usize), of: (SeriesKey, ScoredRow), heard: (Evidence, bool, bool), window: (f64, u64)) {
        let (key, row) = of;
        let (evidence, is_open, has_opened) = heard;
        let (active, window_ns) = window;
        for member in &mut self.members {
            let state = &mut member.state;
            let unheard = match state.trial.stage {
                Stage::Canary if state.speaks_for(key) => Some(active),
                Stage::Canary => None,
                Stage::Shadow | Stage::Probation => state.level(at, row.kind, row.voices),
            };
            let Some(unheard) = unheard else { continue };
            state.weigh(row.row, (evidence, is_open), unheard, window_ns);
            if has_opened {
                state.note_opened();
            }
        }
    }

    /// The window is over: who should go, and why. Ends probations that are over.
    pub(crate) fn close_looks(&mut self, bounds: &TrialBounds, now: UnixNanos) -> Vec<(ModelRef, String)> {
        let mut verdicts = Vec::new();
        for member in self.members.iter_mut().filter(|member| !member.state.is_asleep) {
            member.state.close_look();
            let trial = &member.state.trial;
            if let Some(why) = trouble(trial, bounds) {
                verdicts.push((trial.model.clone(), why));
            } else if trial.stage == Stage::Probation && u128::from(now.since(trial.since)) >= bounds.probation.as_nanos() {
                member.state.fall_asleep();
            }
        }
        verdicts
    }
}

/// Exchanges what the active model has learnt with what a companion has.
pub(crate) fn exchange(state: &mut CompanionState, calibration: &mut Calibration) {
    std::mem::swap(&mut state.calibration, calibration);
}
