//! What the bytes of `model.onnx` say, before any runtime sees them.
//!
//! Finds the one float32 input and the first output, and refuses what no runtime should be asked
//! about: weights outside of the file, weights whose size is a lie, NaN weights. Called by
//! `onnx_model` for both runtimes, so that both refuse the same things in the same words.

use crate::error::{ModelError, quoted, sentence};
use std::{collections::BTreeSet, io::Cursor};
use tract_onnx::{
    pb::{
        GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
    },
    prelude::Framework,
};

/// Subgraphs deeper than this are refused: no real model has them, and each level is a recursion.
const DEPTH_MAX: usize = 16;

/// A graph that has passed the checks.
#[derive(Debug)]
pub(crate) struct Graph {
    /// The message itself, for the embedded runtime.
    pub proto: ModelProto,
    /// Name of the one input.
    pub input: String,
    /// Features a row.
    pub width: usize,
    /// Name of the first output.
    pub output: String,
    /// Operators used, `domain::Type` where the domain is not ONNX's own.
    pub operators: BTreeSet<String>,
}

impl Graph {
    /// Reads the bytes. Cost: one decode and one pass over the weights.
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let not_onnx = |reason: String| ModelError::NotOnnx { reason };
        let proto = tract_onnx::onnx()
            .proto_model_for_read(&mut Cursor::new(bytes))
            .map_err(|error| not_onnx(sentence(&error.root_cause().to_string())))?;
        let graph = proto.graph.as_ref().ok_or_else(|| not_onnx("it holds no graph".into()))?;
        if graph.node.is_empty() {
            return Err(not_onnx("its graph is empty".into()));
        }
        let mut operators = BTreeSet::new();
        visit(graph, 0, &mut operators)?;
        let (input, width) = input_of(graph)?;
        let output = output_of(graph)?;
        Ok(Self { input, width, output, operators, proto })
    }
}

/// Operators of a message, subgraphs included.
pub(crate) fn operators(proto: &ModelProto) -> Result<BTreeSet<String>, ModelError> {
    let mut operators = BTreeSet::new();
    if let Some(graph) = &proto.graph {
        visit(graph, 0, &mut operators)?;
    }
    Ok(operators)
}

/// The one input that is no weight: float32 `[N, features]`.
fn input_of(graph: &GraphProto) -> Result<(String, usize), ModelError> {
    let refuse = |reason: String| ModelError::Tensor { reason };
    let weights: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !weights.contains(input.name.as_str())).collect();
    let [input] = inputs[..] else {
        return Err(refuse(format!("it has {} inputs, one float32 input [N, features] is wanted", inputs.len())));
    };
    let shape = tensor_shape(input, "input")?;
    let shown = shape_text(&shape);
    match shape[..] {
        [None, Some(width)] if width > 0 => {
            let width = usize::try_from(width).map_err(|_| refuse(format!("input `{}` has the shape {shown}", quoted(&input.name))))?;
            Ok((input.name.clone(), width))
        }
        [Some(_), Some(_)] => Err(refuse(format!(
            "input `{}` has the fixed shape {shown}, the first dimension must be free: [N, features] is wanted",
            quoted(&input.name)
        ))),
        _ => Err(refuse(format!(
            "input `{}` has the shape {shown}, [N, features] with a fixed number of features is wanted",
            quoted(&input.name)
        ))),
    }
}

/// The first output, `[N]` or `[N, 1]` as far as the file says.
fn output_of(graph: &GraphProto) -> Result<String, ModelError> {
    let refuse = |reason: String| ModelError::Tensor { reason };
    let output = graph.output.first().ok_or_else(|| refuse("it has no output, one score a row is wanted".into()))?;
    let made = graph.node.iter().flat_map(|node| &node.output).any(|name| *name == output.name);
    if !made {
        return Err(refuse(format!("its output `{}` is computed by no node", quoted(&output.name))));
    }
    if output.r#type.is_some() {
        let shape = tensor_shape(output, "output")?;
        match shape[..] {
            // No dimension at all: the file does not say.
            [] | [_] | [_, Some(1) | None] => {}
            _ => {
                return Err(refuse(format!(
                    "its first output `{}` has the shape {}, one score a row is wanted: [N] or [N, 1]",
                    quoted(&output.name),
                    shape_text(&shape)
                )));
            }
        }
    }
    Ok(output.name.clone())
}

