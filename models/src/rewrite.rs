//! Operators of `ai.onnx.ml` that the embedded runtime lacks, said in operators that it has: scalers, tree
//! ensembles that give one number, label encoders from numbers to floats. For the embedded runtime only;
//! the real one gets the file as it is. What cannot be said stays as it was, and is refused by name.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
};

/// `Unsqueeze` and `Squeeze` take axes as an input from here on.
const AXES_AS_INPUT: i64 = 13;

/// Rewrites the nodes of the main graph.
pub(crate) fn rewrite(proto: &mut ModelProto) {
    let opset = proto.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx").map_or(0, |set| set.version);
    let Some(graph) = proto.graph.as_mut() else { return };
    let nodes = std::mem::take(&mut graph.node);
    for (place, node) in nodes.into_iter().enumerate() {
        let mut made = Made { graph: &mut *graph, prefix: format!("geophone rewrite {place}") };
        let done = match (&*node.domain, &*node.op_type) {
            ("ai.onnx.ml", "Scaler") => made.scaler(&node),
            ("ai.onnx.ml", "TreeEnsembleRegressor") => made.trees(&node),
            ("ai.onnx.ml", "LabelEncoder") if opset >= AXES_AS_INPUT => made.label_encoder(&node),
            _ => None,
        };
        if done.is_none() {
            graph.node.push(node);
        }
    }
}

/// Where new nodes and constants go, and how their names begin.
struct Made<'a> {
    graph: &'a mut GraphProto,
    prefix: String,
}

