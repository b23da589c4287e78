//! Targets in other places and of other makes: a namespace of their own, a library that Python loads, a recorder that
//! was started anew.

use crate::{Logged, Target, Watching, first_of, is_within, lock, may_record, must_run, request, target};
use geophone_profiler_ebpf::{Sample, Subject, probe};
use geophone_proto::{UnixNanos, stacks::LinkClass};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn samples_of(watching: &Watching, subject: &Subject) -> Vec<Sample> {
    watching.archive.samples(subject, UnixNanos(0), UnixNanos(u64::MAX)).expect("it ran")
}

/// Tagged samples, and those of them whose tag is no span of the log or another time's.
fn judged(samples: &[Sample], logged: &[Logged]) -> (usize, Vec<Sample>) {
    let last = logged.iter().map(|one| one.span.end).max().expect("there are spans");
    let tagged: Vec<&Sample> = samples.iter().filter(|sample| sample.span_id.is_some() && sample.at < last).collect();
    let is_right = |sample: &&&Sample| {
        let one = logged.iter().find(|one| Some(one.span.span_id) == sample.span_id && Some(one.span.trace_id) == sample.trace_id);
        one.is_some_and(|one| is_within(sample, one))
    };
    let wrong = tagged.iter().filter(|sample| !is_right(sample)).map(|sample| (*sample).clone()).collect();
    (tagged.len(), wrong)
}

// Scenario: the target has process and mount namespaces of its own, and lies on a file system that only it sees.
// Guarantees: its service, its spans and its functions are known as if it were outside, and its number is that of its
// own namespace, which its spans bear.
#[test]
fn a_target_in_namespaces_of_its_own() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (own, place) = (std::env::current_exe().expect("we run"), folder.path().display());
    let script = format!(
        "mount -t tmpfs hidden {place} && cp {} {place}/hidden && exec {place}/hidden --exact target_process --nocapture --test-threads=1",
        own.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script]).env(target::KIND, "burn");
    let target = Target::of(command);
    let from = watching.until("the target in its namespaces", |facts| facts.name == "hidden" && facts.has_context);
    let logged = target.log_until(from, 60);
    assert!(!folder.path().join("hidden").exists(), "outside there is no such file");
    watching.stop();
    let samples = samples_of(&watching, &Subject::Service("watched".into()));
    let (tagged, wrong) = judged(&samples, &logged);
    assert!(tagged > 10 && wrong.is_empty(), "{tagged} tagged, wrong: {:?}", wrong.first());
    let (sample, process) = (&samples[0], samples[0].process.as_str());
    assert_eq!((sample.pid, process), (1, "hidden"));
    let answer = watching.archive.answer(&request(&logged), UnixNanos(u64::MAX));
    let stacks = answer.stacks.expect("there are stacks");
    assert_eq!((stacks.link, first_of(&stacks).map(|first| first.0)), (LinkClass::Span, Some("hot_burn".into())));
}

// Scenario: every other span of a target sleeps in one function, whose calls are watched for a while.
// Guarantees: each call is timed; the callers' stacks weigh what the calls took, though not each call has one.
#[test]
fn calls_of_one_function() {
    let _turn = lock();
    if !may_record() {
        return;
    }
    let target = Target::start("sleep", &[]);
    let own = std::env::current_exe().expect("we run");
    let length = std::time::Duration::from_millis(900);
    let seen = probe(&own, "live::target::hot_sleep", Some(target.child.id()), (length, &|| false)).expect("it can be watched");
    let logged = target.log(20);
    let calls = seen.calls.count();
    assert!(calls > 10 && logged.len() >= 20, "{calls} calls");
    let [shortest, longest] =
        [seen.calls.buckets().first(), seen.calls.buckets().last()].map(|bucket| bucket.map_or(0, |bucket| bucket.from_ns));
    assert!(shortest >= 8_388_608 && longest < 4_000_000_000, "{:?}", seen.calls.buckets());
    let weight: u64 = seen.samples.iter().map(|sample| sample.weight_ns).sum();
    assert!(weight * 10 >= seen.calls.total_ns() * 9 && weight <= seen.calls.total_ns(), "{weight} of {}", seen.calls.total_ns());
    assert!(seen.samples.iter().all(|sample| sample.stack.iter().any(|frame| frame.function.ends_with("target::span"))));
}

