//! The position below which new records must never be numbered, whatever became of the log: tables
//! and snapshot remember positions, and with durability `none` the log forgets its own.

use crate::{catalog::Catalog, snapshot};
use std::path::Path;

/// Newest position that the catalog or the snapshot in `dir` speaks of; 0 if there is none.
pub(crate) fn of(dir: &Path) -> u64 {
    let sealed = Catalog::load(dir).map_or(0, |catalog| catalog.sealed_through);
    sealed.max(snapshot::seq(dir))
}
