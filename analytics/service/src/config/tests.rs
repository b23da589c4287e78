//! Edge values and properties of the configuration.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn no_env(_: &str) -> Option<String> {
    None
}

fn config(text: &str) -> Result<Config, Vec<Problem>> {
    Config::from_spec(&Spec::parse("test.yaml", text, &no_env))
}

fn paths(text: &str) -> Vec<String> {
    config(text).expect_err("should be refused").into_iter().map(|problem| problem.path).collect()
}

#[test]
fn nothing_written_gives_the_defaults() {
    for text in ["", "# only a comment\n", "receivers:\n  otlp:\n    protocols:\n      grpc:\n", "{}"] {
        let config = config(text).expect("defaults");
        assert_eq!(config.otlp_grpc.to_string(), "127.0.0.1:4317");
        assert_eq!(config.memory_limit, 512 << 20);
        assert_eq!(config.detection.delay, None);
    }
}

#[test]
fn a_request_size_that_memory_does_not_allow_is_said() {
    assert_eq!(config("").expect("defaults").shrunk_request_size(), None);
    let warning = config("memory_limit: 128MiB").expect("valid").shrunk_request_size().expect("64 MiB do not fit");
    assert!(warning.contains("is 64MiB, in force are 24MiB: a quarter of what `memory_limit` (128MiB) leaves"), "{warning}");
}

