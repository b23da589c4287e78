//! What recording costs whoever is recorded: `sudo -E cargo bench -p geophone-profiler-ebpf`. The same work
//! with and without the recorder, in turns, so that what else the machine does falls on all alike.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark tells people; what is recorded sleeps now and then")]

use geophone_profiler_ebpf::{Recorder, Recording};
use geophone_thread_context::{Ids, attach, publish_process};
use std::{
    fs,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(1_500);

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

struct Run {
    per_span: f64,
    agent_share: f64,
}

fn recorded(recording: Option<Recording>) -> Option<Run> {
    let Some(recording) = recording else { return Some(Run { per_span: work(), agent_share: 0.0 }) };
    let (recorder, _archive) = Recorder::start(recording).map_err(|error| println!("skipped: {error}")).ok()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sign, begun) = (stop.clone(), Instant::now());
    let agent = thread::spawn(move || {
        recorder.run(&sign);
        cpu_ns(&own_tid())
    });
    // Our own mappings are read first.
    thread::park_timeout(Duration::from_millis(300));
    let per_span = work();
    let length = begun.elapsed();
    stop.store(true, Ordering::Release);
    let agent_ns = agent.join().ok()?;
    Some(Run { per_span, agent_share: agent_ns as f64 / length.as_nanos() as f64 })
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    // Recorded like any process of a service.
    publish_process(&[("service.name", "bench")]).expect("Linux");
    let at =
        |frequency_hz, off_cpu| Some(Recording { frequency_hz, off_cpu, only: Some(vec![std::process::id()]), ..Recording::default() });
    let modes =
        [("off", None), ("99 Hz", at(99, false)), ("99 Hz and off the CPU", at(99, true)), ("997 Hz and off the CPU", at(997, true))];
    let mut runs: Vec<Vec<Run>> = modes.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (mode, into) in modes.iter().zip(&mut runs) {
            let Some(run) = recorded(mode.1.clone()) else { return };
            into.push(run);
        }
    }
    let base = median(runs[0].iter().map(|run| run.per_span).collect());
    for ((name, _), runs) in modes.iter().zip(&runs) {
        let per_span = median(runs.iter().map(|run| run.per_span).collect());
        let agent = median(runs.iter().map(|run| run.agent_share).collect());
        let more = (per_span / base - 1.0) * 100.0;
        println!("{name:24} {:8.1} us CPU a span  {more:+5.2} %   agent {:5.2} % of a core", per_span / 1e3, agent * 100.0);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("memory at most: {}", status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim());
}
