//! A model that is not ours, on a thread of its own: one that hangs or panics costs an error, not the
//! brain, and no core either: its runtime is told to end. What it swells or crashes natively was tried in a
//! child process before it came here.

use super::stopwatch::Stopwatch;
use crate::{error::ServiceError, wiring::plain};
use geophone_proto::{
    Class,
    feature::FeatureFrame,
    model::ModelCard,
    seam::{Brake, Model, SeamError},
};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

/// Rows handed over at a time.
const ROWS_MAX: usize = 4_096;
/// A model that takes longer for them is never asked again.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer = Result<Vec<f32>, SeamError>;

/// Told once, when a model is given up, how it went: `hung` or `died`.
pub type Obituary = Box<dyn Fn(&str) + Send>;

/// The brain's end of it.
pub struct Guarded {
    card: ModelCard,
    /// None once it hung or died.
    line: Option<(SyncSender<FeatureFrame>, Receiver<Answer>)>,
    brake: Option<Brake>,
    obituary: Obituary,
    watch: Arc<Stopwatch>,
    patience: Duration,
}

impl Guarded {
    /// Moves the model to its thread, which ends with this value.
    pub fn start(model: Box<dyn Model>, watch: Arc<Stopwatch>, obituary: Obituary) -> Result<Self, ServiceError> {
        Self::with_patience(model, watch, obituary, PATIENCE)
    }

    /// The same with another patience.
    pub fn with_patience(
        mut model: Box<dyn Model>,
        watch: Arc<Stopwatch>,
        obituary: Obituary,
        patience: Duration,
    ) -> Result<Self, ServiceError> {
        let (card, brake) = (model.card().clone(), model.brake());
        let (to_model, frames) = sync_channel::<FeatureFrame>(1);
        let (answers, from_model) = sync_channel::<Answer>(1);
        plain("model", move || {
            while let Ok(frame) = frames.recv() {
                let mut scores = Vec::with_capacity(frame.len());
                let answer = model.score(&frame, &mut scores).map(|()| scores);
                if answers.send(answer).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { card, line: Some((to_model, from_model)), brake, obituary, watch, patience })
    }

    fn ask(&mut self, frame: FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        let failed = |message: String| SeamError { class: Class::Reject, message };
        let name = || format!("model {}@{}", self.card.name, self.card.version);
        let Some((to_model, from_model)) = &self.line else {
            return Err(failed(format!("{} hung or died before and is not asked again", name())));
        };
        let answer = match to_model.send(frame) {
            Ok(()) => from_model.recv_timeout(self.patience),
            Err(_) => Err(std::sync::mpsc::RecvTimeoutError::Disconnected),
        };
        match answer {
            Ok(answer) => {
                scores.extend(answer?);
                Ok(())
            }
            Err(error) => {
                let how = if error == std::sync::mpsc::RecvTimeoutError::Timeout { "hung" } else { "died" };
                metrics::counter!("geophone_models_abandoned_total", "reason" => how).increment(1);
                tracing::error!("{} {how} and is not asked again", name());
                let error = failed(format!("{} {how}", name()));
                // Its thread ends with the call, because nobody waits for the answer.
                self.line = None;
                self.brake.take().into_iter().for_each(|brake| brake());
                (self.obituary)(how);
                Err(error)
            }
        }
    }
}

impl Model for Guarded {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        let started = Instant::now();
        let mut answer = Ok(());
        for (keys, x) in frame.keys.chunks(ROWS_MAX).zip(frame.x.chunks(ROWS_MAX * frame.width.max(1))) {
            answer = self.ask(FeatureFrame { at: frame.at, width: frame.width, keys: keys.to_vec(), x: x.to_vec() }, scores);
            if answer.is_err() {
                break;
            }
        }
        self.watch.note(frame.at, frame.len(), started.elapsed());
        answer
    }
}
