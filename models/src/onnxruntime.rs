//! The real ONNX Runtime, where the machine has it: opened with `dlopen`, spoken to through `ort`.
//!
//! Never downloaded, never linked. The only file of the crate with unsafe code: opening a library
//! and asking it for its table of functions. `ort` takes one table per process, so this happens
//! once; `runtime` decides when.

use crate::{
    error::{ModelError, quoted, sentence},
    graph::Graph,
};
use geophone_proto::seam::Brake;
use libloading::Library;
use ort::{
    environment::Environment,
    session::{RunOptions, Session, builder::GraphOptimizationLevel},
    value::TensorRef,
};
use std::{
    ffi::CStr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Largest batch handed over at once.
const BATCH: usize = 5 * STEP;
/// Batches are multiples of it: kernels take 4, 6 or 12 rows at a time, by processor, and those for what is left over
/// add up in another order; a row's score must not depend on how many rows came with it.
const STEP: usize = 48;

/// The opened library: lives as long as the process.
pub(crate) struct Opened {
    /// `onnxruntime 1.x.y`.
    pub name: String,
    /// Where it was found.
    pub path: PathBuf,
    environment: Environment,
    /// Never closed while `environment` and its sessions call into it: dropped after them.
    _library: Library,
}

impl Opened {
    /// Opens the library and hands its functions to `ort`. Err = why not, in words.
    pub fn open(path: &Path) -> Result<Self, String> {
        let (library, api, version) = table(path)?;
        if !ort::set_api(api) {
            return Err("another ONNX Runtime is in use already".into());
        }
        let environment = ort::init().with_name("geophone").with_telemetry(false).build();
        let environment = environment.map_err(|error| format!("`{}` does not start: {}", path.display(), sentence(&error.to_string())))?;
        Ok(Self { name: format!("onnxruntime {version}"), path: path.into(), environment, _library: library })
    }
}

/// Library, table of functions, version.
#[allow(unsafe_code, reason = "opening a shared library and reading its table of functions has no safe form")]
fn table(path: &Path) -> Result<(Library, ort::sys::OrtApi, String), String> {
    let shown = path.display();
    // SAFETY: running the library's initialisers is what the operator asks for by installing it or by
    // naming it in ORT_DYLIB_PATH; the same trust as in the dynamic linker.
    let library = unsafe { Library::new(path) }.map_err(|error| format!("`{shown}` cannot be opened: {}", sentence(&error.to_string())))?;
    // SAFETY: `OrtGetApiBase` has had this signature since ONNX Runtime 1.0.
    let base = unsafe { library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| format!("`{shown}` is no ONNX Runtime: it lacks OrtGetApiBase"))?;
    // SAFETY: the function takes nothing and returns a pointer to static memory of the library, or null.
    let base = unsafe { base().as_ref() }.ok_or_else(|| format!("`{shown}` gives no interface"))?;
    // SAFETY: returns a static, null-terminated string.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    // SAFETY: null if the library is older than the version asked for, else a static table at least as
    // long as that version's, which is the length of `OrtApi`. Plain function pointers: a copy is sound.
    let api = unsafe {
        let api = (base.GetApi)(ort::sys::ORT_API_VERSION);
        (!api.is_null()).then(|| std::ptr::read(api))
    };
    let api = api.ok_or_else(|| format!("`{shown}` is ONNX Runtime {version}, 1.{} or later is wanted", ort::sys::ORT_API_VERSION))?;
    Ok((library, api, version))
}

/// One model in the real runtime: one thread, no spinning.
pub(crate) struct Native {
    runtime: String,
    session: Session,
    /// Of every run; once told to terminate, they end each at once.
    options: Arc<RunOptions>,
    input: String,
    output: String,
    width: usize,
}

impl Native {
    /// Makes the session.
    pub fn load(opened: &Opened, graph: &Graph, bytes: &[u8]) -> Result<Self, ModelError> {
        let failed = |error: &dyn std::fmt::Display| load_error(&opened.name, graph, &error.to_string());
        let session = Session::builder(&opened.environment)
            .map_err(|error| failed(&error))?
            .with_intra_threads(1)
            .map_err(|error| failed(&error))?
            .with_inter_threads(1)
            .map_err(|error| failed(&error))?
            .with_intra_op_spinning(false)
            .map_err(|error| failed(&error))?
            .with_optimization_level(GraphOptimizationLevel::Level3)
            .map_err(|error| failed(&error))?
            .commit_from_memory(bytes)
            .map_err(|error| failed(&error))?;
        let options = Arc::new(RunOptions::new().map_err(|error| failed(&error))?);
        let (input, output) = (graph.input.clone(), graph.output.clone());
        Ok(Self { runtime: opened.name.clone(), session, options, input, output, width: graph.width })
    }

    /// The runtime looks at it before each operator, those inside of loops included.
    pub fn brake(&self) -> Brake {
        let options = self.options.clone();
        Arc::new(move || {
            if let Err(error) = options.terminate() {
                tracing::error!("a run cannot be ended: {error}");
            }
        })
    }

    /// Appends one raw score per row of `x` (row-major) to `scores`.
    pub fn run(&mut self, x: &[f32], scores: &mut Vec<f32>) -> Result<(), ModelError> {
        for now in x.chunks(BATCH * self.width) {
            let rows = now.len() / self.width;
            let whole = rows.next_multiple_of(STEP);
            if rows == whole {
                self.run_once(now, rows, scores)?;
            } else {
                let mut padded = now.to_vec();
                padded.resize(whole * self.width, 0.0);
                let kept = scores.len() + rows;
                self.run_once(&padded, whole, scores)?;
                scores.truncate(kept);
            }
        }
        Ok(())
    }

    fn run_once(&mut self, x: &[f32], rows: usize, scores: &mut Vec<f32>) -> Result<(), ModelError> {
        let runtime = self.runtime.clone();
        let failed =
            |error: ort::Error| ModelError::Runtime { runtime: runtime.clone(), doing: "run", reason: sentence(&error.to_string()) };
        let input = TensorRef::from_array_view(([rows, self.width], x)).map_err(failed)?;
        let outputs = self.session.run_with_options(ort::inputs![self.input.as_str() => input], &*self.options).map_err(failed)?;
        let Some(output) = outputs.get(&self.output) else {
            return Err(ModelError::Tensor { reason: format!("its output `{}` was not computed", quoted(&self.output)) });
        };
        let (_, made) = output.try_extract_tensor::<f32>().map_err(failed)?;
        if made.len() != rows {
            return Err(ModelError::Tensor {
                reason: format!("its first output has {} numbers for {rows} rows, one score a row is wanted", made.len()),
            });
        }
        scores.extend_from_slice(made);
        Ok(())
    }
}

/// The runtime's words; names the operator where they are about one.
fn load_error(runtime: &str, graph: &Graph, text: &str) -> ModelError {
    let about_operator = ["is not a registered function/op", "No Op registered for", "Could not find an implementation for"]
        .iter()
        .any(|mark| text.contains(mark));
    let short = |operator: &str| operator.rsplit("::").next().is_some_and(|short| text.contains(short));
    match graph.operators.iter().filter(|operator| short(operator)).max_by_key(|operator| operator.len()) {
        Some(operator) if about_operator => ModelError::Operator {
            operator: quoted(operator),
            runtime: runtime.into(),
            advice: "export the model without it, or for an older operator set",
        },
        _ => ModelError::Runtime { runtime: runtime.into(), doing: "load", reason: sentence(text) },
    }
}
