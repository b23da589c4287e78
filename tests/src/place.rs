//! Where things lie that tests need: the repository, its files, peers, data sets. Never makes any.

use std::path::{Path, PathBuf};

/// Root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The labelled public data sets, where they lie beside the repository or where `GEOPHONE_DATASETS` says.
pub fn datasets() -> Option<PathBuf> {
    let named = std::env::var_os("GEOPHONE_DATASETS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("../shared/datasets"));
    folder.is_dir().then_some(folder)
}

/// Whether an absent peer is a failure (CI) or a skip (a user's machine).
pub fn peers_required() -> bool {
    std::env::var_os("GEOPHONE_REQUIRE_PEERS").is_some()
}

/// A peer program by name: in `$GEOPHONE_PEERS`, else on the search path. `None` = skip the test;
/// panics where peers are required.
pub fn peer(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("GEOPHONE_PEERS").map(PathBuf::from).into_iter();
    let search: Vec<PathBuf> = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let found = folders.chain(search).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(!peers_required(), "the peer `{name}` is required here and absent: run .ci/peers");
        eprintln!("skipped: the peer `{name}` is not on this machine (.ci/peers installs it)");
    }
    found
}

/// All Rust sources of the repository, sorted.
pub fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(repository(), &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}
