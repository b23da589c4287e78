//! Contributions add up, whatever the model: the shipped one, rules, and an ONNX file of a user.

use geophone_engine::{
    detect::{baseline::LargestDeviation, explain},
    feature_schema,
};
use geophone_models::{Baseline, Runtime, Trust};
use geophone_proto::{SeriesKey, UnixNanos, feature::FeatureFrame, seam::Model};
use polars::prelude::{Column, DataFrame, ParquetWriter};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{cell::RefCell, path::Path};

const HIDDEN: usize = 8;

/// A protobuf field: length-delimited.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

/// A protobuf field: a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn node(operator: &str, inputs: [&str; 2], output: &str) -> Vec<u8> {
    let inputs = inputs.into_iter().filter(|name| !name.is_empty()).flat_map(|name| bytes(1, name.as_bytes()));
    bytes(1, &[inputs.collect(), bytes(2, output.as_bytes()), bytes(3, output.as_bytes()), bytes(4, operator.as_bytes())].concat())
}

fn weights(name: &str, dims: &[u8], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim)).collect();
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes(5, &[dims, number(2, 1), bytes(4, &values), bytes(8, name.as_bytes())].concat())
}

fn tensor(field: u8, name: &str, width: u8) -> Vec<u8> {
    let shape = [bytes(1, &[]), bytes(1, &number(1, width))].concat();
    let kind = bytes(1, &[number(1, 1), bytes(2, &shape)].concat());
    bytes(field, &[bytes(1, name.as_bytes()), bytes(2, &kind)].concat())
}

/// Two layers with a hyperbolic tangent in between, and what they should give.
struct Net {
    inner: Vec<f32>,
    outer: Vec<f32>,
    width: usize,
}

impl Net {
    fn new(width: usize) -> Self {
        let weight = |place: usize| ((place * 37 % 101) as f32 - 50.0) / 120.0;
        Self { inner: (0..width * HIDDEN).map(weight).collect(), outer: (0..HIDDEN).map(|place| weight(place + 7) * 3.0).collect(), width }
    }

    fn file(&self) -> Vec<u8> {
        let width = u8::try_from(self.width).expect("few features");
        let graph = [
            node("MatMul", ["x", "inner"], "sums"),
            node("Tanh", ["sums", ""], "bent"),
            node("MatMul", ["bent", "outer"], "score"),
            bytes(2, b"net"),
            weights("inner", &[width, HIDDEN as u8], &self.inner),
            weights("outer", &[HIDDEN as u8, 1], &self.outer),
            tensor(11, "x", width),
            tensor(12, "score", 1),
        ];
        [number(1, 8), bytes(7, &graph.concat()), bytes(8, &number(2, 17))].concat()
    }

    fn score(&self, row: &[f32]) -> f32 {
        let hidden = (0..HIDDEN).map(|unit| row.iter().enumerate().map(|(at, x)| x * self.inner[at * HIDDEN + unit]).sum::<f32>().tanh());
        hidden.zip(&self.outer).map(|(unit, weight)| unit * weight).sum()
    }
}

/// Writes the folder of a user's model for the engine's features.
fn put(folder: &Path) {
    let schema = feature_schema();
    let net = Net::new(schema.names.len());
    let file = net.file();
    let rows: Vec<Vec<f32>> = (0..20).map(|row| (0..net.width).map(|at| ((row * 13 + at * 7) % 11) as f32 / 5.0 - 1.0).collect()).collect();
    let mut columns: Vec<Column> = schema
        .names
        .iter()
        .enumerate()
        .map(|(at, name)| Column::new(name.as_str().into(), rows.iter().map(|row| row[at]).collect::<Vec<f32>>()))
        .collect();
    columns.push(Column::new("expected".into(), rows.iter().map(|row| net.score(row)).collect::<Vec<f32>>()));
    let mut frame = DataFrame::new(rows.len(), columns).expect("the columns are equally long");
    let mut check = Vec::new();
    ParquetWriter::new(&mut check).finish(&mut frame).expect("memory is writable");
    let card = format!(
        "name = \"bent\"\nversion = \"1\"\nsha256 = \"{}\"\nfeature_schema = \"{}\"\nfeatures = {:?}\n\
         [input]\nname = \"x\"\ndtype = \"float32\"\nshape = [\"N\", {}]\n[output]\nname = \"score\"\ndtype = \"float32\"\nshape = [\"N\", 1]\n",
        geophone_models::sha256_hex(&file),
        schema.id,
        schema.names,
        net.width
    );
    for (name, bytes) in [("model.onnx", &file[..]), ("card.toml", card.as_bytes()), ("check.parquet", &check)] {
        std::fs::write(folder.join(name), bytes).expect("the folder is writable");
    }
}

fn score(model: &mut dyn Model, row: &[f32]) -> f32 {
    let frame = FeatureFrame { at: UnixNanos(0), width: row.len(), keys: vec![SeriesKey(1)], x: row.to_vec() };
    let mut scores = Vec::new();
    model.score(&frame, &mut scores).expect("it scores any row");
    scores[0]
}

/// Scenario: random feature rows, calm to extreme, through the shipped model, four rules, and a
/// user's ONNX file with another shape, loaded from its folder.
/// Guarantees: the parts add up to the row's score minus that of the calm row, to a millionth of the
/// score; the same row gives the same parts; every part names a feature of the model, once.
#[test]
fn contributions_add_up_whatever_the_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path());
    let schema = feature_schema();
    let models: Vec<Box<dyn Model>> = vec![
        geophone_models::shipped_with(Runtime::Embedded).expect("the shipped model loads"),
        geophone_models::load_with(folder.path(), &Trust::default(), Runtime::Embedded).expect("the user's model is sound"),
        Box::new(Baseline::max_abs_z(&schema)),
        Box::new(Baseline::mean_abs_z(&schema)),
        Box::new(Baseline::norm_z(&schema)),
        Box::new(LargestDeviation::default()),
    ];
    for model in models {
        let model = RefCell::new(model);
        let width = schema.names.len();
        let rows = prop::collection::vec(prop_oneof![Just(0.0f32), -3.0f32..3.0, -60.0f32..60.0], width);
        let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
        let ran = runner.run(&rows, |row| {
            let mut model = model.borrow_mut();
            let raw = score(model.as_mut(), &row);
            let told = explain(model.as_mut(), &row, raw).expect("it can be taken apart");
            let sum: f64 = told.parts.iter().map(|part| part.value).sum();
            let baseline = f64::from(score(model.as_mut(), &vec![0.0; width]));
            prop_assert_eq!(told.raw, f64::from(raw));
            prop_assert_eq!(told.baseline, baseline);
            prop_assert!((sum - (f64::from(raw) - baseline)).abs() < 1e-6, "{} of {}", sum, f64::from(raw) - baseline);
            let mut names: Vec<&String> = told.parts.iter().map(|part| &part.feature).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), told.parts.len());
            prop_assert!(names.iter().all(|name| schema.names.contains(name)));
            prop_assert_eq!(explain(model.as_mut(), &row, raw).expect("as before"), told);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{}: {error}", model.borrow().card().name));
    }
}
