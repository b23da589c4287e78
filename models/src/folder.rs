//! A model folder on disk: `model.onnx`, `card.toml`, `check.parquet`, and `card.toml.minisig` where keys are trusted.

use crate::{
    card,
    check_rows::CheckRows,
    error::ModelError,
    onnx_model::OnnxModel,
    runtime::Runtime,
    trust::{SIGNATURE_FILE, Trust},
};
use geophone_proto::{model::ModelCard, seam::Model};
use std::path::Path;

/// A larger file is no model for this service, and is not read into memory.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads and verifies the card alone, whosever it is.
pub fn read_card(folder: &Path) -> Result<ModelCard, ModelError> {
    read_trusted_card(folder, &Trust::default())
}

/// Reads and verifies the card of somebody trusted.
pub fn read_trusted_card(folder: &Path, trust: &Trust) -> Result<ModelCard, ModelError> {
    let bytes = read(folder, "card.toml")?;
    trust.verify(&bytes, || read(folder, SIGNATURE_FILE))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ModelError::Card { reason: "it is not UTF-8 text".into() })?;
    card::parse(text)
}

/// Verifies and loads the model of this folder in the runtime of this process.
pub fn load(folder: &Path, trust: &Trust) -> Result<Box<dyn Model>, ModelError> {
    load_with(folder, trust, Runtime::of_this_process())
}

/// Verifies and loads the model of this folder in this runtime.
pub fn load_with(folder: &Path, trust: &Trust, runtime: Runtime) -> Result<Box<dyn Model>, ModelError> {
    Ok(Box::new(open(folder, trust, runtime)?))
}

/// The same, typed; every refusal is counted by reason.
pub(crate) fn open(folder: &Path, trust: &Trust, runtime: Runtime) -> Result<OnnxModel, ModelError> {
    let opened = || {
        let card = read_trusted_card(folder, trust)?;
        let model = read(folder, "model.onnx")?;
        card::verify_hash(&card, &model)?;
        let rows = CheckRows::read(&read(folder, "check.parquet")?, &card)?;
        OnnxModel::open(&model, card, &rows, runtime)
    };
    opened().inspect_err(|error| metrics::counter!("geophone_models_refused_total", "reason" => error.reason()).increment(1))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(name);
    let refuse = |reason: String| ModelError::Unreadable { path: path.clone(), reason };
    let about = std::fs::metadata(&path).map_err(|error| refuse(error.to_string()))?;
    if !about.is_file() {
        return Err(refuse("it is not a regular file".into()));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(refuse(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    std::fs::read(&path).map_err(|error| refuse(error.to_string()))
}
