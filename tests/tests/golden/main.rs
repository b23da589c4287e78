//! The sample data (`tests/data`) against golden files (`tests/golden`): columns, features, scores,
//! incidents, and what was found of what was injected. `cargo xtask golden --bless` writes them anew.

mod difference;
mod digest;
mod fold;
mod recording;
mod sample;

use difference::{check, compare, golden, is_blessing};
use fold::{FOLDED, folder};
use geophone_client::shop::export_sample;
use geophone_proto::{UnixNanos, incident::Incident, time::SECOND_NS};
use geophone_tests::server;
use serde_json::{Value, json};
use std::{fs, process::Command};

/// Two model runtimes agree to 1e-5 a score; features are sums of f32.
const TOLERANCE: f64 = 1e-4;
/// Numbers of incidents are read off scores; their words and times are compared exactly.
const INCIDENT_TOLERANCE: f64 = 1e-6;
/// An incident may open this long after its fault has ended.
const GRACE_NS: u64 = 120 * SECOND_NS;

fn schedule() -> Value {
    let text = fs::read_to_string(folder().join("schedule.json")).expect("`cargo xtask demo-data` writes it");
    serde_json::from_str(&text).expect("the schedule is JSON")
}

fn time(value: &Value) -> UnixNanos {
    value.as_str().and_then(UnixNanos::from_rfc3339).unwrap_or_else(|| panic!("{value} is no time"))
}

/// Scenario: the sample data are made again from the seed in their schedule.
/// Guarantees: the committed files are what `cargo xtask demo-data` writes, byte for byte.
#[test]
fn the_sample_data_follow_from_their_seed() {
    let again = tempfile::tempdir().expect("a temporary folder");
    let schedule = schedule();
    export_sample(again.path(), schedule["seed"].as_u64().expect("a seed"), time(&schedule["start"])).expect("the folder is writable");
    for name in ["traces.binpb.zst", "metrics.binpb.zst", "logs.binpb.zst", "schedule.json"] {
        let (old, new) = (fs::read(folder().join(name)), fs::read(again.path().join(name)));
        assert!(old.expect("committed") == new.expect("written"), "tests/data/{name} is another: `cargo xtask demo-data`");
    }
}

/// Scenario: every request of the sample data is walked.
/// Guarantees: every column holds the same values as when it was blessed.
#[test]
fn columns_are_as_blessed() {
    check("columns.json", &FOLDED.digest.to_json(), 0.0);
}

/// Scenario: a series of each kind at five moments.
/// Guarantees: its features are those that were blessed, to a ten-thousandth.
#[test]
fn features_are_as_blessed() {
    let chosen = if is_blessing() { sample::choose(&FOLDED) } else { sample::chosen(&golden("features.json")) };
    check("features.json", &sample::features(&FOLDED, &chosen), TOLERANCE);
}

/// Scenario: the same series and moments; and sums over all.
/// Guarantees: raw and calibrated scores and bands are those that were blessed.
#[test]
fn scores_are_as_blessed() {
    let chosen = if is_blessing() { sample::choose(&FOLDED) } else { sample::chosen(&golden("scores.json")["rows"]) };
    let now = json!({ "totals": sample::totals(&FOLDED), "rows": sample::scores(&FOLDED, &chosen) });
    check("scores.json", &now, TOLERANCE);
}

/// Scenario: the whole of the sample data.
/// Guarantees: the incidents are those that were blessed, ids, words and times exactly.
#[test]
fn incidents_are_as_blessed() {
    check("incidents.json", &json!(FOLDED.incidents), INCIDENT_TOLERANCE);
}

/// Scenario: `geophone replay` reads the same files.
/// Guarantees: it prints the incidents that the brain gives when it is fed directly.
#[test]
fn replay_prints_the_same_incidents() {
    let names = ["traces.binpb.zst", "metrics.binpb.zst", "logs.binpb.zst"].map(|name| folder().join(name));
    let mut replay = Command::new(server::binary());
    // No library there: the embedded runtime, as in this process.
    replay.args(["replay", "--output", "json"]).args(names).env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    let output = replay.output().expect("the binary can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("replay prints JSON");
    let mut found = Vec::new();
    compare("", &json!(FOLDED.incidents), &printed, INCIDENT_TOLERANCE, &mut found);
    assert!(found.is_empty(), "replay (now) is not the fold in this process (golden):\n{}", found.join("\n"));
}

/// Faults with an incident in time whose first suspect is right, and incidents that are no fault's.
fn judged(incidents: &[Incident]) -> Value {
    let schedule = schedule();
    let faults = schedule["faults"].as_array().expect("a schedule has faults");
    let mut loose: Vec<&Incident> = incidents.iter().collect();
    let mut found = 0;
    for fault in faults {
        let (from, to) = (time(&fault["from"]), time(&fault["to"]).plus(GRACE_NS));
        let right = |name: &str| fault["right_suspects"].as_array().is_some_and(|names| names.iter().any(|right| right == name));
        let fits = |incident: &&Incident| {
            let first = incident.suspects.first().map(|suspect| suspect.service.as_str());
            incident.opened_at >= from && incident.opened_at <= to && first.is_some_and(right)
        };
        if let Some(at) = loose.iter().position(fits) {
            loose.remove(at);
            found += 1;
        }
    }
    json!({ "faults": faults.len(), "found_with_right_first_suspect": found, "false_incidents": loose.len() })
}

/// Scenario: the faults of the schedule, which the brain is never told.
/// Guarantees: no fewer are found, with the right first suspect, and no more incidents are false, than
/// when the baseline was blessed.
#[test]
fn quality_is_no_worse_than_blessed() {
    let now = judged(&FOLDED.incidents);
    if is_blessing() {
        return check("quality.json", &now, 0.0);
    }
    let baseline = golden("quality.json");
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{value} lacks {name}"));
    let found = "found_with_right_first_suspect";
    assert!(number(&now, found) >= number(&baseline, found), "fewer faults are found: {now}, baseline {baseline}");
    assert!(number(&now, "false_incidents") <= number(&baseline, "false_incidents"), "more is false: {now}, baseline {baseline}");
}
