//! Simple rules as `Model`s: what a learned model must beat, and what serves when none loads.

use crate::{card::sha256_hex, onnx_model::verify_frame};
use geophone_proto::{
    feature::{FeatureFrame, FeatureSchema},
    model::{Dimension, ModelCard, TensorCard},
    seam::{Model, SeamError},
};

/// How the columns become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Largest absolute value.
    MaxAbs,
    /// Mean of the absolute values.
    MeanAbs,
    /// Root of the sum of squares.
    Norm,
}

/// A rule over some features.
#[derive(Clone, Debug)]
pub struct Baseline {
    card: ModelCard,
    rule: Rule,
    columns: Vec<usize>,
}

impl Baseline {
    /// Largest |z| of the features whose name starts with `z_`; of all, if none does.
    pub fn max_abs_z(schema: &FeatureSchema) -> Self {
        Self::of("max-abs-z", "largest |z|", Rule::MaxAbs, schema, &z_columns(schema))
    }

    /// Mean |z| of the same features.
    pub fn mean_abs_z(schema: &FeatureSchema) -> Self {
        Self::of("mean-abs-z", "mean |z|", Rule::MeanAbs, schema, &z_columns(schema))
    }

    /// Euclidean length of the same features.
    pub fn norm_z(schema: &FeatureSchema) -> Self {
        Self::of("norm-z", "length of the vector of z", Rule::Norm, schema, &z_columns(schema))
    }

    /// Largest absolute value of these features; names that the schema lacks are left out.
    pub fn max_abs_of(schema: &FeatureSchema, names: &[&str]) -> Self {
        let columns: Vec<usize> = names.iter().filter_map(|name| schema.names.iter().position(|own| own == name)).collect();
        Self::of("max-abs", "largest absolute value", Rule::MaxAbs, schema, &columns)
    }

    fn of(name: &str, what: &str, rule: Rule, schema: &FeatureSchema, columns: &[usize]) -> Self {
        let chosen: Vec<&str> = columns.iter().map(|column| schema.names[*column].as_str()).collect();
        let version = "1";
        let shape = |second: u64| vec![Dimension::Free("N".into()), Dimension::Fixed(second)];
        let tensor = |name: &str, second| TensorCard { name: name.into(), dtype: "float32".into(), shape: shape(second) };
        let card = ModelCard {
            name: name.into(),
            version: version.into(),
            sha256: sha256_hex(format!("{name}@{version}").as_bytes()),
            feature_schema: schema.id.clone(),
            features: schema.names.clone(),
            input: tensor("features", schema.width() as u64),
            output: tensor("score", 1),
            description: Some(format!("{what} of {}", chosen.join(", "))),
            licence: Some("MIT OR Apache-2.0".into()),
            trained_on: None,
            opset: None,
        };
        Self { card, rule, columns: columns.to_vec() }
    }
}

/// Columns that hold deviations in standard deviations.
fn z_columns(schema: &FeatureSchema) -> Vec<usize> {
    let columns: Vec<usize> = (0..schema.width()).filter(|column| schema.names[*column].starts_with("z_")).collect();
    if columns.is_empty() { (0..schema.width()).collect() } else { columns }
}

impl Model for Baseline {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        verify_frame(frame, self.card.features.len())?;
        scores.extend((0..frame.len()).map(|row| {
            let row = frame.row(row);
            let values = self.columns.iter().map(|column| row[*column].abs());
            let score = match self.rule {
                Rule::MaxAbs => values.fold(0.0, f32::max),
                Rule::MeanAbs => values.sum::<f32>() / self.columns.len().max(1) as f32,
                Rule::Norm => values.map(|value| value * value).sum::<f32>().sqrt(),
            };
            if score.is_finite() { score } else { f32::MAX }
        }));
        Ok(())
    }
}
