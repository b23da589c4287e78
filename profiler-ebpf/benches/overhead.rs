//! What recording costs whoever is recorded: `sudo -E cargo bench -p geophone-profiler-ebpf`. The same work
//! with and without the recorder, in turns, so that what else the machine does falls on all alike.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark tells people; what is recorded sleeps now and then")]

use geophone_profiler_ebpf::{Recorder, Recording};
use geophone_thread_context::{Ids, attach, publish_process};
use std::{
    fs,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Set for the process that is recorded.
const TARGET: &str = "GEOPHONE_BENCH_TARGET";
const ROUNDS: usize = 20;
const ROUND: Duration = Duration::from_millis(1_000);

/// Time on the CPU of a thread of ours, as the scheduler counts it.
fn cpu_ns(thread: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn own_tid() -> String {
    fs::read_link("/proc/thread-self").ok().and_then(|link| Some(link.file_name()?.to_str()?.to_owned())).unwrap_or_default()
}

/// Spans of a few hundred microseconds of arithmetic, now and then a sleep; CPU time per span.
fn work() -> f64 {
    let (begun, tid, before) = (Instant::now(), own_tid(), cpu_ns(&own_tid()));
    let mut spans = 0u64;
    while begun.elapsed() < ROUND {
        let _attached = attach(Ids { trace_id: u128::from(spans + 1).to_be_bytes(), span_id: (spans + 1).to_be_bytes(), sampled: true });
        let mut state = spans;
        for _ in 0..200_000 {
            state = black_box(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        }
        spans += 1;
        if spans.is_multiple_of(64) {
            thread::sleep(Duration::from_millis(2));
        }
    }
    (cpu_ns(&tid) - before) as f64 / spans as f64
}

/// The process that is recorded: this program, started again. A recorder does not record itself.
struct Target {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Target {
    fn start() -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().ok()?);
        let mut child = command.env(TARGET, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (orders, answers) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Self { child, orders, answers })
    }

    /// One round of work; CPU time per span.
    fn work(&mut self) -> Option<f64> {
        writeln!(self.orders, "work").ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }

    /// What the process does that is recorded.
    fn be() {
        publish_process(&[("service.name", "bench")]).expect("Linux");
        for _order in std::io::stdin().lines() {
            println!("{}", work());
        }
    }
}

struct Run {
    per_span: f64,
    agent_share: f64,
    /// Lost, and all.
    events: [u64; 2],
}

fn recorded(target: &mut Target, recording: Option<Recording>) -> Option<Run> {
    let Some(recording) = recording else { return Some(Run { per_span: target.work()?, agent_share: 0.0, events: [0; 2] }) };
    let (recorder, archive) = Recorder::start(recording).map_err(|error| println!("skipped: {error}")).ok()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sign, begun) = (stop.clone(), Instant::now());
    let agent = thread::spawn(move || {
        recorder.run(&sign);
        cpu_ns(&own_tid())
    });
    // The target's mappings are read first.
    thread::park_timeout(Duration::from_millis(300));
    let per_span = target.work()?;
    let length = begun.elapsed();
    stop.store(true, Ordering::Release);
    let agent_ns = agent.join().ok()?;
    Some(Run { per_span, agent_share: agent_ns as f64 / length.as_nanos() as f64, events: archive.events() })
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut of: Vec<f64>) -> [f64; 3] {
    of.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| of[(of.len() - 1) * quarter / 4])
}

fn main() {
    if std::env::var_os(TARGET).is_some() {
        return Target::be();
    }
    let Some(mut target) = Target::start() else { return println!("skipped: this program cannot be started again") };
    let pid = target.child.id();
    let at = |frequency_hz, off_cpu| Some(Recording { frequency_hz, off_cpu, only: Some(vec![pid]), ..Recording::default() });
    let modes =
        [("off", None), ("99 Hz", at(99, false)), ("99 Hz and off the CPU", at(99, true)), ("997 Hz and off the CPU", at(997, true))];
    let mut runs: Vec<Vec<Run>> = modes.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        // Each round in another order.
        for place in 0..modes.len() {
            let mode = (place + round) % modes.len();
            let Some(run) = recorded(&mut target, modes[mode].1.clone()) else { return };
            runs[mode].push(run);
        }
    }
    for ((name, _), runs_of_mode) in modes.iter().zip(&runs) {
        // Against the run without a recorder of the same round.
        let more = runs_of_mode.iter().zip(&runs[0]).map(|(run, base)| (run.per_span / base.per_span - 1.0) * 100.0);
        let [low, middle, high] = quartiles(more.collect());
        let per_span = quartiles(runs_of_mode.iter().map(|run| run.per_span).collect())[1];
        let agent = quartiles(runs_of_mode.iter().map(|run| run.agent_share).collect())[1];
        let [lost, all] = runs_of_mode.iter().fold([0, 0], |sum, run| [sum[0] + run.events[0], sum[1] + run.events[1]]);
        println!(
            "{name:24} {:8.1} us CPU a span  {middle:+5.2} % ({low:+5.2} to {high:+5.2})   agent {:5.2} % of a core   {lost} of {all} events lost",
            per_span / 1e3,
            agent * 100.0
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    println!("memory of the agent: {}, at most {}", memory("VmRSS:"), memory("VmHWM:"));
    drop(target.orders);
    // It ends when its input does.
    let _ = target.child.wait();
}
