//! Which models score, in which part: the fold of `ModelStep` records. What a step needs is offered
//! before it; a step whose model is not at hand changes nothing and is counted.

use crate::brain::{Brain, count};
use geophone_proto::{
    Effect,
    model::{LineUp, ModelRef, ModelStep, Retired, Stage},
    seam::Model,
};

/// Models that wait for their record.
const OFFERED_MAX: usize = 8;
/// Models remembered as having been active.
const BEFORE_MAX: usize = 8;
/// Models remembered as retired.
const RETIRED_MAX: usize = 16;

/// Models on their way in; no part of the state.
#[derive(Default)]
pub(crate) struct Seats {
    offered: Vec<Box<dyn Model>>,
    /// After a restore, until the first step.
    are_open: bool,
    /// Where a rollback leads when there was no other model before.
    refuge: Option<ModelRef>,
}

impl Seats {
    /// After a restore: models of the snapshot may come in.
    pub(crate) fn open() -> Self {
        Self { are_open: true, ..Self::default() }
    }

    fn take(&mut self, wanted: &ModelRef) -> Option<Box<dyn Model>> {
        let at = self.offered.iter().position(|offered| offered.card().model_ref() == *wanted)?;
        Some(self.offered.remove(at))
    }
}

impl Brain {
    /// Hands over a model that a snapshot or a later record names.
    pub fn offer(&mut self, model: Box<dyn Model>) {
        let own = model.card().model_ref();
        if self.seats.are_open && own == self.mind.line_up.active && self.detector.model_ref() != own {
            self.detector.take_seat(model);
            return;
        }
        let Some(model) = self.detector.seat(model) else { return };
        self.seats.offered.push(model);
        let excess = self.seats.offered.len().saturating_sub(OFFERED_MAX);
        self.seats.offered.drain(..excess);
    }

    /// Where a rollback leads when no other model was active before.
    pub fn set_refuge(&mut self, model: ModelRef) {
        self.seats.refuge = Some(model);
    }

    /// Models that the restored state names and that are not at hand.
    pub fn missing(&self) -> Vec<ModelRef> {
        let active = &self.mind.line_up.active;
        let active = (self.detector.model_ref() != *active).then(|| active.clone());
        active.into_iter().chain(self.detector.missing()).collect()
    }

    /// The model that must be offered before this step, where it is not at hand.
    pub fn wanted_by(&self, step: &ModelStep) -> Option<ModelRef> {
        let wanted = match step {
            ModelStep::Rollback { model, .. } if *model == self.mind.line_up.active => self.way_back()?,
            ModelStep::Rollback { .. } => return None,
            other => other.model().clone(),
        };
        (!self.detector.holds(&wanted)).then_some(wanted)
    }

    /// Who scores, in which part, and how trials stand.
    pub fn line_up(&self) -> LineUp {
        LineUp { trials: self.detector.trials(), ..self.mind.line_up.clone() }
    }

    fn way_back(&self) -> Option<ModelRef> {
        let line_up = &self.mind.line_up;
        line_up.before.last().or(self.seats.refuge.as_ref()).filter(|back| **back != line_up.active).cloned()
    }

    /// The first step after a restore: whoever is not there by now is left out.
    pub(crate) fn close_seats(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.seats.are_open) {
            return;
        }
        for gone in self.detector.missing() {
            self.detector.end_trial(&gone);
            self.retire(&gone, "its files are gone");
            effects.push(count("geophone_engine_model_steps_missed_total", "not_found", 1));
        }
        let standing_in = self.detector.model_ref();
        if standing_in != self.mind.line_up.active {
            self.detector.forget_model();
            let gone = std::mem::replace(&mut self.mind.line_up.active, standing_in.clone());
            self.retire(&gone, "its files are gone");
            self.note_swap(&standing_in, effects);
            effects.push(count("geophone_engine_model_steps_missed_total", "not_found", 1));
        }
    }

    pub(crate) fn model_step(&mut self, step: &ModelStep, effects: &mut Vec<Effect>) {
        let now = self.mind.now;
        let given = self.wanted_by(step).and_then(|wanted| self.seats.take(&wanted));
        let done = match step {
            ModelStep::Shadow { model } => self.detector.try_out(model, given, (Stage::Shadow, 0), now),
            ModelStep::Canary { model, percent } => self.detector.try_out(model, given, (Stage::Canary, (*percent).clamp(1, 99)), now),
            ModelStep::Promote { model } => self.promote(model, given, effects),
            ModelStep::Start { model } => {
                let promoted = self.mind.line_up.active == *model || self.promote(model, given, effects);
                if promoted {
                    self.mind.line_up.start = model.clone();
                }
                promoted
            }
            ModelStep::Rollback { model, reason } => self.roll_back(model, (given, reason), effects),
        };
        if done {
            if !matches!(step, ModelStep::Rollback { .. }) {
                self.mind.line_up.retired.retain(|retired| retired.model != *step.model());
            }
        } else {
            effects.push(count("geophone_engine_model_steps_missed_total", "no_change", 1));
        }
        effects.push(Effect::LineUp(Box::new(self.line_up())));
    }

    fn promote(&mut self, model: &ModelRef, given: Option<Box<dyn Model>>, effects: &mut Vec<Effect>) -> bool {
        if self.mind.line_up.active == *model || !self.detector.promote(model, given, self.mind.now) {
            return false;
        }
        let line_up = &mut self.mind.line_up;
        line_up.before.retain(|before| before != model);
        line_up.before.push(std::mem::replace(&mut line_up.active, model.clone()));
        let excess = line_up.before.len().saturating_sub(BEFORE_MAX);
        line_up.before.drain(..excess);
        self.note_swap(model, effects);
        true
    }

    fn roll_back(&mut self, model: &ModelRef, (given, reason): (Option<Box<dyn Model>>, &str), effects: &mut Vec<Effect>) -> bool {
        if *model != self.mind.line_up.active {
            let ended = self.detector.end_trial(model);
            if ended {
                self.retire(model, reason);
            }
            return ended;
        }
        let Some(back) = self.way_back() else { return false };
        if !self.detector.go_back(&back, given, self.mind.now) {
            return false;
        }
        self.mind.line_up.before.pop();
        self.mind.line_up.active = back.clone();
        self.retire(model, reason);
        self.mind.line_up.retired.retain(|retired| retired.model != back);
        self.note_swap(&back, effects);
        true
    }

    fn retire(&mut self, model: &ModelRef, reason: &str) {
        let retired = &mut self.mind.line_up.retired;
        retired.retain(|known| known.model != *model);
        retired.push(Retired { model: model.clone(), at: self.mind.now, reason: reason.to_owned() });
        let excess = retired.len().saturating_sub(RETIRED_MAX);
        retired.drain(..excess);
    }

    fn note_swap(&mut self, model: &ModelRef, effects: &mut Vec<Effect>) {
        let noted = self.mind.correlator.swapped(self.mind.now, model);
        effects.extend(noted.into_iter().map(|incident| Effect::Incident(Box::new(incident))));
    }

    /// After a window: how trials stand, and who should go.
    pub(crate) fn tell_of_models(&mut self, unfit: Vec<(ModelRef, String)>, amended: bool, effects: &mut Vec<Effect>) {
        for (model, reason) in unfit {
            if model != self.mind.line_up.active || self.way_back().is_some() {
                effects.push(Effect::WantRollback { model, reason });
            }
        }
        if !amended && self.detector.has_company() {
            effects.push(Effect::LineUp(Box::new(self.line_up())));
        }
    }
}

#[cfg(test)]
#[path = "line_up_tests.rs"]
mod tests;
