//! A model by the word that a person wrote: `default`, the path of a folder, or NAME[@VERSION].

use super::{
    registry::{Known, Registry, newest, parse_name},
    trial_run,
};
use crate::error::ServiceError;
use geophone_proto::seam::Model;
use std::path::{Path, PathBuf};

/// Name of the model inside the program.
const SHIPPED: &str = "default";

/// Finds what was meant; `folder` is where it lies, none for the one inside the program.
pub(super) fn find(wanted: &str, data_dir: &Path) -> Result<Option<PathBuf>, ServiceError> {
    if wanted == SHIPPED {
        return Ok(None);
    }
    let as_path = Path::new(wanted);
    if wanted.contains('/') || as_path.join("card.toml").is_file() {
        return Ok(Some(as_path.to_owned()));
    }
    let (name, version) = parse_name(wanted);
    let shipped = geophone_models::shipped_card();
    if name == shipped.name && version == Some(&shipped.version) {
        return Ok(None);
    }
    let kept = super::registry::scan(&data_dir.join("models"));
    let found = newest(kept.iter().filter(|known| known.card.name == name && version.is_none_or(|version| known.card.version == version)));
    match found {
        Some(Known { folder, .. }) => Ok(folder.clone()),
        None => Err(ServiceError::Usage(format!(
            "no model `{wanted}` in {}: use `default`, the path of a folder, or a name that `geophone models list` shows",
            data_dir.join("models").display()
        ))),
    }
}

/// Loads a model for a command that runs by itself.
pub fn load(wanted: &str, data_dir: &Path) -> Result<Box<dyn Model>, ServiceError> {
    let loaded = match find(wanted, data_dir)? {
        None => geophone_models::shipped(),
        Some(folder) => geophone_models::load(&folder),
    };
    loaded.map_err(|error| ServiceError::room(error.class(), error))
}

/// The same after a check in a child process.
pub fn load_checked(wanted: &str, data_dir: &Path, memory_bytes: u64) -> Result<Box<dyn Model>, ServiceError> {
    if let Some(folder) = find(wanted, data_dir)? {
        trial_run::in_child(&folder, memory_bytes)?;
    }
    load(wanted, data_dir)
}

/// The model that the service starts with, checked, and known to the registry from here on.
pub fn start(wanted: &str, registry: &Registry) -> Result<Known, ServiceError> {
    let known = match find(wanted, registry.data_dir())? {
        None => registry.shipped(),
        Some(folder) => {
            trial_run::in_child(&folder, registry.memory_bytes())?;
            let card = geophone_models::read_card(&folder).map_err(|error| ServiceError::room(error.class(), error))?;
            Known { card, folder: Some(folder) }
        }
    };
    registry.learn(known.clone());
    Ok(known)
}
