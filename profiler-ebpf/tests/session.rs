//! A recorded session, answered without privileges: what was asked of the kernel once gives the same answers for ever.
//! `recorded/` is made anew by `GEOPHONE_SESSION` (see `live/injections.rs`), the golden file by `GEOPHONE_BLESS=1`.

use geophone_profiler_ebpf::{ReplaySource, output};
use geophone_proto::{
    seam::StackSource,
    stacks::{StackRequest, WantedSpan},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::PathBuf};

#[derive(Deserialize)]
struct Logged {
    injection: u64,
    is_slow: bool,
    span: WantedSpan,
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
}

/// One question an injection.
fn requests() -> BTreeMap<u64, StackRequest> {
    let mut requests: BTreeMap<u64, StackRequest> = BTreeMap::new();
    for line in fs::read_to_string(file("spans.jsonl")).expect("the session lies beside the test").lines() {
        let one: Logged = serde_json::from_str(line).expect("a span a line");
        let request = requests.entry(one.injection).or_insert_with(|| StackRequest {
            anomaly_id: format!("an-{}", one.injection),
            service: "watched".into(),
            instance: String::new(),
            flagged: Vec::new(),
            baseline: Vec::new(),
            places: Vec::new(),
        });
        if one.is_slow { request.flagged.push(one.span) } else { request.baseline.push(one.span) }
    }
    requests
}

// Scenario: four injections, one of each kind of fault, recorded from the real kernel.
// Guarantees: the answers are those of the golden file: links, sums, table of functions, folded stacks; the fault's own
// function leads each.
#[test]
fn the_recorded_session_is_answered_as_before() {
    let mut source = ReplaySource::open(&file("samples.jsonl")).expect("a session");
    let mut answers = Vec::new();
    for (number, request) in requests() {
        let answer = source.stacks(&request).expect("a recorded session always answers");
        let mut stacks = answer.stacks.expect("it has stacks");
        let hot = ["hot_burn", "hot_lock", "hot_sleep", "hot_disk"][usize::try_from(number % 4).expect("small")];
        let named = ["hot_burn", "hot_lock", "hot_sleep", "hot_disk", "ordinary_work", "between_spans"];
        let first = stacks.top.iter().find_map(|row| named.into_iter().find(|name| row.function.ends_with(name)));
        assert_eq!(first, Some(hot));
        assert!(stacks.culprit.as_ref().is_some_and(|culprit| culprit.function.ends_with(hot)), "{hot}: {:?}", stacks.culprit);
        stacks.top.truncate(8);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        answers.push(json!({"fault": hot, "stacks": stacks, "folded": lines(&answer.folded_text), "normal": lines(&answer.baseline_text)}));
    }
    let (path, answers) = (file("golden.json"), Value::from(answers));
    if std::env::var_os("GEOPHONE_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&answers).expect("plain values");
        fs::write(&path, text + "\n").expect("the repository is writable");
    }
    let golden: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a golden file")).expect("JSON");
    assert_eq!(answers, golden, "GEOPHONE_BLESS=1 writes it anew, where the change is meant");
}

// Scenario: the same session as OTLP profiles.
// Guarantees: every sample is linked to its span, every index leads somewhere, time is kept.
#[test]
fn the_recorded_session_as_otlp_profiles() {
    let source = ReplaySource::open(&file("samples.jsonl")).expect("a session");
    let request = output::otlp(source.samples(), 10_101_010);
    let tables = request.dictionary.expect("always there");
    let profiles = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles).flat_map(|scope| &scope.profiles);
    let mut total = 0;
    for sample in profiles.flat_map(|profile| &profile.samples) {
        let link = &tables.link_table[usize::try_from(sample.link_index).expect("an index")];
        assert!(link.span_id.iter().any(|byte| *byte != 0) && link.trace_id.len() == 16);
        assert_eq!(sample.values.len(), sample.timestamps_unix_nano.len());
        let stack = &tables.stack_table[usize::try_from(sample.stack_index).expect("an index")];
        for location in &stack.location_indices {
            let line = &tables.location_table[usize::try_from(*location).expect("an index")].lines[0];
            assert!(!tables.string_table[tables.function_table[line.function_index as usize].name_strindex as usize].is_empty());
        }
        total += sample.values.iter().sum::<i64>();
    }
    assert_eq!(total, source.samples().iter().map(|sample| i64::try_from(sample.weight_ns).expect("small")).sum::<i64>());
}