// Scenario: a recorder ends and another begins while the target goes on.
// Guarantees: the second knows the target's service, spans and functions at once.
#[test]
fn a_recorder_that_is_started_anew() {
    let _turn = lock();
    let Some(mut first) = Watching::start(99) else { return };
    let target = Target::start("burn", &[]);
    first.until_known(&target);
    first.stop();
    drop(first);
    let mut second = Watching::start(99).expect("the first one ran");
    let from = second.until_known(&target);
    let pid = target.child.id();
    let logged = target.log_until(from, 60);
    second.stop();
    let samples = samples_of(&second, &Subject::Process(pid));
    let (tagged, wrong) = judged(&samples, &logged);
    assert!(tagged > 10 && wrong.is_empty(), "{tagged} tagged, wrong: {:?}", wrong.first());
    assert!(samples.iter().any(|sample| sample.stack.iter().any(|frame| frame.function.ends_with("hot_burn"))));
}

/// The thread context as a shared library has it: dynamic, found by a descriptor.
const LIBRARY: &str = r#"
#include <stdint.h>
#include <string.h>
struct record { uint8_t trace[16], span[8], valid, flags; uint16_t size; };
__thread struct record *otel_thread_ctx_v1;
static __thread struct record mine;
void enter(const uint8_t *trace, const uint8_t *span) {
    memcpy(mine.trace, trace, 16); memcpy(mine.span, span, 8); mine.valid = 1;
    __asm__ volatile("" ::: "memory");
    *(struct record *volatile *)&otel_thread_ctx_v1 = &mine;
}
void leave(void) { *(struct record *volatile *)&otel_thread_ctx_v1 = 0; __asm__ volatile("" ::: "memory"); }
"#;

/// Spans in Python, logged like the other targets' own.
const SCRIPT: &str = "
import ctypes, sys, threading, time
library = ctypes.CDLL(sys.argv[1])
def hot_loop(length):
    end = time.monotonic() + length
    while time.monotonic() < end: sum(range(200))
def work():
    number = 0
    while True:
        number += 1
        trace, span = number.to_bytes(16, 'big'), number.to_bytes(8, 'big')
        start = time.time_ns()
        library.enter(trace, span)
        hot_loop(0.012)
        library.leave()
        print(trace.hex(), span.hex(), threading.get_native_id(), start, time.time_ns(), 'true', flush=True)
        hot_loop(0.003)
threading.Thread(target=work, daemon=True).start()
sys.stdin.readline()
";

fn compile(folder: &Path) -> Option<std::path::PathBuf> {
    let (source, library) = (folder.join("context.c"), folder.join("libcontext.so"));
    std::fs::write(&source, LIBRARY).expect("written");
    let built = Command::new("cc").args(["-O2", "-fPIC", "-shared", "-mtls-dialect=gnu2", "-o"]).arg(&library).arg(&source).status();
    built.is_ok_and(|status| status.success()).then_some(library)
}

// Scenario: CPython loads a shared library that publishes the thread's context, and works in spans.
// Guarantees: no sample bears a span that its thread did not run then; the service is known by its environment.
#[test]
fn python_with_a_library_that_it_loads() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(library) = compile(folder.path()).filter(|_| Command::new("python3").arg("-V").status().is_ok()) else {
        assert!(!must_run(), "GEOPHONE_REQUIRE_EBPF=1, but there is no C compiler or no python3");
        return eprintln!("skipped: no C compiler or no python3");
    };
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(library).env("OTEL_SERVICE_NAME", "watched");
    let target = Target::of(command);
    let pid = target.child.id();
    // The library is loaded when the process has been looked at already: it is looked at again after a while.
    let from = watching.until("the library's thread context", |facts| facts.pid == pid && facts.has_context);
    let logged = target.log_until(from, 90);
    watching.stop();
    let samples = samples_of(&watching, &Subject::Service("watched".into()));
    let (tagged, wrong) = judged(&samples, &logged);
    eprintln!("python: {tagged} tagged of {} samples, {} wrong", samples.len(), wrong.len());
    assert!(tagged > 10, "{tagged} tagged of {} samples", samples.len());
    assert!(wrong.is_empty(), "{:?}", wrong.first());
    let answer = watching.archive.answer(&request(&logged), UnixNanos(u64::MAX));
    assert_eq!(answer.stacks.map(|stacks| stacks.link), Some(LinkClass::Span));
}

