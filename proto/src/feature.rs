//! Features of many series at one moment: what a model is asked about.

use crate::{series::SeriesKey, time::UnixNanos};
use serde::{Deserialize, Serialize};

/// Names and order of the features; its id must equal the model card's `feature_schema`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSchema {
    /// xxh3-64 of the names joined by newlines, in hex.
    pub id: String,
    /// Names in column order.
    pub names: Vec<String>,
}

impl FeatureSchema {
    /// Makes the schema of these names; the id follows from them.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let id = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(names.join("\n").as_bytes()));
        Self { id, names }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.names.len()
    }
}

/// Feature rows, one per series, row-major. A missing feature is 0; whether it is missing is a
/// feature of its own where it matters. Never NaN or infinite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureFrame {
    /// End of the window.
    pub at: UnixNanos,
    /// Features a row.
    pub width: usize,
    /// The series of each row.
    pub keys: Vec<SeriesKey>,
    /// `keys.len() * width` numbers.
    pub x: Vec<f32>,
}

impl FeatureFrame {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The features of one row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.width..(row + 1) * self.width]
    }
}