#[test]
fn the_outline_of_the_manual_is_valid() {
    let text = r#"
data_dir: ./geophone-data
receivers:
  otlp:
    protocols:
      grpc: {endpoint: 127.0.0.1:4317}
      http: {endpoint: 127.0.0.1:4318}
api: {endpoint: 127.0.0.1:8080}
memory_limit: 512MiB
log: {durability: fsync}
retention: {age: 7d, size: 10GiB}
detection: {window: 10s, delay: auto, allowed_lateness: 60s, alerts_per_week: 5}
alerts:
  alertmanager: [{url: "http://127.0.0.1:9093"}]
  webhook: [{url: "http://127.0.0.1:9000/hook"}]
actions:
  mode: dry_run
  policies:
    - name: restart-payment
      when: {suspect: payment, min_confidence: 0.8, severity: [critical]}
      do: {exec: {command: [/usr/bin/systemctl, restart, payment], timeout: 10s}}
      undo: {exec: {command: [/bin/true]}}
      verify_within: 2m
      cooldown: 10m
      max_per_hour: 3
models: {active: default}
profiler: {enabled: auto}
"#;
    let config = config(text).expect("the manual's example");
    assert_eq!(config.policies[0].verify_within, Duration::from_secs(120));
    assert_eq!(config.alerts.webhook[0].url, "http://127.0.0.1:9000/hook");
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "memory_limit: lots\ndetection: {window: 2h, alert_per_week: 5}\nlog: {durability: maybe}\napi: 7\nretention: {age: -1d}\n\
                alerts: {webhook: [{url: nowhere}, {uri: x}]}\nactions: {policies: [{name: a, do: {exec: {command: [ls]}}}, {name: a}]}\n";
    let mut found = paths(text);
    found.sort();
    let expected = [
        "actions.policies[0]",
        "actions.policies[1]",
        "alerts.webhook[0].url",
        "alerts.webhook[1]",
        "api",
        "detection.alert_per_week",
        "detection.window",
        "log.durability",
        "memory_limit",
        "retention.age",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_misspelt_key_is_answered_with_the_right_one() {
    let problems = config("detection: {alert_per_week: 5}").expect_err("misspelt");
    assert!(problems[0].message.contains("`alerts_per_week`"), "{problems:?}");
}

#[test]
fn other_machines_need_a_clear_word() {
    assert_eq!(paths("api: {endpoint: 0.0.0.0:8080}"), ["api.endpoint"]);
    let open = config("api: {endpoint: 0.0.0.0:8080}\nallow_unauthenticated_bind: true").expect("allowed");
    assert_eq!(open.api.endpoint.to_string(), "0.0.0.0:8080");
}

#[test]
fn each_door_needs_its_own_port() {
    assert_eq!(paths("api: {endpoint: 127.0.0.1:4318}"), ["api.endpoint"]);
    config("api: {endpoint: 127.0.0.1:0}\nreceivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:0}}}}").expect("any free ports");
}

#[test]
fn the_environment_fills_in() {
    let env = |name: &str| match name {
        "RATE" => Some("2.5".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let spec = Spec::parse("t", "detection: {alerts_per_week: \"${env:RATE}\"}\ndata_dir: ${env:EMPTY:-./x}/$$y", &env);
    let config = Config::from_spec(&spec).expect("valid");
    assert_eq!(config.detection.alerts_per_week, 2.5);
    assert_eq!(config.data_dir.to_str(), Some("./x/$y"));
    let missing = Spec::parse("t", "data_dir: ${env:NOPE}", &env);
    assert!(Config::from_spec(&missing).expect_err("not set")[0].message.contains("`NOPE`"));
}

#[test]
fn bad_references_are_refused() {
    for text in ["${", "${env:}", "${file:x}", "${env:A B}"] {
        assert!(expand(text, &|_| Some("x".into())).is_err(), "{text}");
    }
    assert_eq!(expand("a$b $$ ${env:X:-}", &no_env).as_deref(), Ok("a$b $ "));
}

#[test]
fn no_yaml_is_one_problem_with_the_files_name() {
    assert_eq!(paths("a: [")[..1], ["test.yaml"]);
    assert_eq!(paths("- a\n- b"), ["the file"]);
    assert_eq!(paths("data_dir: a\ndata_dir: b"), ["test.yaml"]);
}

#[test]
fn sizes_of_every_habit() {
    let read: Vec<Option<u64>> =
        ["4 MiB", "512MiB", "0", "1.5kB", "10gib", "", "MiB", "-1", "1 XB", "1e400", "nan"].map(parse_size).to_vec();
    let expected = [Some(4 << 20), Some(512 << 20), Some(0), Some(1500), Some(10 << 30), None, None, None, None, None, None];
    assert_eq!(read, expected);
}

#[test]
fn a_plan_knows_what_needs_a_restart() {
    let old = config("").expect("defaults");
    let new = config("actions: {mode: ask}\ndata_dir: /elsewhere\n").expect("valid");
    let plan = Plan::between(Some(&old), &new);
    assert_eq!(plan.needs_restart(), ["data_dir"]);
    assert!(plan.has_live());
    assert_eq!(plan.flipped(), Plan::between(Some(&new), &old));
    assert!(Plan::between(Some(&old), &old).changes.is_empty());
    assert_eq!(Plan::between(None, &old).changes.len(), FIELDS.len());
}

#[test]
fn header_values_are_not_shown() {
    let config = config("alerts: {webhook: [{url: \"http://a/\", headers: {authorization: secret}}]}").expect("valid");
    assert!(!serde_json::to_string(&config.effective).expect("plain values").contains("secret"));
    assert_eq!(config.alerts.webhook[0].headers["authorization"], "secret");
}

/// The generated documents equal the committed ones; `GEOPHONE_BLESS=1` writes them.
#[test]
fn the_reference_page_and_the_schema_are_current() {
    let schema = serde_json::to_string_pretty(&schema()).expect("plain values") + "\n";
    for (name, made) in [("configuration.md", markdown()), ("config.schema.json", schema)] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        if std::env::var_os("GEOPHONE_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().expect("docs")).expect("docs can be made");
            std::fs::write(&path, &made).expect("docs can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "docs/{name} is stale: run `GEOPHONE_BLESS=1 cargo test -p geophone-service config`");
    }
}

proptest! {
    #[test]
    fn a_shown_size_reads_back(bytes in 0u64..1 << 50) {
        prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
    }

    #[test]
    fn expand_undoes_escaping(text in ".*") {
        prop_assert_eq!(expand(&text.replace('$', "$$"), &no_env), Ok(text));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = config(&text);
    }
}
