//! What a model says of itself.

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
