//! What a model says of itself, and the steps of its life.

use crate::time::UnixNanos;
use serde::{Deserialize, Serialize};

/// Name, version and hash: no score goes without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelRef {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of `model.onnx` in hex; of the name and version where a baseline has no file.
    pub sha256: String,
}

/// `card.toml`: what must hold before a model may score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of `model.onnx` in hex.
    pub sha256: String,
    /// Id of the feature schema it was trained on.
    pub feature_schema: String,
    /// Feature names in order.
    pub features: Vec<String>,
    /// The one input.
    pub input: TensorCard,
    /// The first output.
    pub output: TensorCard,
    /// What it is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Licence of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// On what it was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// ONNX operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opset: Option<i64>,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorCard {
    /// Name in the graph.
    pub name: String,
    /// Element type, `float32`.
    pub dtype: String,
    /// Dimensions; text for a free one (`"N"`).
    pub shape: Vec<Dimension>,
}

/// One dimension of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// A fixed length.
    Fixed(u64),
    /// A free length.
    Free(String),
}

impl ModelCard {
    /// The short form.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef { name: self.name.clone(), version: self.version.clone(), sha256: self.sha256.clone() }
    }
}

/// What part a model plays in a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It speaks.
    #[default]
    Active,
    /// It speaks for a share of the series.
    Canary,
    /// It is only noted down.
    Shadow,
}

impl Role {
    /// The word in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

/// A step in the life of a model, as the log holds it. It is taken between two records, hence between
/// two windows: no row is scored twice or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ModelStep {
    /// The operator has named another model to start with: it is promoted.
    Start {
        /// Which.
        model: ModelRef,
    },
    /// Scores beside the active one, unheard.
    Shadow {
        /// Which.
        model: ModelRef,
    },
    /// Speaks for some series, chosen by their hash.
    Canary {
        /// Which.
        model: ModelRef,
        /// Of a hundred series, 1 to 99.
        percent: u32,
    },
    /// Speaks for all series from here on.
    Promote {
        /// Which.
        model: ModelRef,
    },
    /// Ends a trial; where the model is the active one, the one before it is active again.
    Rollback {
        /// Which has to go.
        model: ModelRef,
        /// Why, in a few words.
        reason: String,
    },
}

impl ModelStep {
    /// The model that it is about.
    pub const fn model(&self) -> &ModelRef {
        match self {
            Self::Start { model }
            | Self::Shadow { model }
            | Self::Canary { model, .. }
            | Self::Promote { model }
            | Self::Rollback { model, .. } => model,
        }
    }
}

/// How a model on trial is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Unheard.
    Shadow,
    /// Heard for some series.
    Canary,
    /// Promoted not long ago: the model before it scores on, unheard.
    Probation,
}

/// A model on trial, held against another on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// On trial.
    pub model: ModelRef,
    /// Held against this one.
    pub against: ModelRef,
    /// How.
    pub stage: Stage,
    /// Of a hundred series, those that it speaks for.
    pub percent: u32,
    /// Since this event time.
    pub since: UnixNanos,
    /// Windows compared.
    pub windows: u64,
    /// Rows compared.
    pub rows: u64,
    /// Rank correlation of the two raw scores over the series, mean of the last windows; null until known.
    pub agreement: Option<f64>,
    /// Mean absolute difference of the two calibrated scores over the last windows.
    pub score_difference: f64,
    /// Share of rows above the limit for alerts over the last windows: the model's, then the other's.
    pub above: [f64; 2],
    /// Anomalies opened, or that would have been: by the model, by the other, by both.
    pub alerts: [u64; 3],
    /// Windows in which the model failed or gave no number.
    pub failures: u64,
}

/// A model that scores no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Which.
    pub model: ModelRef,
    /// Event time.
    pub at: UnixNanos,
    /// Why.
    pub reason: String,
}

/// Which models score, and in which part. A fold of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineUp {
    /// The model that the configuration named when it was last looked at.
    pub start: ModelRef,
    /// Speaks.
    pub active: ModelRef,
    /// Active before, newest last: where rollbacks lead.
    pub before: Vec<ModelRef>,
    /// On trial.
    pub trials: Vec<Trial>,
    /// Score no more, newest last.
    pub retired: Vec<Retired>,
}
