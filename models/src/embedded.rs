//! The embedded runtime: `tract`, called directly.
//!
//! Not a general ONNX runtime: what it lacks is refused by name at load. The batch is pinned (faster
//! than a symbolic one, and recurrent nets need it); a frame is cut and padded to it. So every size is
//! known at load; where one would depend on the data, what it costs would too, and the graph is refused.
//! A panic of tract is caught here and becomes an error.

use crate::{
    error::{ModelError, panic_sentence, quoted, sentence},
    graph::{Graph, operators},
    rewrite::rewrite,
};
use geophone_proto::seam::Brake;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tract_onnx::{
    pb::{ModelProto, TensorShapeProto, tensor_shape_proto, type_proto},
    prelude::*,
    tract_core::{
        ops::{
            logic::IfThenElse,
            scan::{OptScan, Scan},
        },
        plan,
    },
};

/// Name shown to people.
pub const NAME: &str = "tract 0.23";

/// Rows handed to tract at once, always: its kernels for other numbers of rows add up in another
/// order, and a row's score must not depend on how many rows came with it.
const BATCH: usize = 16;

/// A graph ready to run.
pub(crate) struct Embedded {
    width: usize,
    runnable: Arc<TypedRunnableModel>,
    padded: Vec<f32>,
    /// Once true, no operator begins any more.
    is_ended: Arc<AtomicBool>,
}

impl Embedded {
    /// Plans the graph. Cost: some milliseconds.
    pub fn load(graph: &Graph) -> Result<Self, ModelError> {
        let known = tract_onnx::onnx().op_register.0;
        let mut proto = graph.proto.clone();
        rewrite(&mut proto);
        for operator in &operators(&proto)? {
            if !known.contains_key(operator.as_str()) {
                return Err(ModelError::Operator {
                    operator: quoted(operator),
                    runtime: format!("the embedded runtime ({NAME})"),
                    advice: "install ONNX Runtime (`pip install onnxruntime`) and point ORT_DYLIB_PATH at its library, or export the model without it",
                });
            }
        }
        let runnable = contained("load", || planned(proto, &graph.input))?;
        if let Some(operator) = unbounded(runnable.model()) {
            return Err(ModelError::Unbounded { operator, runtime: format!("the embedded runtime ({NAME})") });
        }
        Ok(Self { width: graph.width, runnable, padded: Vec::new(), is_ended: Arc::default() })
    }

    /// Looked at before each operator, not inside of one; a scan is one.
    pub fn brake(&self) -> Brake {
        let is_ended = self.is_ended.clone();
        Arc::new(move || is_ended.store(true, Ordering::Relaxed))
    }

    /// Appends one raw score per row of `x` (row-major) to `scores`.
    pub fn run(&mut self, x: &[f32], scores: &mut Vec<f32>) -> Result<(), ModelError> {
        for now in x.chunks(BATCH * self.width) {
            self.padded.clear();
            self.padded.extend_from_slice(now);
            self.padded.resize(BATCH * self.width, 0.0);
            let output = contained("run", || {
                let input = Tensor::from_shape(&[BATCH, self.width], &self.padded)?;
                let mut outputs =
                    self.runnable.spawn()?.run_plan_with_eval(tvec!(input.into_tvalue()), |context, state, node, inputs| {
                        if self.is_ended.load(Ordering::Relaxed) {
                            return Err(TractError::msg("it was told to end"));
                        }
                        plan::eval(context, state, node, inputs)
                    })?;
                Ok(outputs.swap_remove(0))
            })?;
            if output.len() != BATCH {
                let reason = format!("its first output has {} numbers for {BATCH} rows, one score a row is wanted", output.len());
                return Err(ModelError::Tensor { reason });
            }
            contained("run", || {
                scores.extend_from_slice(&output.try_as_plain_ram()?.as_slice::<f32>()?[..now.len() / self.width]);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The graph with its batch pinned, typed and optimised.
fn planned(mut proto: ModelProto, input: &str) -> TractResult<Arc<TypedRunnableModel>> {
    pin(&mut proto, input);
    tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_proto_model(&proto)?
        .into_optimized()?
        .into_runnable()
}

/// Writes the batch into the input's shape, keeps the first output only, and gives each node a name of
/// its own (tract wants that, ONNX does not).
fn pin(proto: &mut ModelProto, input: &str) {
    let Some(graph) = proto.graph.as_mut() else { return };
    graph.output.truncate(1);
    for (place, node) in graph.node.iter_mut().enumerate() {
        node.name = format!("node {place}: {}", node.op_type);
    }
    let named = graph.input.iter_mut().filter(|value| value.name == input);
    for value in named {
        if let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            && let Some(TensorShapeProto { dim }) = tensor.shape.as_mut()
            && let Some(first) = dim.first_mut()
        {
            first.value = Some(tensor_shape_proto::dimension::Value::DimValue(BATCH as i64));
        }
    }
}

/// The first operator whose output has a size that only the data tells, inside of scans and branches too.
fn unbounded(model: &TypedModel) -> Option<String> {
    model.nodes().iter().find_map(|node| {
        let is_bounded = node.outputs.iter().all(|output| output.fact.shape.is_concrete());
        let inner = || {
            if let Some(scan) = node.op_as::<OptScan>() {
                return unbounded(scan.plan.model());
            }
            if let Some(scan) = node.op_as::<Scan>() {
                return unbounded(&scan.body);
            }
            let branches = node.op_as::<IfThenElse>()?;
            unbounded(&branches.then_body).or_else(|| unbounded(&branches.else_body))
        };
        if is_bounded { inner() } else { Some(node.op.name().into_owned()) }
    })
}

/// Runs tract so that neither its errors nor its panics go further than a `ModelError`.
fn contained<T>(doing: &'static str, work: impl FnOnce() -> TractResult<T>) -> Result<T, ModelError> {
    let failed = |reason: String| ModelError::Runtime { runtime: format!("the embedded runtime ({NAME})"), doing, reason };
    // A plan is only read while it runs, a half-made one is dropped: nothing torn is seen again.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(sentence(&format!("{error}: {}", error.root_cause())))),
        Err(payload) => {
            metrics::counter!("geophone_models_runtime_panics_total").increment(1);
            Err(failed(panic_sentence(payload.as_ref())))
        }
    }
}
