//! The scripts and notebooks of the garden against the real binary.

use super::house::{self, House};
use geophone_tests::{
    place,
    server::{binary, eventually},
};
use serde_json::{Value, json};
use std::{path::Path, process::Command};

/// A Python that has what the garden needs; else the test is a skip with a message.
fn garden() -> Option<std::path::PathBuf> {
    let python = place::peer("python/bin/python")?;
    let has = |packages: &str| {
        Command::new(&python).args(["-c", &format!("import {packages}")]).output().is_ok_and(|output| output.status.success())
    };
    if has("numpy, onnx, onnxruntime, polars, sklearn, skl2onnx, xxhash") {
        return Some(python);
    }
    assert!(!place::peers_required(), "Python lacks what notebooks/requirements.txt names: run .ci/peers");
    eprintln!("skipped: Python lacks what notebooks/requirements.txt names (.ci/peers installs it)");
    None
}

/// Scenario: `notebooks/bring_your_own.py` against a server under traffic, from its feature rows to a promoted model.
/// Guarantees: every step works as the script shows it, and the model is active afterwards.
#[test]
fn the_script_brings_a_model_from_rows_to_promotion() {
    let Some(python) = garden() else { return };
    let mut house = House::new();
    let server = house.start();
    house.go_on(&server, 200);
    eventually("there are rows to train on", || {
        house.go_on(&server, 20);
        (server.count("SELECT COUNT(*) FROM features") > 300).then_some(())
    });
    let work = tempfile::tempdir().expect("a temporary folder");
    let mut script = Command::new(python);
    script.arg(place::repository().join("notebooks/bring_your_own.py")).arg("--geophone").arg(binary()).arg("--work").arg(work.path());
    script.args(["--endpoint", &format!("http://{}", server.http), "--kind", "mlp", "--windows", "3", "--patience", "60", "--promote"]);
    let mut running = script.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("python starts");
    eventually("the script ends", || {
        house.go_on(&server, 5);
        running.try_wait().expect("it was started").map(|_| ())
    });
    let output = running.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let items = server.get("/api/v1/models?state=active");
    assert_eq!(items["items"][0]["name"], json!("mine"), "{items}");
}

/// PNG images among a notebook's outputs.
fn figures(notebook: &Path) -> usize {
    let text = std::fs::read(notebook).unwrap_or_else(|error| panic!("{}: {error}", notebook.display()));
    let notebook: Value = serde_json::from_slice(&text).expect("a notebook is JSON");
    let cells = notebook["cells"].as_array().into_iter().flatten();
    let outputs = cells.filter_map(|cell| cell["outputs"].as_array()).flatten();
    outputs.filter(|output| output["data"]["image/png"].as_str().is_some_and(|image| image.len() > 1_000)).count()
}

/// Scenario: every notebook is executed from top to bottom, headless; the sample data are replayed to be explored.
/// Guarantees: no cell fails, and each holds its figures afterwards.
#[test]
fn notebooks_run_from_top_to_bottom() {
    let Some(python) = garden() else { return };
    let has_jupyter = Command::new(&python).args(["-m", "nbconvert", "--version"]).output().is_ok_and(|output| output.status.success());
    if !has_jupyter {
        assert!(!place::peers_required(), "nbconvert is absent: run .ci/peers");
        eprintln!("skipped: nbconvert is absent (.ci/peers installs it)");
        return;
    }
    let features = binary().with_file_name("examples").join("features_csv");
    if !features.is_file() {
        eprintln!("skipped: {} is not built (a plain `cargo test` builds it)", features.display());
        return;
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let (data, out) = (work.path().join("data"), work.path().join("out"));
    let mut replay = Command::new(binary());
    replay.arg("replay").arg(house::sample_data()).arg("--save").arg(&data);
    assert!(replay.output().expect("the binary starts").status.success());
    let mut run = Command::new("sh");
    run.arg(place::repository().join("notebooks/run.sh"))
        .arg(&out)
        .env("MPLBACKEND", "Agg")
        .env("GEOPHONE_DATA", &data)
        .env("PYTHON", python)
        .env("GEOPHONE_QUICK", "1")
        .env("GEOPHONE_BIN", binary())
        .env("GEOPHONE_FEATURES_CSV", features);
    let output = run.output().expect("a shell starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wanted = vec![("01_explore", 2), ("02_train_default", 1), ("03_bring_your_own_model", 1)];
    wanted.extend(place::datasets().map(|_| ("04_evaluate", 1)));
    for (name, least) in wanted {
        let found = figures(&out.join(name).with_extension("ipynb"));
        assert!(found >= least, "{name} holds {found} figures");
    }
}
