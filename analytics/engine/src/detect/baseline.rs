//! A scorer that needs no file: the largest weighted deviation. Stands in where no trained model is
//! loaded or one fails, and is what trained models must beat.

use crate::features::{define::*, feature_schema};
use geophone_proto::{
    feature::FeatureFrame,
    model::{Dimension, ModelCard, TensorCard},
    seam::{Model, SeamError},
};

/// Weight of each feature that has a say.
const WEIGHTS: &[(usize, f32)] =
    &[(Z_1, 0.8), (Z_6, 1.0), (Z_18, 1.0), (EWMA_FAST, 0.8), (EWMA_SLOW, 0.7), (CUSUM_UP, 0.2), (CUSUM_DOWN, 0.2)];

/// The mean of the two largest of the weighted absolute deviations.
#[derive(Clone, Debug)]
pub struct LargestDeviation {
    card: ModelCard,
}

impl Default for LargestDeviation {
    fn default() -> Self {
        let schema = feature_schema();
        let tensor = |name: &str, width: &[u64]| TensorCard {
            name: name.into(),
            dtype: "float32".into(),
            shape: std::iter::once(Dimension::Free("N".into())).chain(width.iter().map(|&n| Dimension::Fixed(n))).collect(),
        };
        Self {
            card: ModelCard {
                name: "baseline-largest-deviation".into(),
                version: "1".into(),
                sha256: String::new(),
                feature_schema: schema.id.clone(),
                input: tensor("x", &[schema.width() as u64]),
                output: tensor("score", &[]),
                features: schema.names,
                description: Some("mean of the two largest weighted deviations".into()),
                licence: None,
                trained_on: None,
                opset: None,
            },
        }
    }
}

/// One row's raw score.
pub(crate) fn raw(row: &[f32]) -> f32 {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for &(feature, weight) in WEIGHTS {
        let part = weight * row[feature].abs();
        second = second.max(first.min(part));
        first = first.max(part);
    }
    0.5 * (first + second)
}

impl Model for LargestDeviation {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        scores.extend((0..frame.len()).map(|row| raw(frame.row(row))));
        Ok(())
    }
}