/// Dimensions of a float32 tensor, `None` = free.
fn tensor_shape(value: &ValueInfoProto, role: &str) -> Result<Vec<Option<i64>>, ModelError> {
    let refuse = |reason: String| ModelError::Tensor { reason };
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(refuse(format!("its {role} `{}` is no tensor, float32 is wanted", quoted(&value.name))));
    };
    if DataType::try_from(tensor.elem_type) != Ok(DataType::Float) {
        let found =
            DataType::try_from(tensor.elem_type).map_or_else(|_| "an unknown type".into(), |kind| format!("{kind:?}").to_lowercase());
        return Err(refuse(format!("its {role} `{}` is {found}, float32 is wanted", quoted(&value.name))));
    }
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    Ok(dims
        .map(|dim| match &dim.value {
            Some(dimension::Value::DimValue(length)) if *length > 0 => Some(*length),
            _ => None,
        })
        .collect())
}

fn shape_text(shape: &[Option<i64>]) -> String {
    let dims: Vec<String> = shape.iter().map(|dim| dim.map_or_else(|| "N".into(), |length| length.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// Collects operators and checks weights, subgraphs included.
fn visit(graph: &GraphProto, depth: usize, operators: &mut BTreeSet<String>) -> Result<(), ModelError> {
    if depth > DEPTH_MAX {
        return Err(ModelError::NotOnnx { reason: format!("its graphs are nested deeper than {DEPTH_MAX}") });
    }
    graph.initializer.iter().try_for_each(weight)?;
    for node in &graph.node {
        operators.insert(operator_name(node));
        for attribute in &node.attribute {
            attribute.t.iter().chain(&attribute.tensors).try_for_each(weight)?;
            attribute.g.iter().chain(&attribute.graphs).try_for_each(|inner| visit(inner, depth + 1, operators))?;
        }
    }
    Ok(())
}

fn operator_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" | "ai.onnx.ml" => node.op_type.clone(),
        domain => format!("{domain}::{}", node.op_type),
    }
}

/// A weight lies inside the file, is as long as its shape says, and holds no NaN.
fn weight(tensor: &TensorProto) -> Result<(), ModelError> {
    let not_onnx = |reason: String| ModelError::NotOnnx { reason };
    let name = || if tensor.name.is_empty() { "(a constant)".to_owned() } else { quoted(&tensor.name) };
    if tensor.data_location.unwrap_or_default() != 0 || !tensor.external_data.is_empty() {
        return Err(not_onnx(format!("weight `{}` lies in another file, save the model as one file", name())));
    }
    let length = tensor.dims.iter().try_fold(1i64, |length, dim| length.checked_mul(*dim).filter(|_| *dim >= 0));
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| not_onnx(format!("weight `{}` has an impossible shape {:?}", name(), tensor.dims)))?;
    let kind = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let holds = match (kind, tensor.raw_data.is_empty()) {
        (DataType::Float, false) => tensor.raw_data.len() / 4,
        (DataType::Double | DataType::Int64 | DataType::Uint64, false) => tensor.raw_data.len() / 8,
        (DataType::Float, true) => tensor.float_data.len(),
        (DataType::Double, true) => tensor.double_data.len(),
        (DataType::Int64, true) => tensor.int64_data.len(),
        (_, false) => tensor.raw_data.len().saturating_mul(2),
        (_, true) => usize::MAX,
    };
    let exact = matches!(kind, DataType::Float | DataType::Double | DataType::Int64);
    if (exact && holds != length) || holds < length {
        return Err(not_onnx(format!("weight `{}` holds {holds} numbers where its shape {:?} needs {length}", name(), tensor.dims)));
    }
    let nan = match kind {
        DataType::Float if !tensor.raw_data.is_empty() => {
            tensor.raw_data.as_chunks::<4>().0.iter().any(|bytes| f32::from_le_bytes(*bytes).is_nan())
        }
        DataType::Float => tensor.float_data.iter().any(|value| value.is_nan()),
        DataType::Double if !tensor.raw_data.is_empty() => {
            tensor.raw_data.as_chunks::<8>().0.iter().any(|bytes| f64::from_le_bytes(*bytes).is_nan())
        }
        DataType::Double => tensor.double_data.iter().any(|value| value.is_nan()),
        _ => false,
    };
    if nan { Err(ModelError::WeightNan { name: name() }) } else { Ok(()) }
}
