//! A recorder in a process of its own: with fewer privileges than the tests have, and with all of its memory counted.

use crate::{Target, lock, may_record, must_run, target};
use geophone_profiler_ebpf::{Recorder, Recording, Subject};
use geophone_proto::UnixNanos;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// As a target's kind: not a target at all.
pub const KIND: &str = "agent";
/// Pids that it is asked about, with commas between.
const PIDS: &str = "GEOPHONE_TEST_PIDS";
/// What needs no root: the first two to record, the third to look into other users' processes.
const ENOUGH: &str = "+bpf,+perfmon,+sys_ptrace";
/// Memory of a recorder at any time: it promises 100 MB, and reading the kernel's types whole took 102.
const BYTES_MAX: u64 = 80_000_000;

/// Records until every process is known and for a while after that, and tells what it has of each.
pub fn run() {
    let pids: Vec<u32> = std::env::var(PIDS).unwrap_or_default().split(',').filter_map(|pid| pid.parse().ok()).collect();
    let told = match Recorder::start(Recording::default()) {
        Err(error) => json!({"error": error.to_string()}),
        Ok((mut recorder, archive)) => {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1_700) {
                recorder.turn();
                std::thread::park_timeout(Duration::from_millis(25));
            }
            let known: Vec<Value> = pids
                .iter()
                .map(|pid| {
                    let facts = archive.processes().into_iter().find(|facts| facts.pid == *pid).unwrap_or_default();
                    let samples = archive.samples(&Subject::Process(*pid), UnixNanos(0), UnixNanos(u64::MAX)).unwrap_or_default();
                    let functions = || samples.iter().flat_map(|sample| &sample.stack);
                    json!({
                        "service": facts.identity.service,
                        "tagged": samples.iter().filter(|sample| sample.span_id.is_some()).count(),
                        "hot": functions().filter(|frame| frame.function.ends_with("hot_burn")).count(),
                    })
                })
                .collect();
            json!({"known": known, "peak_bytes": peak_bytes()})
        }
    };
    std::io::stdout().write_all(format!("\n{told}\n").as_bytes()).expect("the test reads");
    std::process::exit(0);
}

/// Most memory that this process ever had, pages of files and all.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(u64::MAX, |kib| kib * 1024)
}

/// The agent where anybody can start it, wherever it was built.
fn program(folder: &Path) -> PathBuf {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("ours");
    let program = folder.join("agent");
    fs::copy(std::env::current_exe().expect("we run"), &program).expect("there is room");
    program
}

/// What an agent tells that is nobody and has these capabilities only.
fn told_by_nobody(program: &Path, capabilities: &str, targets: &[&Target]) -> Value {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    if !capabilities.is_empty() {
        command.args(["--inh-caps", "--ambient-caps"].map(|set| format!("{set}={capabilities}")));
    }
    let pids: Vec<String> = targets.iter().map(|target| target.child.id().to_string()).collect();
    command.arg(program).args(["--exact", "target_process", "--nocapture", "--test-threads=1"]);
    let output = command.env(target::KIND, KIND).env(PIDS, pids.join(",")).output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("it told nothing: {text}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(line).expect("JSON")
}

// Scenario: a recorder that belongs to nobody, with three capabilities, records root's processes: one says who it is by
// its process context, one by its environment only; then recorders with fewer capabilities.
// Guarantees: services, spans and functions are known as to root; at no time the recorder has more than 100 MB, pages of
// files counted; with fewer capabilities, what is missing is named.
#[test]
fn three_capabilities_and_little_memory_suffice() {
    let _turn = lock();
    if !may_record() {
        return;
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        assert!(!must_run(), "GEOPHONE_REQUIRE_EBPF=1, but there is no setpriv");
        return eprintln!("skipped: no setpriv");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = program(folder.path());
    let open = Target::start("burn", &[]);
    let silent = Target::start("burn", &[(target::SILENT, "1"), ("OTEL_SERVICE_NAME", "quiet")]);
    let told = told_by_nobody(&program, ENOUGH, &[&open, &silent]);
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    let (first, second) = (&told["known"][0], &told["known"][1]);
    assert_eq!((&first["service"], &second["service"]), (&json!("watched"), &json!("quiet")), "{told}");
    assert!(number(first, "tagged") > 0 && number(second, "tagged") == 0, "{told}");
    assert!(number(first, "hot") > 0 && number(second, "hot") > 0, "{told}");
    let peak = told["peak_bytes"].as_u64().expect("a number");
    eprintln!("a recorder's memory: {} MB at most", peak / 1_000_000);
    assert!(peak < BYTES_MAX, "{peak} bytes");
    for (some, missing) in [("+bpf,+sys_ptrace", "CAP_PERFMON"), ("", "CAP_BPF and CAP_PERFMON and CAP_SYS_PTRACE")] {
        let told = told_by_nobody(&program, some, &[]);
        assert!(told["error"].as_str().is_some_and(|error| error.contains(missing) && error.contains("setcap")), "{told}");
    }
}
