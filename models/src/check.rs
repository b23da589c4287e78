//! The whole check of a model folder, and what the process needs that runs it.
//!
//! `check` runs here, in this process. The roof runs it in a child that it starts for the purpose,
//! with `limit_memory` called first and its time bounded, and turns the child's end into words with
//! `ending`: so a model that crashes, hangs or swells a runtime never takes the service down.

use crate::{card, error::ModelError, folder, runtime::Runtime, trust::Trust};
use geophone_proto::{feature::FeatureSchema, model::ModelCard, seam::Model};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

/// What a passed check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The card, as verified.
    pub card: ModelCard,
    /// The runtime that computed.
    pub runtime: String,
    /// Largest difference from the expected scores.
    pub deviation: f32,
}

/// Everything that must hold before the model may score with these features.
pub fn check(folder: &Path, schema: &FeatureSchema, trust: &Trust) -> Result<CheckReport, ModelError> {
    check_with(folder, schema, trust, Runtime::of_this_process())
}

/// The same in a given runtime.
pub fn check_with(folder: &Path, schema: &FeatureSchema, trust: &Trust, runtime: Runtime) -> Result<CheckReport, ModelError> {
    let card = folder::read_card(folder)?;
    card::verify_schema(&card, schema).inspect_err(|error| {
        metrics::counter!("geophone_models_refused_total", "reason" => error.reason()).increment(1);
    })?;
    let model = folder::open(folder, trust, runtime)?;
    Ok(CheckReport { card: model.card().clone(), runtime: model.runtime().into(), deviation: model.deviation() })
}

/// Bounds the writable memory of this process from now on; an allocation beyond it aborts. For the
/// checking child only, before it reads anything. Counts private memory, not libraries or threads'
/// untouched address space. Leaves no core file of a child that was meant to be stopped.
#[cfg(unix)]
#[allow(unsafe_code, reason = "setrlimit has no safe form in std")]
pub fn limit_memory(bytes: u64) -> std::io::Result<()> {
    for (resource, limit) in [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_DATA, bytes)] {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the pointer is to a live, initialised struct that the call only reads.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// How a checking child ended without an answer, in one sentence. `signal` as the system numbers it;
/// `errors` is what the child wrote to its standard error, never shown.
pub fn ending(signal: Option<i32>, errors: &str, memory_bytes: u64) -> ModelError {
    const ABORT: i32 = 6;
    const KILL: i32 = 9;
    const BUS: i32 = 7;
    const SEGV: i32 = 11;
    let memory = ModelError::Memory { limit_mib: memory_bytes >> 20 };
    let crashed = |reason: &str| ModelError::Crashed { reason: reason.into() };
    if errors.contains("memory allocation of") || errors.contains("bad_alloc") || errors.contains("capacity overflow") {
        return memory;
    }
    match signal {
        Some(KILL) => memory,
        Some(ABORT) => crashed("it aborted"),
        Some(SEGV | BUS) => crashed("it touched memory that is not there"),
        Some(_) => crashed("it was stopped by a signal"),
        None => crashed("it ended without an answer"),
    }
}

/// An allocation that the runtime was refused, whatever it called it, is a matter of memory.
pub fn within(error: ModelError, memory_bytes: u64) -> ModelError {
    const WORDS: [&str; 4] = ["failed to allocate", "bad_alloc", "bfc_arena", "out of memory"];
    match &error {
        ModelError::Runtime { reason, .. } if WORDS.iter().any(|word| reason.to_lowercase().contains(word)) => {
            ModelError::Memory { limit_mib: memory_bytes >> 20 }
        }
        _ => error,
    }
}

/// The check was stopped after this long.
pub const fn timed_out(limit: Duration) -> ModelError {
    ModelError::Time { limit_s: limit.as_secs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_end_is_one_sentence() {
        let shown = ending(Some(6), "memory allocation of 99 bytes failed", 512 << 20).to_string();
        assert!(shown.contains("512 MiB of memory"), "{shown}");
        assert!(ending(Some(11), "thread 'main' panicked at x.rs", 0).to_string().contains("crashed"));
        let refused = ModelError::Runtime { runtime: "r".into(), doing: "run", reason: "Failed to allocate 9 bytes".into() };
        assert!(within(refused, 512 << 20).to_string().contains("512 MiB of memory"));
        assert!(timed_out(Duration::from_secs(30)).to_string().contains("30 s of time"));
    }
}
