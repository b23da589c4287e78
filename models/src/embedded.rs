//! The embedded runtime: `tract`, called directly.
//!
//! Not a general ONNX runtime: what it lacks is refused by name at load. The batch is pinned to a
//! few sizes (faster than a symbolic one, and recurrent nets need it); a frame is cut and padded to
//! them. A panic of tract is caught here and becomes an error; the plan is dropped after it.

use crate::{
    error::{ModelError, panic_sentence, quoted, sentence},
    graph::Graph,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tract_onnx::{
    pb::{ModelProto, TensorShapeProto, tensor_shape_proto, type_proto},
    prelude::*,
};

/// Name shown to people.
pub const NAME: &str = "tract 0.23";

/// Largest batch handed to tract at once.
const BATCH: usize = 256;
/// A small frame is cut into pieces of this size. Not 1: kernels for one row add up in another order,
/// and a row's score must not depend on how many rows came with it.
const BATCH_SMALL: usize = 16;

/// A graph ready to run.
pub(crate) struct Embedded {
    width: usize,
    small: Plan,
    large: Plan,
    padded: Vec<f32>,
}

struct Plan {
    batch: usize,
    runnable: Arc<TypedRunnableModel>,
}

impl Embedded {
    /// Plans the graph for each batch size. Cost: some milliseconds a size.
    pub fn load(graph: &Graph) -> Result<Self, ModelError> {
        let known = tract_onnx::onnx().op_register.0;
        for operator in &graph.operators {
            if !known.contains_key(operator.as_str()) {
                return Err(ModelError::Operator {
                    operator: quoted(operator),
                    runtime: format!("the embedded runtime ({NAME})"),
                    advice: "install ONNX Runtime (`pip install onnxruntime`) and point ORT_DYLIB_PATH at its library, or export the model without it",
                });
            }
        }
        let plan = |batch| contained("load", || plan(graph, batch)).map(|runnable| Plan { batch, runnable });
        Ok(Self { width: graph.width, small: plan(BATCH_SMALL)?, large: plan(BATCH)?, padded: Vec::new() })
    }

    /// Appends one raw score per row of `x` (row-major) to `scores`.
    pub fn run(&mut self, x: &[f32], scores: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut rest = x;
        while !rest.is_empty() {
            let rows = rest.len() / self.width;
            // Padding 256 rows costs about as much as ten runs of 16.
            let plan = if rows <= 160 { &self.small } else { &self.large };
            let taken = rows.min(plan.batch);
            let (now, later) = rest.split_at(taken * self.width);
            self.padded.clear();
            self.padded.extend_from_slice(now);
            self.padded.resize(plan.batch * self.width, 0.0);
            let made = contained("run", || plan.run(&self.padded, self.width))?;
            let made = made.get(..taken).ok_or_else(|| ModelError::Tensor {
                reason: format!("its first output has {} numbers for {} rows, one score a row is wanted", made.len(), plan.batch),
            })?;
            scores.extend_from_slice(made);
            rest = later;
        }
        Ok(())
    }
}

impl Plan {
    fn run(&self, x: &[f32], width: usize) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[self.batch, width], x)?;
        let outputs = self.runnable.run(tvec!(input.into_tvalue()))?;
        let Some(output) = outputs.first() else { return Ok(Vec::new()) };
        if output.len() != self.batch {
            return Ok(vec![0.0; output.len().min(self.batch - 1)]);
        }
        Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

/// The graph with its batch pinned, typed and optimised.
fn plan(graph: &Graph, batch: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let mut proto = graph.proto.clone();
    pin(&mut proto, &graph.input, batch);
    tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_proto_model(&proto)?
        .into_optimized()?
        .into_runnable()
}

/// Writes the batch into the input's shape, keeps the first output only, and gives each node a name of
/// its own (tract wants that, ONNX does not).
fn pin(proto: &mut ModelProto, input: &str, batch: usize) {
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
            first.value = i64::try_from(batch).ok().map(tensor_shape_proto::dimension::Value::DimValue);
        }
    }
}

/// Runs tract so that neither its errors nor its panics go further than a `ModelError`.
fn contained<T>(doing: &'static str, work: impl FnOnce() -> TractResult<T>) -> Result<T, ModelError> {
    let failed = |reason: String| ModelError::Runtime { runtime: format!("the embedded runtime ({NAME})"), doing, reason };
    // A plan is only read while it runs and a half-made one is dropped: nothing torn is seen again.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(sentence(&format!("{error}: {}", error.root_cause())))),
        Err(payload) => {
            metrics::counter!("geophone_models_runtime_panics_total").increment(1);
            Err(failed(panic_sentence(payload.as_ref())))
        }
    }
}
