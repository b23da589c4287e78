//! A `Model` made of `model.onnx`, its card and its check rows, in either runtime.
//!
//! Exists only after everything the card promises was verified; so who holds one may score with it.

use crate::{
    card,
    check_rows::CheckRows,
    embedded::{self, Embedded},
    error::ModelError,
    graph::Graph,
    onnxruntime::Native,
    runtime::{self, Runtime},
};
use geophone_proto::{
    Class,
    feature::FeatureFrame,
    model::ModelCard,
    seam::{Brake, Model, SeamError},
};

/// Allowed difference between a check row's expectation and what the runtime computes.
pub const TOLERANCE: f32 = 1e-3;

/// Relative difference that sums in float32 may come to: a score off by no more is right, but too large for `TOLERANCE`.
const FLOAT32_SLACK: f32 = 1e-4;

/// Stands for an infinite score: finite, and above everything real.
const LARGEST: f32 = 1e30;

enum Engine {
    Embedded(Box<Embedded>),
    Native(Native),
}

/// A verified model.
pub struct OnnxModel {
    card: ModelCard,
    engine: Engine,
    runtime: String,
    /// Largest difference seen on the check rows.
    deviation: f32,
}

impl std::fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxModel").field("model", &self.card.model_ref()).field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

impl OnnxModel {
    /// Verifies and loads: hash, graph against card, check rows against the runtime.
    pub(crate) fn open(bytes: &[u8], card: ModelCard, rows: &CheckRows, runtime: Runtime) -> Result<Self, ModelError> {
        card::verify_hash(&card, bytes)?;
        let graph = Graph::read(bytes)?;
        card::verify_graph(&card, &graph)?;
        rows.verify(&card)?;
        let (engine, name) = match runtime {
            Runtime::Embedded => {
                (Engine::Embedded(Box::new(Embedded::load(&graph)?)), format!("the embedded runtime ({})", embedded::NAME))
            }
            Runtime::OnnxRuntime => {
                let opened = runtime::opened()?;
                (Engine::Native(Native::load(opened, &graph, bytes)?), opened.name.clone())
            }
        };
        let mut model = Self { card, engine, runtime: name, deviation: 0.0 };
        model.reproduce(rows)?;
        Ok(model)
    }

    /// Name of the runtime it runs in.
    pub fn runtime(&self) -> &str {
        &self.runtime
    }

    /// Largest difference between the check rows' expectation and what was computed at load.
    pub const fn deviation(&self) -> f32 {
        self.deviation
    }

    /// Computes the check rows in one batch and one by one: both must give what the file expects.
    fn reproduce(&mut self, rows: &CheckRows) -> Result<(), ModelError> {
        let mut together = Vec::with_capacity(rows.len());
        self.raw(&rows.x, &mut together)?;
        let mut alone = Vec::with_capacity(rows.len());
        rows.x.chunks(rows.width).take(16).try_for_each(|row| self.raw(row, &mut alone))?;
        for found in [together, alone] {
            for (row, (found, expected)) in found.iter().zip(&rows.expected).enumerate() {
                self.judge(row, *found, *expected)?;
            }
        }
        Ok(())
    }

    fn judge(&mut self, row: usize, found: f32, expected: f32) -> Result<(), ModelError> {
        let runtime = || self.runtime.clone();
        if !found.is_finite() {
            return Err(ModelError::NotFinite { row, runtime: runtime(), found });
        }
        let difference = (found - expected).abs();
        if difference > TOLERANCE && difference <= FLOAT32_SLACK * expected.abs() {
            return Err(ModelError::TooLarge { row, runtime: runtime(), expected, found, tolerance: TOLERANCE });
        }
        if difference > TOLERANCE {
            return Err(ModelError::Differs { row, runtime: runtime(), expected, found, tolerance: TOLERANCE });
        }
        self.deviation = self.deviation.max(difference);
        Ok(())
    }

    fn raw(&mut self, x: &[f32], scores: &mut Vec<f32>) -> Result<(), ModelError> {
        match &mut self.engine {
            Engine::Embedded(embedded) => embedded.run(x, scores),
            Engine::Native(native) => native.run(x, scores),
        }
    }
}

impl Model for OnnxModel {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    /// A row for which the model gives no number stays NaN, an infinite one is the largest number; both
    /// are counted, and one odd row never costs its neighbours their scores.
    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        verify_frame(frame, self.card.features.len())?;
        if let Err(error) = self.raw(&frame.x, scores) {
            scores.clear();
            metrics::counter!("geophone_models_score_failures_total").increment(1);
            return Err(error.seam());
        }
        let mut odd = 0;
        for score in scores.iter_mut().filter(|score| !score.is_finite()) {
            *score = if score.is_nan() { f32::NAN } else { LARGEST.copysign(*score) };
            odd += 1;
        }
        if odd > 0 {
            metrics::counter!("geophone_models_scores_not_finite_total").increment(odd);
        }
        Ok(())
    }

    fn brake(&self) -> Option<Brake> {
        Some(match &self.engine {
            Engine::Embedded(embedded) => embedded.brake(),
            Engine::Native(native) => native.brake(),
        })
    }
}

/// The frame is rectangular and as wide as the model.
pub(crate) fn verify_frame(frame: &FeatureFrame, width: usize) -> Result<(), SeamError> {
    let refuse = |message: String| Err(SeamError { class: Class::Bug, message });
    if frame.width != width {
        return refuse(format!("the frame has {} features, but the model takes {width}", frame.width));
    }
    if frame.x.len() != frame.keys.len() * frame.width {
        return refuse(format!("the frame holds {} numbers for {} rows of {width}", frame.x.len(), frame.keys.len()));
    }
    Ok(())
}
