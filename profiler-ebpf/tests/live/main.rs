//! The recorder against a real process and the real kernel. Needs root; without it the tests say so and
//! pass, unless `GEOPHONE_REQUIRE_EBPF=1` says that it must work here.

#![allow(clippy::disallowed_methods, reason = "the process that is watched sleeps on purpose and logs wall-clock times")]

mod agent;
mod injections;
mod places;
mod target;

use geophone_profiler_ebpf::{Archive, Facts, ProfilerError, Recorder, Recording, Sample, Subject, requirements};
use geophone_proto::{
    SpanId, TraceId, UnixNanos,
    stacks::{LinkClass, SpanPlace, StackRequest, ThreadState, WantedSpan},
};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Tests here measure time on the CPU: one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// The target of the tests, or a recorder of its own, when it is one.
#[test]
fn target_process() {
    match std::env::var(target::KIND).as_deref() {
        Ok(agent::KIND) => agent::run(),
        Ok(kind) => target::run(kind),
        Err(_) => {}
    }
}

/// Whether a recorder must run here: then a test fails where it does not, and must not skip.
fn must_run() -> bool {
    std::env::var("GEOPHONE_REQUIRE_EBPF").is_ok_and(|value| value == "1")
}

/// Whether this machine lets us record; says so where not.
fn may_record() -> bool {
    let missing = requirements(Path::new("/")).into_iter().filter(|one| one.is_needed).find_map(|one| one.found.err());
    if let Some(missing) = &missing {
        assert!(!must_run(), "GEOPHONE_REQUIRE_EBPF=1, but {missing}");
        eprintln!("skipped: {missing}");
    }
    missing.is_none()
}