impl Made<'_> {
    fn name(&self, what: &str) -> String {
        format!("{} {what}", self.prefix)
    }

    fn constant(&mut self, what: &str, dims: &[usize], kind: DataType, values: Values) -> String {
        let name = self.name(what);
        let (float_data, int64_data) = match values {
            Values::Floats(floats) => (floats, Vec::new()),
            Values::Ints(ints) => (Vec::new(), ints),
        };
        let dims = dims.iter().map(|dim| *dim as i64).collect();
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims,
            data_type: kind as i32,
            float_data,
            int64_data,
            ..TensorProto::default()
        });
        name
    }

    fn floats(&mut self, what: &str, dims: &[usize], values: Vec<f32>) -> String {
        self.constant(what, dims, DataType::Float, Values::Floats(values))
    }

    fn ints(&mut self, what: &str, values: Vec<i64>) -> String {
        self.constant(what, &[values.len()], DataType::Int64, Values::Ints(values))
    }

    fn node(&mut self, op_type: &str, (input, output): (&[&str], &str), attribute: Vec<AttributeProto>) {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        self.graph.node.push(NodeProto { op_type: op_type.into(), input, output: vec![output.into()], attribute, ..NodeProto::default() });
    }

    /// `(x - offset) * scale`.
    fn scaler(&mut self, node: &NodeProto) -> Option<()> {
        let (input, output) = ends(node)?;
        let (offset, scale) = (floats_of(node, "offset"), floats_of(node, "scale"));
        let mut last = input.to_owned();
        if !offset.is_empty() {
            let offset = self.floats("offset", &[offset.len()], offset);
            let made = self.name("shifted");
            self.node("Sub", (&[&last, &offset], &made), Vec::new());
            last = made;
        }
        let scale = if scale.is_empty() { vec![1.0] } else { scale };
        let scale = self.floats("scale", &[scale.len()], scale);
        self.node("Mul", (&[&last, &scale], output), Vec::new());
        Some(())
    }

    /// A regressor with one target is the first of three classes of a classifier (with two, the
    /// classifier would take them for the two sides of one).
    fn trees(&mut self, node: &NodeProto) -> Option<()> {
        let (input, output) = ends(node)?;
        let word = |name: &str| attribute(node, name).map(|found| String::from_utf8_lossy(&found.s).into_owned()).unwrap_or_default();
        let is_plain = matches!(&*word("post_transform"), "" | "NONE") && matches!(&*word("aggregate_function"), "" | "SUM");
        let targets = attribute(node, "n_targets").map_or(1, |targets| targets.i);
        if !is_plain || targets != 1 || attribute(node, "nodes_values").is_none() || attribute(node, "target_weights").is_none() {
            return None;
        }
        let mut attributes: Vec<AttributeProto> = Vec::new();
        for known in &node.attribute {
            let name = match &*known.name {
                "target_ids" => "class_ids",
                "target_nodeids" => "class_nodeids",
                "target_treeids" => "class_treeids",
                "target_weights" => "class_weights",
                name if name.starts_with("nodes_") && name != "nodes_hitrates" => name,
                _ => continue,
            };
            attributes.push(AttributeProto { name: name.into(), ..known.clone() });
        }
        attributes.push(attribute_of(
            "classlabels_int64s",
            AttributeType::Ints,
            AttributeProto { ints: vec![0, 1, 2], ..AttributeProto::default() },
        ));
        if let Some(base) = floats_of(node, "base_values").first() {
            let floats = vec![*base, 0.0, 0.0];
            attributes.push(attribute_of("base_values", AttributeType::Floats, AttributeProto { floats, ..AttributeProto::default() }));
        }
        let (label, scores) = (self.name("label"), self.name("scores"));
        self.graph.node.push(NodeProto {
            op_type: "TreeEnsembleClassifier".into(),
            domain: "ai.onnx.ml".into(),
            input: vec![input.into()],
            output: vec![label, scores.clone()],
            attribute: attributes,
            ..NodeProto::default()
        });
        let first = self.ints("first", vec![0]);
        let axis = attribute_of("axis", AttributeType::Int, AttributeProto { i: 1, ..AttributeProto::default() });
        self.node("Gather", (&[&scores, &first], output), vec![axis]);
        Some(())
    }

    /// From numbers to floats: which key it is, times that key's value.
    fn label_encoder(&mut self, node: &NodeProto) -> Option<()> {
        let (input, output) = ends(node)?;
        let values = floats_of(node, "values_floats");
        let ints = attribute(node, "keys_int64s").map(|keys| keys.ints.clone()).unwrap_or_default();
        let floats = floats_of(node, "keys_floats");
        let (is_int, count) = (!ints.is_empty(), ints.len().max(floats.len()));
        let default = attribute(node, "default_float").map_or(0.0, |default| default.f);
        let is_usual = default.is_finite() && values.iter().all(|value| value.is_finite()) && floats.iter().all(|key| !key.is_nan());
        if count == 0 || values.len() != count || !is_usual {
            return None;
        }
        let last = self.ints("last axis", vec![-1]);
        let keys = if is_int { self.ints("keys", ints) } else { self.floats("keys", &[count], floats) };
        let values = self.floats("values", &[count, 1], values.into_iter().map(|value| value - default).collect());
        let default = self.floats("default", &[1], vec![default]);
        let [apart, same, chosen, summed, flat] = ["apart", "same", "chosen", "summed", "flat"].map(|what| self.name(what));
        let to_float = attribute_of("to", AttributeType::Int, AttributeProto { i: DataType::Float as i64, ..AttributeProto::default() });
        self.node("Unsqueeze", (&[input, &last], &apart), Vec::new());
        self.node("Equal", (&[&apart, &keys], &same), Vec::new());
        self.node("Cast", (&[&same], &chosen), vec![to_float]);
        self.node("MatMul", (&[&chosen, &values], &summed), Vec::new());
        self.node("Squeeze", (&[&summed, &last], &flat), Vec::new());
        self.node("Add", (&[&flat, &default], output), Vec::new());
        Some(())
    }
}

enum Values {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

fn ends(node: &NodeProto) -> Option<(&str, &str)> {
    Some((node.input.first()?, node.output.first()?))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn floats_of(node: &NodeProto, name: &str) -> Vec<f32> {
    attribute(node, name).map(|attribute| attribute.floats.clone()).unwrap_or_default()
}

fn attribute_of(name: &str, kind: AttributeType, value: AttributeProto) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..value }
}
