//! The recorder in the real service and a real process, the demo's till: as root, where the kernel allows it.

use geophone_tests::server::{Server, binary, eventually};
use serde_json::Value;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

struct Till(Child);

impl Till {
    fn start(otlp: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["demo-till", "--endpoint", otlp]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the binary can be started"))
    }
}

impl Drop for Till {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that records; none where that is impossible, which is a failure where it must be possible.
fn recording(folder: &Path, otlp: &str) -> Option<Server> {
    let server = Server::start(folder, &["--profiler", "auto", "--durability", "os", "--otlp-grpc-endpoint", otlp]);
    let state = server.get("/api/v1/profiler");
    if state["running"] == true {
        return Some(server);
    }
    let must = std::env::var("GEOPHONE_REQUIRE_EBPF").is_ok_and(|value| value == "1");
    assert!(!must, "GEOPHONE_REQUIRE_EBPF=1, but {state}");
    eprintln!("skipped: {}", state["note"]);
    None
}

/// Waits until the recorder has met the process: what ran before was nobody's.
fn is_known(server: &Server, pid: u32) {
    eventually("the recorder knows the till", || {
        let state = server.get("/api/v1/profiler");
        let mut all = state["processes"].as_array()?.iter();
        all.any(|one| one["pid"] == pid && one["service"] == "till").then_some(())
    });
}

/// The newest spans until one has a stack by its own tag.
fn stacks_of_a_span(server: &Server, since: u64) -> Value {
    let sql = format!("SELECT span_id FROM spans WHERE service = 'till' AND start_ns > {since} ORDER BY start_ns DESC LIMIT 8");
    eventually("a span of the till has stacks", || {
        let spans = server.query(&sql);
        let answers = spans.iter().map(|row| server.get(&format!("/api/v1/spans/{}/stacks", row[0].as_str().unwrap_or_default())));
        answers.into_iter().find(|answer| answer["stacks"]["link"] == "span")
    })
}

fn newest(server: &Server) -> u64 {
    server.count("SELECT COALESCE(MAX(start_ns), 0) FROM spans WHERE service = 'till'")
}

/// What a command of the binary writes; it must succeed.
fn written(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().expect("the binary can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process is profiled by hand: by its number, by its service by way of the server, off the CPU; calls of one of its functions
/// are watched.
fn is_profiled_by_hand(server: &Server, pid: u32) {
    let (pid, by_server) = (pid.to_string(), format!("http://{}", server.http));
    // The till is idle for most of the time: at the usual 99 a second so short a look may meet it asleep.
    let folded = ["profile", "--seconds", "1", "--frequency", "499", "--output", "folded"];
    for whom in [&["--pid", &*pid][..], &["--service", "till", "--endpoint", &*by_server]] {
        let text = written(&[&folded[..], whom].concat());
        assert!(text.lines().any(|line| line.contains(";[on_cpu];") && line.contains("till::checkout")), "{whom:?}: {text}");
        assert!(!text.contains(";[blocked];"), "{whom:?}: {text}");
    }
    let text = written(&[&folded[..], &["--pid", &*pid, "--off-cpu"]].concat());
    assert!(text.contains(";[blocked];") && text.contains("park_timeout") && !text.contains(";[on_cpu];"), "{text}");
    let uprobe = format!("{}:till::checkout", binary().display());
    let seen = written(&["profile", "attach", "--uprobe", &uprobe, "--seconds", "0.6", "--output", "json"]);
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let counted: u64 = seen["histogram"].as_array().expect("buckets").iter().filter_map(|bucket| bucket["calls"].as_u64()).sum();
    assert!(seen["calls"].as_u64().is_some_and(|calls| calls > 3 && calls == counted), "{seen}");
}

/// Scenario: a real process with thread context sends its spans; it is profiled by hand; the service that records it is
/// killed and started anew.
/// Guarantees: before and after, spans have stacks on request, linked by span, with functions of that process; the recorder
/// knows it by its service; its functions are in every profile by hand, under what it was doing; the histogram counts its calls.
#[test]
fn a_real_process_is_recorded_across_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(server) = recording(folder.path(), "127.0.0.1:0") else { return };
    let otlp = server.grpc.clone();
    let till = Till::start(&otlp);
    let names_functions = |answer: &Value| {
        let rows = answer["stacks"]["top"].as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| row["function"].as_str().is_some_and(|name| name.ends_with("till::checkout")))
    };
    is_known(&server, till.0.id());
    let first = stacks_of_a_span(&server, newest(&server));
    assert!(names_functions(&first), "{first}");
    let processes = server.get("/api/v1/profiler")["processes"].clone();
    let is_ours = |process: &&Value| process["service"] == "till" && process["pid"] == till.0.id() && process["thread_context"] == true;
    assert!(processes.as_array().is_some_and(|all| all.iter().any(|one| is_ours(&one))), "{processes}");
    assert!(server.text("/api/v1/profile?service=till").contains("till::checkout"));
    is_profiled_by_hand(&server, till.0.id());
    server.kill();
    let server = recording(folder.path(), &otlp).expect("it ran before");
    is_known(&server, till.0.id());
    let before = newest(&server);
    let second = stacks_of_a_span(&server, before);
    assert!(names_functions(&second), "{second}");
    assert_eq!(server.stop(), Some(0));
}