struct Watching {
    archive: Arc<Archive>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    /// Starts a recorder, or says why there is none.
    fn start(frequency_hz: u64) -> Option<Self> {
        let started = Recorder::start(Recording { frequency_hz, ..Recording::default() });
        let (recorder, archive) = match started {
            Ok(started) => started,
            Err(error) => {
                assert!(!must_run(), "GEOPHONE_REQUIRE_EBPF=1, but {error}");
                assert!(!matches!(error, ProfilerError::NotFound(_)), "{error}");
                eprintln!("skipped: {error}");
                return None;
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let sign = stop.clone();
        let thread = Some(std::thread::spawn(move || recorder.run(&sign)));
        Some(Self { archive, stop, thread })
    }

    /// Until a living process is known as wanted; the time from which on it is. Mappings and contexts come after a program
    /// has begun, and are looked for again and again.
    fn until(&self, what: &str, is_known: impl Fn(&Facts) -> bool) -> UnixNanos {
        let begun = Instant::now();
        while !self.archive.processes().iter().any(&is_known) {
            assert!(begun.elapsed() < Duration::from_secs(60), "never known: {what}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        now()
    }

    /// Until there are so many samples on the CPU of a process since a time: these.
    fn until_sampled(&self, pid: u32, from: UnixNanos, wanted: usize) -> Vec<Sample> {
        let begun = Instant::now();
        loop {
            let mut samples = self.archive.samples(&Subject::Process(pid), from, UnixNanos(u64::MAX)).expect("it runs");
            samples.retain(|sample| sample.state == ThreadState::OnCpu && sample.at >= from);
            if samples.len() >= wanted {
                return samples;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "only {} samples of {pid}", samples.len());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Until this target's spans are known.
    fn until_known(&self, target: &Target) -> UnixNanos {
        let pid = target.child.id();
        self.until("the target's thread context", |facts| facts.pid == pid && facts.has_context && facts.identity.service == "watched")
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the recorder does not panic");
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// A line of the target's log.
#[derive(Clone, Debug)]
struct Logged {
    span: WantedSpan,
    tid: u32,
    is_slow: bool,
}

struct Target {
    child: Child,
    input: Option<ChildStdin>,
}

impl Target {
    fn start(kind: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("we run"));
        command.args(["--exact", "target_process", "--nocapture", "--test-threads=1"]).env(target::KIND, kind);
        command.envs(environment.iter().copied());
        Self::of(command)
    }

    /// Another program that logs its spans likewise.
    fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started");
        let input = child.stdin.take();
        Self { child, input }
    }

    /// Ends it after this many spans and gives its log.
    fn log(self, spans: usize) -> Vec<Logged> {
        self.log_until(UnixNanos(0), spans)
    }

    /// Ends it when this many spans have begun after a time, and gives its log.
    fn log_until(mut self, from: UnixNanos, spans: usize) -> Vec<Logged> {
        let mut output = BufReader::new(self.child.stdout.take().expect("piped"));
        let mut logged = Vec::new();
        let (mut line, mut counted) = (String::new(), 0);
        while counted < spans {
            line.clear();
            assert!(output.read_line(&mut line).expect("text") > 0, "the target has ended early");
            let one = parse(&line);
            counted += usize::from(one.as_ref().is_some_and(|one| one.span.start > from));
            logged.extend(one);
        }
        drop(self.input.take());
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("text");
        logged.extend(rest.lines().filter_map(parse));
        self.child.wait().expect("it ends");
        logged
    }
}

fn parse(line: &str) -> Option<Logged> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [trace, span, tid, start, end, is_slow] = parts[..] else { return None };
    let time = |text: &str| text.parse().ok().map(UnixNanos);
    let span = WantedSpan { trace_id: TraceId::from_hex(trace)?, span_id: SpanId::from_hex(span)?, start: time(start)?, end: time(end)? };
    Some(Logged { span, tid: tid.parse().ok()?, is_slow: is_slow == "true" })
}

fn request(logged: &[Logged]) -> StackRequest {
    let of = |slow: bool| logged.iter().filter(|one| one.is_slow == slow).map(|one| one.span.clone()).collect();
    StackRequest {
        anomaly_id: "an-1".into(),
        service: "watched".into(),
        instance: String::new(),
        flagged: of(true),
        baseline: of(false),
        places: Vec::new(),
    }
}

/// Whether a sample lies where its span was; the clocks of both sides are read one after the other.
fn is_within(sample: &Sample, one: &Logged) -> bool {
    one.span.start.minus(100_000) <= sample.at && sample.at <= one.span.end.plus(100_000)
}

fn now() -> UnixNanos {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    UnixNanos(u64::try_from(now.as_nanos()).expect("small"))
}

fn lock() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

// Scenario: three threads on few cores work in spans and between them; everything is sampled fast.
// Guarantees: a tagged sample bears the span that its thread ran at that time, without one exception; a
// sample well within a span is tagged.
#[test]
fn tags_are_the_targets_own() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(997) else { return };
    let target = Target::start("mixed", &[]);
    let pid = target.child.id();
    let from = watching.until_known(&target);
    let logged = target.log_until(from, 200);
    watching.stop();
    let samples = watching.archive.samples(&Subject::Process(pid), UnixNanos(0), UnixNanos(u64::MAX)).expect("it ran");
    let (mut right, mut wrong, mut missing) = (0, Vec::new(), 0);
    let known_from = samples.iter().filter(|sample| sample.span_id.is_some()).map(|sample| sample.at).min().expect("some are tagged");
    for sample in samples.iter().filter(|sample| sample.at >= known_from) {
        let Some(span_id) = sample.span_id else {
            let deep = |one: &&Logged| {
                one.tid == sample.tid && one.span.start.plus(200_000) < sample.at && sample.at < one.span.end.minus(200_000)
            };
            missing += usize::from(sample.state == ThreadState::OnCpu && logged.iter().any(|one| deep(&one)));
            continue;
        };
        // The end of the log may lack the span that was running.
        let Some(one) = logged.iter().find(|one| one.span.span_id == span_id) else { continue };
        if one.tid == sample.tid && one.span.trace_id == sample.trace_id.expect("both or none") && is_within(sample, one) {
            right += 1;
        } else {
            wrong.push((sample.clone(), one.clone()));
        }
    }
    eprintln!("{right} samples with the right span, {} with a wrong one, {missing} untagged within a span", wrong.len());
    assert!(right > 200, "{right}");
    assert!(wrong.is_empty(), "{:?}", &wrong[..wrong.len().min(3)]);
    assert!(missing * 200 <= right, "{missing} of {right} samples within a span lack its tag");
}

// Scenario: the same at the ordinary rate.
// Guarantees: nearly every span of 10 ms and more has a stack, although the clock alone sees one in four.
#[test]
fn long_spans_have_stacks() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    let target = Target::start("mixed", &[]);
    let from = watching.until_known(&target);
    let logged = target.log_until(from, 240);
    watching.stop();
    let long: Vec<Logged> =
        logged.into_iter().filter(|one| one.span.start > from && one.span.end.since(one.span.start) >= 10_000_000).collect();
    let all = StackRequest { flagged: long.iter().map(|one| one.span.clone()).collect(), baseline: Vec::new(), ..request(&[]) };
    let stacks = watching.archive.answer(&all, UnixNanos(u64::MAX)).stacks.expect("they have stacks");
    eprintln!("{} of {} spans of 10 ms and more have a stack", stacks.spans, stacks.spans_flagged);
    assert_eq!(stacks.link, LinkClass::Span);
    assert!(stacks.spans * 100 >= stacks.spans_flagged * 99, "{} of {}", stacks.spans, stacks.spans_flagged);
}

/// Time of this thread on the CPU.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number"))
}

/// Runs a kind of fault and gives the answer for its slow spans.
fn fault(kind: &str) -> Option<(geophone_proto::stacks::Stacks, String)> {
    let mut watching = Watching::start(99)?;
    let target = Target::start(kind, &[]);
    let from = watching.until_known(&target);
    let mut logged = target.log_until(from, 70);
    watching.stop();
    logged.retain(|one| one.span.start > from);
    let (asked, busy) = (Instant::now(), cpu_time());
    let answer = watching.archive.answer(&request(&logged), UnixNanos(u64::MAX));
    let took = cpu_time() - busy;
    eprintln!("{kind}: answered after {:?}, {took:?} of them on the CPU", asked.elapsed());
    // The promise is two seconds; what others do on this machine is not ours.
    assert!(took < Duration::from_secs(2), "{took:?} on the CPU");
    Some((answer.stacks.expect("there are stacks"), answer.folded_text))
}

/// The first of the target's own functions in the table, if there is any.
fn first_of(stacks: &geophone_proto::stacks::Stacks) -> Option<(String, ThreadState)> {
    let ours = ["hot_burn", "hot_sleep", "hot_lock", "hot_disk", "ordinary_work", "between_spans"];
    stacks.top.iter().find_map(|row| {
        let name = ours.iter().find(|name| row.function.ends_with(**name))?;
        Some(((*name).to_owned(), row.state))
    })
}

fn first_of_ours(stacks: &geophone_proto::stacks::Stacks) -> (String, ThreadState) {
    first_of(stacks).unwrap_or_else(|| panic!("none of the target's functions among {:#?}", &stacks.top[..stacks.top.len().min(12)]))
}

// Scenario: every second span burns, sleeps, or waits for a lock, in a function of its own.
// Guarantees: that function is what the slow spans have more of, in the right state, linked by span.
#[test]
fn the_hot_function_is_first() {
    let _turn = lock();
    for (kind, function, state) in
        [("burn", "hot_burn", ThreadState::OnCpu), ("sleep", "hot_sleep", ThreadState::Blocked), ("lock", "hot_lock", ThreadState::Blocked)]
    {
        let Some((stacks, folded)) = fault(kind) else { return };
        assert_eq!(stacks.link, LinkClass::Span, "{kind}");
        let culprit = stacks.culprit.as_ref().unwrap_or_else(|| panic!("{kind}: no culprit\n{folded}"));
        assert!(culprit.function.ends_with(function), "{kind}: {culprit:?}\n{folded}");
        let (found, doing) = first_of_ours(&stacks);
        // On a machine that others keep busy, who wants to run mostly waits.
        let is_right = doing == state || state == ThreadState::OnCpu && doing == ThreadState::Waiting;
        assert!(found == function && is_right, "{kind}: {:#?}\n{folded}", &stacks.top[..stacks.top.len().min(12)]);
        assert!(stacks.top[0].file.ends_with(".rs") || !stacks.top[0].function.is_empty());
        assert!(
            folded.lines().all(|line| line.contains(";[on_cpu]") || line.contains(";[blocked]") || line.contains(";[waiting]")),
            "{folded}"
        );
    }
}

/// Samples a second, and how much of that time they stand for.
fn rate(samples: &[Sample]) -> (f64, f64) {
    let (first, last) = (samples.iter().map(|sample| sample.at).min(), samples.iter().map(|sample| sample.at).max());
    let seconds = first.zip(last).map_or(0.0, |(first, last)| last.since(first) as f64 / 1e9);
    let weight: u64 = samples.iter().map(|sample| sample.weight_ns).sum();
    ((samples.len() - 1) as f64 / seconds, weight as f64 / 1e9 / seconds)
}

// Scenario: spans that have just ended are flagged.
// Guarantees: their process is sampled many times as often for a while, and each sample stands for less time.
#[test]
fn a_flagged_process_is_looked_at_closer() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(19) else { return };
    let target = Target::start("burn", &[]);
    let (pid, from) = (target.child.id(), watching.until_known(&target));
    let calm = rate(&watching.until_sampled(pid, from, 10));
    let span = WantedSpan { trace_id: TraceId([1; 16]), span_id: SpanId([1; 8]), start: from, end: now() };
    watching.archive.answer(&StackRequest { flagged: vec![span], ..request(&[]) }, now());
    let from = now();
    let close = rate(&watching.until_sampled(pid, from, 200)[20..]);
    watching.stop();
    target.log(1);
    eprintln!("samples a second and their share of the time: {calm:?}, then {close:?}");
    assert!(close.0 > 5.0 * calm.0, "{calm:?}, then {close:?}");
    assert!(close.1 < 1.2, "more time than there was: {close:?}");
}

// Scenario: a process that publishes nothing, known by its environment only.
// Guarantees: the link says how little is known, and rises with what the spans' attributes say.
#[test]
fn without_thread_context_the_link_says_so() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    let target = Target::start("burn", &[(target::SILENT, "1"), ("OTEL_SERVICE_NAME", "watched")]);
    let pid = target.child.id();
    let from = watching.until("the service of a silent target", |facts| facts.pid == pid && facts.identity.service == "watched");
    let logged = target.log_until(from, 40);
    watching.stop();
    let link = |places: Vec<SpanPlace>| {
        let answer = watching.archive.answer(&StackRequest { places, ..request(&logged) }, UnixNanos(u64::MAX));
        answer.stacks.map(|stacks| stacks.link)
    };
    let places = |tid: bool| {
        let place =
            |one: &Logged| SpanPlace { span_id: one.span.span_id, pid, tid: if tid { one.tid } else { 0 }, instance: String::new() };
        logged.iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(link(Vec::new()), Some(LinkClass::Service));
    assert_eq!(link(places(false)), Some(LinkClass::Process));
    assert_eq!(link(places(true)), Some(LinkClass::Thread));
}

// Scenario: a thousand processes that live for a moment, then a target that is started anew.
// Guarantees: nothing is held for the dead but what the ring speaks of, and the new target is tagged.
#[test]
fn restarts_and_short_lives() {
    let _turn = lock();
    let Some(mut watching) = Watching::start(99) else { return };
    for _ in 0..1_000 {
        Command::new("true").status().expect("there is `true`");
    }
    let mut tagged = Vec::new();
    for _ in 0..2 {
        let target = Target::start("burn", &[]);
        let pid = target.child.id();
        let from = watching.until_known(&target);
        target.log_until(from, 20);
        let samples = watching.archive.samples(&Subject::Process(pid), UnixNanos(0), UnixNanos(u64::MAX)).expect("it ran");
        let is_ours = |sample: &&Sample| sample.span_id.is_some() && sample.stack.iter().any(|frame| frame.function.ends_with("hot_burn"));
        tagged.push(samples.iter().filter(is_ours).count());
    }
    watching.stop();
    assert!(tagged.iter().all(|count| *count > 0), "{tagged:?}");
    assert!(watching.archive.processes().len() < 1_000);
}
