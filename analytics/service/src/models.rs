//! Which model scores, and how the API shows it.

use crate::{api::ModelShown, error::ServiceError};
use geophone_proto::{model::ModelCard, seam::Model};
use std::path::{Path, PathBuf};

/// Name of the model inside the program.
const SHIPPED: &str = "default";

/// Loads a model: `default`, the path of a folder, or NAME[@VERSION] below `data_dir/models`.
pub fn load(wanted: &str, data_dir: &Path) -> Result<Box<dyn Model>, ServiceError> {
    let loaded = if wanted == SHIPPED { geophone_models::shipped() } else { geophone_models::load(&folder_of(wanted, data_dir)?) };
    loaded.map_err(|error| ServiceError::room(error.class(), error))
}

fn folder_of(wanted: &str, data_dir: &Path) -> Result<PathBuf, ServiceError> {
    if wanted.contains('/') {
        return Ok(PathBuf::from(wanted));
    }
    let (name, version) = wanted.split_once('@').map_or((wanted, None), |(name, version)| (name, Some(version)));
    let shelf = data_dir.join("models").join(name);
    let newest = || {
        let mut versions: Vec<PathBuf> = std::fs::read_dir(&shelf).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        versions.sort();
        versions.pop()
    };
    version.map(|version| shelf.join(version)).or_else(newest).ok_or_else(|| {
        ServiceError::Usage(format!("models.active: no model `{wanted}` in {}: use `default` or the path of a folder", shelf.display()))
    })
}

/// The active model as the API shows it.
pub fn shown(card: &ModelCard, state: &str) -> ModelShown {
    ModelShown {
        name: card.name.clone(),
        version: card.version.clone(),
        sha256: card.sha256.clone(),
        state: state.into(),
        runtime: geophone_models::runtime().name,
        card: serde_json::to_value(card).unwrap_or_default(),
    }
}
