//! Models come and go between two windows: trials, promotions, rollbacks. What a model has learnt of
//! its own scores goes with it, so that a swap neither silences nor floods.

use super::{
    companion::{Companion, Standing},
    company::exchange,
    detector::Detector,
};
use geophone_proto::{
    UnixNanos,
    model::{ModelRef, Stage, Trial},
    seam::Model,
};

/// `Standing` of the detector's fields, so that the company can be changed beside it.
macro_rules! standing {
    ($detector:expr, $now:expr) => {
        &Standing {
            rows: $detector.state.traits.len(),
            windows: $detector.state.ring.slots.len(),
            active: $detector.model.card().model_ref(),
            calibration: &$detector.state.calibration,
            now: $now,
        }
    };
}

impl Detector {
    /// Trials that go on, as they stand.
    pub fn trials(&self) -> Vec<Trial> {
        self.company.trials()
    }

    /// Whether this model is at hand, active or beside.
    pub fn holds(&self, model: &ModelRef) -> bool {
        self.model_ref() == *model || self.company.holds(model)
    }

    /// Companions of a snapshot that wait for their model.
    pub fn missing(&self) -> Vec<ModelRef> {
        self.company.missing().cloned().collect()
    }

    /// Gives a companion of a snapshot its model back; returns it where none waits for it.
    pub fn seat(&mut self, model: Box<dyn Model>) -> Option<Box<dyn Model>> {
        self.company.seat(model)
    }

    /// The active model of a snapshot, with which its calibration was learnt.
    pub fn take_seat(&mut self, model: Box<dyn Model>) {
        self.model = model;
        self.drafts = None;
    }

    /// The active model is another than the one that the calibration was learnt with.
    pub fn forget_model(&mut self) {
        self.state.calibration.forget_model();
        self.drafts = None;
    }

    /// Whether any model scores beside the active one.
    pub fn has_company(&self) -> bool {
        !self.company.trials().is_empty()
    }

    /// Tries a model in this stage; one that is on trial already keeps what it has learnt. False if
    /// it is neither at hand nor given, or active.
    pub fn try_out(&mut self, wanted: &ModelRef, model: Option<Box<dyn Model>>, how: (Stage, u32), now: UnixNanos) -> bool {
        if self.model_ref() == *wanted {
            return false;
        }
        let standing = standing!(self, now);
        self.company.go_on(wanted, how, standing, &self.state.gates) || self.company.begin(model, how, standing)
    }

    /// Ends the trial of a model; true if it was in one.
    pub fn end_trial(&mut self, model: &ModelRef) -> bool {
        self.company.dismiss(model)
    }

    /// Makes a model the active one. The one before stays beside it, on probation with it. False if
    /// it is neither at hand nor given.
    pub fn promote(&mut self, wanted: &ModelRef, model: Option<Box<dyn Model>>, now: UnixNanos) -> bool {
        let Some(previous) = self.change(wanted, model, now) else { return false };
        self.company.keep_previous(Some(previous), standing!(self, now), &self.state.gates);
        true
    }

    /// Goes back to a model; the one that was active is gone.
    pub fn go_back(&mut self, target: &ModelRef, model: Option<Box<dyn Model>>, now: UnixNanos) -> bool {
        if self.change(target, model, now).is_none() {
            return false;
        }
        self.company.keep_previous(None, standing!(self, now), &self.state.gates);
        true
    }

    /// Exchanges the active model, its calibration and its part of the ring with another's.
    fn change(&mut self, wanted: &ModelRef, model: Option<Box<dyn Model>>, now: UnixNanos) -> Option<Companion> {
        let standing = standing!(self, now);
        let mut other = match self.company.take(wanted) {
            Some(mut known) => {
                known.state.wake(standing.windows, standing.rows);
                known
            }
            None => Companion::begin(model?, (Stage::Shadow, 0), standing),
        };
        std::mem::swap(&mut self.model, other.model.as_mut()?);
        self.drafts = None;
        other.state.model = standing.active.clone();
        let state = &mut self.state;
        exchange(&mut other.state, &mut state.calibration);
        std::mem::swap(&mut state.readings, &mut other.state.readings);
        for (slot, raws) in state.ring.slots.iter_mut().zip(&mut other.state.raws) {
            std::mem::swap(&mut slot.raw, raws);
        }
        state.failing = 0;
        Some(other)
    }
}
