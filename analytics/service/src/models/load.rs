//! A model by the word that a person wrote: `default`, the path of a folder, or NAME[@VERSION].

use super::{
    registry::{Known, Registry, newest, parse_name},
    trial_run,
};
use crate::error::ServiceError;
use geophone_models::Trust;
use geophone_proto::seam::Model;
use std::path::{Path, PathBuf};

/// Name of the model inside the program.
const SHIPPED: &str = "default";

/// Finds what was meant; `folder` is where it lies, none for the one inside the program.
fn find(wanted: &str, data_dir: &Path) -> Result<Option<PathBuf>, ServiceError> {
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

/// Finds a model and checks it in a child process; `folder` as `find` gives it.
pub fn find_checked(wanted: &str, data_dir: &Path, memory_bytes: u64, trust: &Trust) -> Result<Option<PathBuf>, ServiceError> {
    let found = find(wanted, data_dir)?;
    if let Some(folder) = &found {
        trial_run::in_child(folder, memory_bytes, trust)?;
    }
    Ok(found)
}

/// Loads a model for a command that runs by itself, after the check.
pub fn load_checked(wanted: &str, data_dir: &Path, memory_bytes: u64, trust: &Trust) -> Result<Box<dyn Model>, ServiceError> {
    let loaded = match find_checked(wanted, data_dir, memory_bytes, trust)? {
        None => geophone_models::shipped(),
        Some(folder) => geophone_models::load(&folder, trust),
    };
    loaded.map_err(|error| ServiceError::room(error.class(), error))
}

/// The model that the service starts with, checked, and known to the registry from here on.
pub fn start(wanted: &str, registry: &Registry) -> Result<Known, ServiceError> {
    let known = match find_checked(wanted, registry.data_dir(), registry.memory_bytes(), registry.trust())? {
        None => registry.shipped(),
        Some(folder) => {
            let card = geophone_models::read_card(&folder).map_err(|error| ServiceError::room(error.class(), error))?;
            Known { card, folder: Some(folder) }
        }
    };
    registry.learn(known.clone());
    Ok(known)
}
