//! Whole-crate tests: folders that must load, and many that must be refused in one sentence.

use crate::{
    Baseline, ModelError, Runtime, Trust, check_with, load_with, runtime, sha256_hex,
    shipped::{shipped_card, shipped_files, shipped_with},
};
use geophone_proto::{
    Class, SeriesKey, UnixNanos,
    feature::{FeatureFrame, FeatureSchema},
    model::ModelCard,
    seam::{Model, SeamError},
};
use polars::prelude::{Column, DataFrame, ParquetWriter};
use proptest::prelude::*;
use std::path::Path;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

fn schema() -> FeatureSchema {
    FeatureSchema::of(["a", "b", "c"])
}

fn frame(schema_width: usize, x: Vec<f32>) -> FeatureFrame {
    let rows = x.len() / schema_width;
    FeatureFrame { at: UnixNanos(0), width: schema_width, keys: (0..rows).map(|row| SeriesKey(row as u128)).collect(), x }
}

fn value(name: &str, dims: &[Option<i64>], kind: DataType) -> ValueInfoProto {
    let dim = dims.iter().map(|dim| Dimension { value: dim.map(dimension::Value::DimValue), ..Dimension::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto { op_type: operator.into(), input: owned(inputs), output: owned(outputs), name: outputs.concat(), ..NodeProto::default() }
}

fn weight(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto { name: name.into(), dims: dims.into(), data_type: DataType::Float as i32, float_data: values, ..TensorProto::default() }
}

/// `score = x . (1, 2, 3)`: batch dimension unnamed, as scikit-learn exports are.
fn linear() -> ModelProto {
    let graph = GraphProto {
        name: "linear".into(),
        node: vec![node("MatMul", &["x", "w"], &["score"])],
        initializer: vec![weight("w", &[3, 1], vec![1.0, 2.0, 3.0])],
        input: vec![value("x", &[None, Some(3)], DataType::Float)],
        output: vec![value("score", &[None, Some(1)], DataType::Float)],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.get_or_insert_default()
}

fn encode(model: &ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

/// Twenty rows and their sums with weights 1, 2, 3.
fn rows() -> (Vec<f32>, Vec<f32>) {
    let x: Vec<f32> = (0..60).map(|place| (place % 7) as f32 - 3.0).collect();
    let expected = x.chunks(3).map(|row| row[0] + 2.0 * row[1] + 3.0 * row[2]).collect();
    (x, expected)
}

fn parquet(names: &[String], x: &[f32], expected: &[f32]) -> Vec<u8> {
    let column = |place: usize| x.iter().skip(place).step_by(names.len()).copied().collect::<Vec<f32>>();
    let mut columns: Vec<Column> = names.iter().enumerate().map(|(place, name)| Column::new(name.into(), column(place))).collect();
    columns.push(Column::new("expected".into(), expected));
    let mut frame = DataFrame::new(expected.len(), columns).expect("the columns are equally long");
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).expect("memory is writable");
    bytes
}

fn card_for(bytes: &[u8], schema: &FeatureSchema) -> String {
    format!(
        "name = \"try\"\nversion = \"1\"\nsha256 = \"{}\"\nfeature_schema = \"{}\"\nfeatures = {:?}\n\
         [input]\nname = \"x\"\ndtype = \"float32\"\nshape = [\"N\", {}]\n\
         [output]\nname = \"score\"\ndtype = \"float32\"\nshape = [\"N\", 1]\n",
        sha256_hex(bytes),
        schema.id,
        schema.names,
        schema.width()
    )
}

/// Writes a folder around these bytes; the rest fits `linear`.
fn folder(bytes: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let (x, expected) = rows();
    put(directory.path(), "model.onnx", bytes);
    put(directory.path(), "card.toml", card_for(bytes, &schema()).as_bytes());
    put(directory.path(), "check.parquet", &parquet(&schema().names, &x, &expected));
    directory
}

fn put(directory: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(directory.join(name), bytes).expect("the directory is writable");
}

fn runtimes() -> Vec<Runtime> {
    let info = runtime();
    if info.path.is_some() {
        vec![Runtime::Embedded, Runtime::OnnxRuntime]
    } else {
        #[allow(clippy::print_stderr, reason = "a skipped part says so")]
        {
            eprintln!("skipped ONNX Runtime: {}", info.note);
        }
        vec![Runtime::Embedded]
    }
}

/// Both runtimes refuse the folder in one sentence that holds `word`.
fn refused(directory: &Path, word: &str) -> ModelError {
    let mut last = None;
    for runtime in runtimes() {
        let error = check_with(directory, &schema(), &Trust::default(), runtime).expect_err("the folder must be refused");
        let shown = error.to_string();
        assert!(shown.contains(word), "`{shown}` does not say `{word}`");
        assert!(!shown.contains('\n') && !shown.contains("panicked") && !shown.contains("unwrap") && shown.len() < 600, "{shown}");
        last = Some(error);
    }
    last.expect("the embedded runtime is always there")
}

#[test]
fn a_good_folder_loads_with_its_batch_dimension_unnamed() {
    let directory = folder(&encode(&linear()));
    for runtime in runtimes() {
        let report = check_with(directory.path(), &schema(), &Trust::default(), runtime).expect("the folder is right");
        assert!(report.deviation < 1e-5);
        let mut model = load_with(directory.path(), &Trust::default(), runtime).expect("the folder is right");
        for rows in [0, 1, 2, 16, 17, 161, 256, 257, 1000] {
            let x: Vec<f32> = (0..rows * 3).map(|place| place as f32 / 100.0).collect();
            let mut scores = vec![9.0];
            model.score(&frame(3, x.clone()), &mut scores).expect("the frame fits");
            let wanted: Vec<f32> = x.chunks(3).map(|row| row[0] + 2.0 * row[1] + 3.0 * row[2]).collect();
            assert_eq!(scores.len(), rows);
            assert!(scores.iter().zip(&wanted).all(|(made, wanted)| (made - wanted).abs() < 1e-3), "{rows} rows");
        }
    }
}

#[test]
fn further_outputs_are_ignored() {
    let mut model = linear();
    graph_of(&mut model).node.push(node("Neg", &["score"], &["other"]));
    graph_of(&mut model).output.push(value("other", &[None, Some(1)], DataType::Float));
    for runtime in runtimes() {
        load_with(folder(&encode(&model)).path(), &Trust::default(), runtime).expect("only the first output counts");
    }
}

#[test]
fn a_changed_file_is_refused_by_its_hash() {
    let directory = folder(&encode(&linear()));
    let mut model = linear();
    model.producer_name = "someone else".into();
    put(directory.path(), "model.onnx", &encode(&model));
    assert_eq!(refused(directory.path(), "hash").class(), Class::Reject);
}

#[test]
fn a_missing_file_is_named() {
    let directory = folder(&encode(&linear()));
    std::fs::remove_file(directory.path().join("check.parquet")).expect("it was written");
    assert_eq!(refused(directory.path(), "check.parquet").class(), Class::Config);
}

#[test]
fn graphs_that_cannot_score_are_refused() {
    let change = |change: &dyn Fn(&mut GraphProto)| {
        let mut model = linear();
        change(graph_of(&mut model));
        folder(&encode(&model))
    };
    let unknown = change(&|graph| graph.node[0].op_type = "FancyThing".into());
    refused(unknown.path(), "FancyThing");
    let foreign = change(&|graph| graph.node[0].domain = "com.example".into());
    refused(foreign.path(), "MatMul");
    let nan = change(&|graph| graph.initializer[0].float_data[1] = f32::NAN);
    refused(nan.path(), "NaN");
    let fixed = change(&|graph| graph.input[0] = value("x", &[Some(1), Some(3)], DataType::Float));
    refused(fixed.path(), "[1, 3]");
    let double = change(&|graph| graph.input[0] = value("x", &[None, Some(3)], DataType::Double));
    refused(double.path(), "float32");
    let two = change(&|graph| graph.input.push(value("y", &[None, Some(3)], DataType::Float)));
    refused(two.path(), "2 inputs");
    let wide = change(&|graph| graph.output[0] = value("score", &[None, Some(2)], DataType::Float));
    refused(wide.path(), "[N, 2]");
    let loose = change(&|graph| graph.output[0].name = "absent".into());
    refused(loose.path(), "absent");
    let lie = change(&|graph| graph.initializer[0].dims = vec![1 << 40, 1 << 10]);
    refused(lie.path(), "weight `w`");
    let outside = change(&|graph| graph.initializer[0].data_location = Some(1));
    refused(outside.path(), "another file");
    let empty = change(&|graph| graph.node.clear());
    refused(empty.path(), "empty");
}

#[test]
fn a_model_of_another_width_names_both() {
    let directory = folder(&encode(&linear()));
    let error =
        check_with(directory.path(), &FeatureSchema::of(["a", "b"]), &Trust::default(), Runtime::Embedded).expect_err("three are not two");
    assert!(error.to_string().contains("3 features") && error.to_string().contains("has 2"), "{error}");
    let error = check_with(directory.path(), &FeatureSchema::of(["a", "c", "b"]), &Trust::default(), Runtime::Embedded)
        .expect_err("the order differs");
    assert!(error.to_string().contains("`b`, not `c`"), "{error}");
    let mut model = linear();
    graph_of(&mut model).input[0] = value("x", &[None, Some(5)], DataType::Float);
    refused(folder(&encode(&model)).path(), "5 features");
}

#[test]
fn a_score_that_is_no_number_is_refused() {
    let mut model = linear();
    graph_of(&mut model).node = vec![node("MatMul", &["x", "w"], &["sum"]), node("Log", &["sum"], &["score"])];
    refused(folder(&encode(&model)).path(), "NaN");
}

#[test]
fn an_output_of_another_length_is_refused() {
    let mut model = linear();
    let graph = graph_of(&mut model);
    graph.node = vec![node("MatMul", &["x", "w"], &["sum"]), node("ReduceSum", &["sum"], &["score"])];
    graph.node[1].attribute =
        vec![AttributeProto { name: "keepdims".into(), r#type: AttributeType::Int as i32, i: 1, ..AttributeProto::default() }];
    graph.output[0].r#type = None;
    refused(folder(&encode(&model)).path(), "one score a row");
}

#[test]
fn check_rows_must_be_right_and_enough() {
    let bytes = encode(&linear());
    let names = schema().names;
    let (x, mut expected) = rows();
    let directory = folder(&bytes);
    put(directory.path(), "check.parquet", &parquet(&names, &x[..45], &expected[..15]));
    refused(directory.path(), "15 rows");
    expected[3] += 0.01;
    put(directory.path(), "check.parquet", &parquet(&names, &x, &expected));
    refused(directory.path(), "check row 3");
    expected[3] = f32::NAN;
    put(directory.path(), "check.parquet", &parquet(&names, &x, &expected));
    refused(directory.path(), "NaN");
    put(directory.path(), "check.parquet", &parquet(&["a".into(), "b".into(), "d".into()], &x, &rows().1));
    refused(directory.path(), "`c` is missing");
    put(directory.path(), "check.parquet", b"PAR1 rubbish PAR1");
    refused(directory.path(), "check.parquet");
}

#[test]
fn cards_that_promise_something_else_are_refused() {
    let bytes = encode(&linear());
    let directory = folder(&bytes);
    let good = card_for(&bytes, &schema());
    for (from, to, word) in [
        ("name = \"try\"", "name = \"../up\"", "`../up`"),
        ("name = \"try\"", "name = \"try\"\ncolour = \"red\"", "colour"),
        ("\"float32\"", "\"float64\"", "float64"),
        ("[\"N\", 3]", "[\"N\", 4]", "4"),
        ("name = \"x\"", "name = \"input\"", "`input`"),
        ("\"b\"", "\"e\"", "`e`, not `b`"),
        ("version = \"1\"\n", "", "version"),
    ] {
        put(directory.path(), "card.toml", good.replacen(from, to, 1).as_bytes());
        refused(directory.path(), word);
    }
}

/// A GRU over the features as steps of one: tract panics on it with a free batch, not with ours.
#[test]
fn a_recurrent_net_loads_or_is_refused_but_never_panics() {
    let mut model = linear();
    let graph = graph_of(&mut model);
    let attribute = AttributeProto { name: "hidden_size".into(), r#type: AttributeType::Int as i32, i: 1, ..AttributeProto::default() };
    let perm = AttributeProto { name: "perm".into(), r#type: AttributeType::Ints as i32, ints: vec![1, 0, 2], ..AttributeProto::default() };
    let integers = |name: &str, values: Vec<i64>| TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values,
        ..TensorProto::default()
    };
    graph.initializer = vec![
        weight("w", &[1, 3, 1], vec![0.5, -0.2, 0.3]),
        weight("r", &[1, 3, 1], vec![0.1, 0.2, 0.3]),
        integers("steps", vec![-1, 3, 1]),
        integers("flat", vec![-1, 1]),
    ];
    graph.node = vec![
        node("Reshape", &["x", "steps"], &["rows"]),
        node("Transpose", &["rows"], &["sequence"]),
        node("GRU", &["sequence", "w", "r"], &["", "last"]),
        node("Reshape", &["last", "flat"], &["score"]),
    ];
    graph.node[1].attribute = vec![perm];
    graph.node[2].attribute = vec![attribute];
    // The expected scores are another model's: the point is that the net runs and is compared.
    refused(folder(&encode(&model)).path(), "check row");
}

#[test]
fn a_panic_in_the_runtime_is_one_sentence() {
    let mut model = linear();
    let graph = graph_of(&mut model);
    graph.initializer.push(weight("r", &[0], vec![]));
    graph.node = vec![node("GRU", &["x", "w", "r"], &["", "score"])];
    refused(folder(&encode(&model)).path(), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn broken_files_are_refused_without_panic(cut in 0usize..200, flips in prop::collection::vec((0usize..200, any::<u8>()), 0..6)) {
        let mut bytes = encode(&linear());
        bytes.truncate(cut.max(1));
        for (place, byte) in flips {
            let length = bytes.len();
            bytes[place % length] ^= byte;
        }
        let directory = folder(&bytes);
        for runtime in runtimes() {
            // A flip may leave a good model; then its numbers were checked.
            if let Err(error) = load_with(directory.path(), &Trust::default(), runtime) {
                let shown = error.to_string();
                prop_assert!(!shown.contains("panicked") && !shown.contains('\n'), "{shown}");
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = folder(&bytes);
        prop_assert!(load_with(directory.path(), &Trust::default(), Runtime::Embedded).is_err());
    }

    #[test]
    fn the_shipped_score_never_falls_when_a_deviation_grows(x in prop::collection::vec(-20f32..20f32, 26), place in 0usize..16, by in 1f32..3f32) {
        let width = shipped_card().features.len();
        prop_assume!(width == x.len());
        let mut grown = x.clone();
        grown[place] *= by;
        let mut scores = Vec::new();
        let mut model = shipped_with(Runtime::Embedded).expect("the shipped model loads");
        model.score(&frame(width, [x, grown].concat()), &mut scores).expect("the frame fits");
        prop_assert!(scores[1] >= scores[0] - 1e-4, "{:?}", scores);
    }

    #[test]
    fn a_rows_score_depends_on_no_other_row(x in prop::collection::vec(-20f32..20f32, 26 * 300), from in 0usize..39) {
        let width = shipped_card().features.len();
        prop_assume!(width == 26);
        for runtime in runtimes() {
            let mut model = shipped_with(runtime).expect("the shipped model loads");
            let (mut together, mut alone) = (Vec::new(), Vec::new());
            model.score(&frame(width, x.clone()), &mut together).expect("the frame fits");
            for (first, last) in [(from, from + 1), (from / 2, 40), (0, from + 1)] {
                model.score(&frame(width, x[first * width..last * width].to_vec()), &mut alone).expect("the frame fits");
                prop_assert_eq!(together[from].to_bits(), alone[from - first].to_bits(), "{:?} {}", runtime, last - first);
            }
        }
    }
}

#[test]
fn both_runtimes_score_the_shipped_model_alike() {
    let mut made = Vec::new();
    let width = shipped_card().features.len();
    let x: Vec<f32> = (0..width * 700).map(|place| ((place * 7919) % 4001) as f32 / 100.0 - 20.0).collect();
    for runtime in runtimes() {
        let mut scores = Vec::new();
        let mut model = shipped_with(runtime).expect("the shipped model loads");
        model.score(&frame(width, x.clone()), &mut scores).expect("the frame fits");
        made.push(scores);
    }
    for scores in &made[1..] {
        let worst = scores.iter().zip(&made[0]).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
        assert!(worst <= 1e-5, "the runtimes differ by {worst}");
    }
}

#[test]
fn the_shipped_files_make_a_folder_that_passes() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    shipped_files().iter().for_each(|(name, bytes)| put(directory.path(), name, bytes));
    let card = shipped_card();
    let schema = FeatureSchema::of(card.features.iter().map(String::as_str));
    for runtime in runtimes() {
        let report = check_with(directory.path(), &schema, &Trust::default(), runtime).expect("the shipped model is right");
        assert_eq!(report.card, card);
    }
}

#[test]
fn a_frame_of_another_width_is_an_error() {
    let mut model = shipped_with(Runtime::Embedded).expect("the shipped model loads");
    let mut scores = Vec::new();
    let error = model.score(&frame(2, vec![1.0, 2.0]), &mut scores).expect_err("two is not its width");
    assert!(error.message.contains("2 features"), "{error}");
    let torn = FeatureFrame { keys: vec![SeriesKey(1)], width: model.card().features.len(), ..FeatureFrame::default() };
    assert!(model.score(&torn, &mut scores).is_err());
}

#[test]
fn baselines_score_what_they_say() {
    let schema = FeatureSchema::of(["z_1", "z_2", "age"]);
    let frame = frame(3, vec![1.0, -3.0, 90.0, 0.0, 0.0, 5.0]);
    let scored = |mut model: Baseline| {
        let mut scores = Vec::new();
        model.score(&frame, &mut scores).expect("the frame fits");
        assert_eq!(model.card().features, schema.names);
        scores
    };
    assert_eq!(scored(Baseline::max_abs_z(&schema)), [3.0, 0.0]);
    assert_eq!(scored(Baseline::mean_abs_z(&schema)), [2.0, 0.0]);
    assert_eq!(scored(Baseline::norm_z(&schema)), [10f32.sqrt(), 0.0]);
    assert_eq!(scored(Baseline::max_abs_of(&schema, &["age", "absent"])), [90.0, 5.0]);
}

/// The failing implementation of the seam, as other crates' tests use their own.
struct Failing(ModelCard);

impl Model for Failing {
    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn score(&mut self, _: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        scores.clear();
        Err(SeamError { class: Class::Bug, message: "always".into() })
    }
}

#[test]
fn the_seam_takes_models_that_fail() {
    let mut models: Vec<Box<dyn Model>> = vec![Box::new(Failing(shipped_card())), Box::new(Baseline::max_abs_z(&schema()))];
    let mut scores = Vec::new();
    let outcomes: Vec<bool> = models.iter_mut().map(|model| model.score(&frame(3, vec![0.0; 3]), &mut scores).is_ok()).collect();
    assert_eq!(outcomes, [false, true]);
}

fn attribute(name: &str, kind: AttributeType, value: AttributeProto) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..value }
}

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    attribute(name, AttributeType::Floats, AttributeProto { floats: floats.into(), ..AttributeProto::default() })
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    attribute(name, AttributeType::Ints, AttributeProto { ints: ints.into(), ..AttributeProto::default() })
}

/// Scaled by (x - 1) * 2, one tree that asks whether the first feature is at most 0, its leaves looked up.
fn scaled_tree() -> ModelProto {
    let ml = |operator: &str, from: &str, to: &str, attribute: Vec<AttributeProto>| NodeProto {
        domain: "ai.onnx.ml".into(),
        attribute,
        ..node(operator, &[from], &[to])
    };
    let modes = ["BRANCH_LEQ", "LEAF", "LEAF"].map(|mode| mode.as_bytes().to_vec());
    let tree = vec![
        attribute("n_targets", AttributeType::Int, AttributeProto { i: 1, ..AttributeProto::default() }),
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[0, 0, 0]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        floats("nodes_values", &[0.0, 0.0, 0.0]),
        attribute("nodes_modes", AttributeType::Strings, AttributeProto { strings: modes.into(), ..AttributeProto::default() }),
        ints("target_treeids", &[0, 0]),
        ints("target_nodeids", &[1, 2]),
        ints("target_ids", &[0, 0]),
        floats("target_weights", &[2.0, 5.0]),
        floats("base_values", &[1.0]),
    ];
    let looked_up = vec![floats("keys_floats", &[3.0, 6.0]), floats("values_floats", &[0.25, 0.75])];
    let mut model = linear();
    let graph = graph_of(&mut model);
    graph.initializer.clear();
    graph.node = vec![
        ml("Scaler", "x", "scaled", vec![floats("offset", &[1.0]), floats("scale", &[2.0])]),
        ml("TreeEnsembleRegressor", "scaled", "leaf", tree),
        ml("LabelEncoder", "leaf", "score", looked_up),
    ];
    model.opset_import.push(OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 3 });
    model
}

// Scenario: operators of scikit-learn exports that the embedded runtime lacks.
// Guarantees: every runtime computes what the standard says of them.
#[test]
fn scalers_trees_and_encoders_run_everywhere() {
    let bytes = encode(&scaled_tree());
    let directory = folder(&bytes);
    let (x, _) = rows();
    let expected: Vec<f32> = x.chunks(3).map(|row| if row[0] <= 1.0 { 0.25 } else { 0.75 }).collect();
    put(directory.path(), "check.parquet", &parquet(&schema().names, &x, &expected));
    for runtime in runtimes() {
        check_with(directory.path(), &schema(), &Trust::default(), runtime).unwrap_or_else(|error| panic!("{runtime:?}: {error}"));
    }
}

/// A scalar of this kind, of no rows and columns.
fn scalar(name: &str, value: f32) -> TensorProto {
    weight(name, &[], vec![value])
}

/// `linear`, but over its scores goes a loop with a round for every trillionth by which a feature is above 100.
fn endless() -> ModelProto {
    let body = GraphProto {
        name: "round".into(),
        node: vec![node("Identity", &["go_on"], &["goes_on"]), node("Add", &["old", "nothing"], &["new"])],
        initializer: vec![scalar("nothing", 0.0)],
        input: vec![
            value("round", &[], DataType::Int64),
            value("go_on", &[], DataType::Bool),
            value("old", &[None, Some(1)], DataType::Float),
        ],
        output: vec![value("goes_on", &[], DataType::Bool), value("new", &[None, Some(1)], DataType::Float)],
        ..GraphProto::default()
    };
    let int = |name: &str, i: i64| attribute(name, AttributeType::Int, AttributeProto { i, ..AttributeProto::default() });
    let with = |attributes: Vec<AttributeProto>, node: NodeProto| NodeProto { attribute: attributes, ..node };
    let mut model = linear();
    let graph = graph_of(&mut model);
    graph.initializer.extend([scalar("hundred", 100.0), scalar("many", 1e12)]);
    graph.node = vec![
        node("MatMul", &["x", "w"], &["sum"]),
        with(vec![int("keepdims", 0)], node("ReduceMax", &["x"], &["most"])),
        node("Sub", &["most", "hundred"], &["above"]),
        node("Relu", &["above"], &["excess"]),
        node("Mul", &["excess", "many"], &["wanted"]),
        with(vec![int("to", DataType::Int64 as i64)], node("Cast", &["wanted"], &["rounds"])),
        with(
            vec![attribute("body", AttributeType::Graph, AttributeProto { g: Some(body), ..AttributeProto::default() })],
            node("Loop", &["rounds", "", "sum"], &["score"]),
        ),
    ];
    model
}

// Scenario: a loop whose rounds the data tell passes the check, and then is given data for many years.
// Guarantees: it is ended from another thread and is an error, then and ever after; where loops cannot be ended, they
// are not let in.
#[test]
fn what_does_not_end_is_ended_in_all_runtimes() {
    let directory = folder(&encode(&endless()));
    for runtime in runtimes() {
        let checked = check_with(directory.path(), &schema(), &Trust::default(), runtime);
        if runtime == Runtime::Embedded {
            let refused = checked.expect_err("it cannot be ended there").to_string();
            assert!(refused.contains("`Loop`"), "{refused}");
            continue;
        }
        checked.expect("it is right about its check rows");
        let mut model = load_with(directory.path(), &Trust::default(), runtime).expect("it passed");
        let mut scores = Vec::new();
        model.score(&frame(3, vec![1.0; 3]), &mut scores).expect("no feature is above 100");
        let brake = model.brake().expect("every runtime has one");
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let scoring = std::thread::spawn(move || {
            tell.send(()).expect("the test listens");
            let outcomes = [0, 1].map(|_| model.score(&frame(3, vec![200.0; 3]), &mut Vec::new()).is_err());
            (outcomes, model.score(&frame(3, vec![1.0; 3]), &mut Vec::new()).is_err())
        });
        told.recv().expect("it began");
        brake();
        assert_eq!(scoring.join().expect("no panic"), ([true, true], true));
    }
}

#[test]
fn a_brake_that_was_pulled_holds_for_ever() {
    let mut model = shipped_with(Runtime::Embedded).expect("the shipped model loads");
    let width = model.card().features.len();
    let mut scores = Vec::new();
    model.score(&frame(width, vec![0.0; width]), &mut scores).expect("the frame fits");
    model.brake().expect("every runtime has one")();
    let error = model.score(&frame(width, vec![0.0; width]), &mut scores).expect_err("it was ended");
    assert!(error.message.contains("told to end"), "{error}");
}

// Scenario: the places of what is not zero, of which there are as many as the data tell.
// Guarantees: the embedded runtime refuses it by name, before anything is computed.
#[test]
fn sizes_that_the_data_tell_are_refused_by_the_embedded_runtime() {
    let mut model = linear();
    graph_of(&mut model).node = vec![
        node("MatMul", &["x", "w"], &["sum"]),
        node("NonZero", &["x"], &["places"]),
        NodeProto {
            attribute: vec![attribute("to", AttributeType::Int, AttributeProto { i: DataType::Float as i64, ..AttributeProto::default() })],
            ..node("Cast", &["places"], &["numbers"])
        },
        node("ReduceMax", &["numbers"], &["most"]),
        node("Add", &["sum", "most"], &["score"]),
    ];
    let error = check_with(folder(&encode(&model)).path(), &schema(), &Trust::default(), Runtime::Embedded).expect_err("it is unbounded");
    assert!(matches!(error, ModelError::Unbounded { .. }), "{error}");
}

// Scenario: scores of ten million, right within float32.
// Guarantees: the refusal says that they are too large to be held against 1e-3, and what to do.
#[test]
fn scores_too_large_to_compare_are_refused_with_advice() {
    let mut model = linear();
    graph_of(&mut model).initializer = vec![weight("w", &[3, 1], vec![1e7, 2e7, 3e7])];
    let directory = folder(&encode(&model));
    let (x, expected) = rows();
    let expected: Vec<f32> = expected.iter().map(|score| score * 1.000_01e7).collect();
    put(directory.path(), "check.parquet", &parquet(&schema().names, &x, &expected));
    let error = refused(directory.path(), "logarithm");
    assert!(matches!(error, ModelError::TooLarge { .. }), "{error}");
}
