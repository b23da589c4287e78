//! Which runtime scores: the real ONNX Runtime where its library is found, else the embedded one.
//!
//! Chosen once per process (`ort` takes one library for good). Where a library was named but does not
//! work, the embedded runtime takes over, says why, and counts it.

use crate::{embedded, error::ModelError, onnxruntime::Opened};
use std::{
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The two runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// `tract`, always there.
    Embedded,
    /// ONNX Runtime, where a library is found.
    OnnxRuntime,
}

/// What was chosen and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `onnxruntime 1.x.y` or `tract 0.23`.
    pub name: String,
    /// The library, if one is used.
    pub path: Option<PathBuf>,
    /// Why this one.
    pub note: String,
}

/// Where a library may lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Named by the operator: the only candidate if set.
    pub named: Option<PathBuf>,
    /// Directories to look into, in order.
    pub directories: Vec<PathBuf>,
}

impl Places {
    /// `ORT_DYLIB_PATH`; else beside the binary and where packages put libraries.
    fn of_this_process() -> Self {
        let named = std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()).map(PathBuf::from);
        let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let usual = [
            "/usr/local/lib",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/usr/lib64",
            "/usr/lib",
            "/opt/onnxruntime/lib",
            "/opt/homebrew/lib",
        ];
        Self { named, directories: beside.into_iter().chain(usual.map(PathBuf::from)).collect() }
    }

    /// The library to try, if there is one.
    fn candidate(&self) -> Option<PathBuf> {
        match &self.named {
            Some(named) if named.is_dir() => newest_in(named).or_else(|| Some(named.clone())),
            Some(named) => Some(named.clone()),
            None => self.directories.iter().find_map(|directory| newest_in(directory)),
        }
    }
}

/// `libonnxruntime.so`, else the greatest `libonnxruntime.so.VERSION`.
fn newest_in(directory: &Path) -> Option<PathBuf> {
    let stem = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let plain = directory.join(&stem);
    if plain.is_file() {
        return Some(plain);
    }
    let entries = std::fs::read_dir(directory).ok()?;
    let versioned = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix(&stem)?.strip_prefix('.')?;
        let version: Vec<u32> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some((version, entry.path()))
    });
    versioned.max().map(|(_, path)| path)
}

/// The process's choice.
struct Chosen {
    info: RuntimeInfo,
    opened: Option<Opened>,
}

/// Written once at first use, read-only ever after.
static CHOSEN: OnceLock<Chosen> = OnceLock::new();

fn chosen() -> &'static Chosen {
    CHOSEN.get_or_init(|| choose(&Places::of_this_process()))
}

fn choose(places: &Places) -> Chosen {
    let embedded = |note: String| Chosen { info: RuntimeInfo { name: embedded::NAME.into(), path: None, note }, opened: None };
    let Some(path) = places.candidate() else {
        return embedded("no ONNX Runtime library found; install one and set ORT_DYLIB_PATH to score faster".into());
    };
    match Opened::open(&path) {
        Ok(opened) => {
            let note = if places.named.is_some() { "named by ORT_DYLIB_PATH" } else { "found in a usual place" };
            let info = RuntimeInfo { name: opened.name.clone(), path: Some(opened.path.clone()), note: note.into() };
            Chosen { info, opened: Some(opened) }
        }
        Err(reason) => {
            metrics::counter!("geophone_models_runtime_fallbacks_total").increment(1);
            tracing::warn!(%reason, "the embedded model runtime takes over");
            embedded(format!("fell back: {reason}"))
        }
    }
}

/// The runtime of this process; the first call chooses it.
pub fn runtime() -> RuntimeInfo {
    chosen().info.clone()
}

impl Runtime {
    /// The runtime that `load` uses.
    pub fn of_this_process() -> Self {
        if chosen().opened.is_some() { Self::OnnxRuntime } else { Self::Embedded }
    }
}

/// The opened library, or why there is none.
pub(crate) fn opened() -> Result<&'static Opened, ModelError> {
    let chosen = chosen();
    chosen.opened.as_ref().ok_or_else(|| ModelError::NoRuntime { reason: chosen.info.note.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_path_falls_back_and_says_why() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("libonnxruntime.so");
        std::fs::write(&file, "no library").expect("the directory is writable");
        let chosen = choose(&Places { named: Some(file.clone()), directories: Vec::new() });
        assert_eq!(chosen.info.name, embedded::NAME);
        assert!(chosen.info.note.starts_with("fell back: ") && chosen.info.note.contains("libonnxruntime.so"), "{}", chosen.info.note);
        let chosen = choose(&Places { named: Some(directory.path().join("absent.so")), directories: Vec::new() });
        assert!(chosen.info.note.contains("absent.so"), "{}", chosen.info.note);
    }

    #[test]
    fn the_newest_version_is_taken() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let place = |name: &str| std::fs::write(directory.path().join(name), "").expect("the directory is writable");
        assert_eq!(newest_in(directory.path()), None);
        let stem = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
        [format!("{stem}.1.9.0"), format!("{stem}.1.24.0"), format!("{stem}.old")].iter().for_each(|name| place(name));
        assert_eq!(newest_in(directory.path()), Some(directory.path().join(format!("{stem}.1.24.0"))));
    }
}
