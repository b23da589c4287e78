//! Models: `FeatureFrame` in, one raw score a row out.
//!
//! ONNX files in two runtimes behind one seam, verified against their card before the first score;
//! simple rules as models; the shipped model. Knows nothing of series, windows or alerts.

mod baseline;
mod card;
pub mod check;
mod check_rows;
mod embedded;
mod error;
mod folder;
mod graph;
mod onnx_model;
mod onnxruntime;
mod rewrite;
mod runtime;
mod shipped;
#[cfg(test)]
mod tests;
mod trust;

pub use baseline::Baseline;
pub use card::{sha256_hex, verify_schema};
pub use check::{CheckReport, check, check_with};
pub use error::ModelError;
pub use folder::{load, load_with, read_card, read_trusted_card};
pub use onnx_model::{OnnxModel, TOLERANCE};
pub use runtime::{Runtime, RuntimeInfo, runtime};
pub use shipped::{shipped, shipped_card, shipped_files, shipped_with};
pub use trust::{SIGNATURE_FILE, Trust};