/// The same with a library that people install, which publishes the context of its own spans.
const PUBLIC_SCRIPT: &str = "
import sys, threading, time
from ddtrace.trace import tracer
def hot_loop(length):
    end = time.monotonic() + length
    while time.monotonic() < end: sum(range(200))
def work():
    while True:
        start = time.time_ns()
        with tracer.trace('checkout') as span:
            hot_loop(0.012)
        trace, own = span.trace_id.to_bytes(16, 'big'), span.span_id.to_bytes(8, 'big')
        print(trace.hex(), own.hex(), threading.get_native_id(), start, time.time_ns(), 'true', flush=True)
        hot_loop(0.003)
threading.Thread(target=work, daemon=True).start()
sys.stdin.readline()
";

/// A Python that has the library: that of the peers, else anybody's.
fn python_with_library() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let peers = std::env::var_os("GEOPHONE_PEERS").map(PathBuf::from).or_else(|| Some(cache?.join("geophone/peers")));
    let candidates = peers.map(|peers| peers.join("python/bin/python")).into_iter().chain([PathBuf::from("python3")]);
    let has_it = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('ddtrace'))"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(has_it)
}

// Scenario: CPython works in spans of a public library that publishes thread and process context by itself.
// Guarantees: no sample bears a span that its thread did not run then; the service is the library's own word.
#[test]
fn python_with_a_public_library() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    let Some(python) = python_with_library() else {
        assert!(std::env::var_os("GEOPHONE_REQUIRE_PEERS").is_none(), "GEOPHONE_REQUIRE_PEERS is set, but no Python has ddtrace");
        return eprintln!("skipped: no Python with ddtrace");
    };
    let mut command = Command::new(python);
    command.args(["-c", PUBLIC_SCRIPT]).env("DD_SERVICE", "watched");
    // It has no agent to speak to here.
    for (name, value) in [
        ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false"),
        ("DD_REMOTE_CONFIGURATION_ENABLED", "false"),
        ("DD_TRACE_STARTUP_LOGS", "false"),
        ("DD_TRACE_WRITER_INTERVAL_SECONDS", "1000"),
    ] {
        command.env(name, value);
    }
    let target = Target::of(command);
    let from = watching.until_known(&target);
    let logged = target.log_until(from, 90);
    watching.stop();
    let samples = samples_of(&watching, &Subject::Service("watched".into()));
    let (tagged, wrong) = judged(&samples, &logged);
    eprintln!("python, public library: {tagged} tagged of {} samples, {} wrong", samples.len(), wrong.len());
    assert!(tagged > 10 && wrong.is_empty(), "{tagged} tagged of {} samples, wrong: {:?}", samples.len(), wrong.first());
}

/// A function that the engine compiles while it runs.
const SCRIPTED: &str = "
function hotLoop(length) { const end = Date.now() + length; let sum = 0; while (Date.now() < end) sum = (sum * 31 + 7) % 1000003; return sum; }
function again() { hotLoop(10); setImmediate(again); }
process.stdin.on('end', () => process.exit(0)).resume();
again();
";

// Scenario: Node.js compiles a function while it runs and writes what it has made into a perf map.
// Guarantees: the function is named in its stacks.
#[test]
fn code_made_at_run_time_has_names() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        return eprintln!("skipped: no node");
    }
    // It leaves files where it runs.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("node");
    command.args(["--perf-basic-prof", "--eval", SCRIPTED]).env("OTEL_SERVICE_NAME", "watched").current_dir(folder.path());
    let mut target = Target::of(command);
    let pid = target.child.id();
    let from = watching.until("the service", |facts| facts.pid == pid && facts.identity.service == "watched");
    let samples = watching.until_sampled(pid, from, 30);
    drop(target.input.take());
    target.child.wait().expect("it ends");
    watching.stop();
    let is_named = |sample: &&Sample| sample.stack.iter().any(|frame| frame.function.contains("hotLoop"));
    let named = samples.iter().filter(is_named).count();
    assert!(named * 2 > samples.len(), "{named} of {}: {:?}", samples.len(), samples.last());
}
