//! The process that is watched: this very test program, started again. It works in spans, says in its
//! thread context which, and writes a log of them that the test holds against what the recorder saw.

use geophone_thread_context::{Ids, attach, publish_process};
use std::{
    fs::File,
    hint::black_box,
    io::Write,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What the threads do in their spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Compute, some spans longer than others.
    Mixed,
    /// Every second span burns the CPU.
    Burn,
    /// Every second span waits for a lock that another thread holds.
    Lock,
    /// Every second span sleeps.
    Sleep,
    /// One kind of fault after the other, a few spans each, beside normal ones.
    Every,
}

/// Functions of the faults of `Every`, in the order of the injections.
pub const EVERY_KIND: [&str; 4] = ["hot_burn", "hot_lock", "hot_sleep", "hot_disk"];
/// Spans of one injection.
pub const SPANS: usize = 12;
/// Of these, without the fault.
const NORMAL: u8 = 5;
/// How long a fault's spans are longer.
const FAULT: Duration = Duration::from_millis(12);

/// How a target is started.
pub const KIND: &str = "GEOPHONE_TEST_TARGET";
/// Whether it publishes anything of itself.
pub const SILENT: &str = "GEOPHONE_TEST_SILENT";
/// Threads at work.
pub const THREADS: u64 = 3;

static LOCK: Mutex<()> = Mutex::new(());

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2500")
}

#[inline(never)]
pub fn ordinary_work(length: Duration) -> u64 {
    spin(length)
}

#[inline(never)]
pub fn hot_burn(length: Duration) -> u64 {
    spin(length).wrapping_add(1)
}

#[inline(never)]
pub fn hot_sleep(length: Duration) -> u64 {
    std::thread::sleep(length);
    black_box(length.as_nanos() as u64)
}

#[inline(never)]
pub fn hot_lock() -> u64 {
    let held = LOCK.lock().expect("nobody panics");
    black_box(std::ptr::from_ref(&held) as u64)
}

/// Waits for the disk, again and again: one flush may be quick.
#[inline(never)]
pub fn hot_disk(length: Duration) -> u64 {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("geophone-disk-{}", std::process::id()));
    let mut file = File::create(&path).expect("the target folder is writable");
    let begun = Instant::now();
    while begun.elapsed() < length {
        file.write_all(&[7; 65_536]).and_then(|()| file.sync_all()).expect("the disk has room");
    }
    std::fs::remove_file(&path).expect("it was just written");
    black_box(1)
}

/// Another thread takes the lock and keeps it for a while; returns once it has it.
fn contend() {
    let (taken, is_taken) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let held = LOCK.lock().expect("nobody panics");
        taken.send(()).expect("somebody waits");
        std::thread::sleep(FAULT);
        drop(held);
    });
    is_taken.recv().expect("it is sent");
}

#[inline(never)]
fn between_spans(length: Duration) -> u64 {
    spin(length).wrapping_add(2)
}

#[inline(always)]
fn spin(length: Duration) -> u64 {
    let begun = Instant::now();
    let mut state = 1u64;
    while begun.elapsed() < length {
        for _ in 0..200 {
            state = black_box(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        }
    }
    state
}

fn gettid() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").expect("Linux");
    link.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
}

/// Normal spans, then some with the fault whose turn it is; the first half of their trace's id says which.
fn injection(number: u64) {
    for place in 0..SPANS as u8 {
        let (mut trace_id, start, is_slow) = ([0; 16], now_ns(), place >= NORMAL);
        trace_id[..8].copy_from_slice(&(number + 1).to_be_bytes());
        trace_id[15] = place;
        let span_id = (number << 8 | u64::from(place) | 1 << 40).to_be_bytes();
        let kind = EVERY_KIND[number as usize % EVERY_KIND.len()];
        if is_slow && kind == "hot_lock" {
            contend();
        }
        let attached = attach(Ids { trace_id, span_id, sampled: true });
        black_box(match kind {
            _ if !is_slow => 0,
            "hot_burn" => hot_burn(FAULT),
            "hot_lock" => hot_lock(),
            "hot_sleep" => hot_sleep(FAULT),
            _ => hot_disk(FAULT),
        });
        black_box(ordinary_work(Duration::from_millis(4)));
        drop(attached);
        tell(trace_id, span_id, (start, now_ns()), is_slow);
        black_box(between_spans(Duration::from_micros(300)));
    }
}

/// A line of the log: `trace span tid start end is_slow`.
fn tell(trace_id: [u8; 16], span_id: [u8; 8], (start, end): (u64, u64), is_slow: bool) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = format!("{} {} {} {start} {end} {is_slow}\n", hex(&trace_id), hex(&span_id), gettid());
    std::io::stdout().write_all(line.as_bytes()).expect("the test reads");
}

/// One span, told when it is over.
fn span(kind: Kind, thread: u64, number: u64, is_silent: bool) {
    let mut trace_id = [0; 16];
    trace_id[..8].copy_from_slice(&(thread + 1).to_be_bytes());
    trace_id[8..].copy_from_slice(&(number + 1).to_be_bytes());
    let span_id = (number << 8 | (thread + 1)).to_be_bytes();
    let is_slow = number % 2 == 1;
    let start = now_ns();
    {
        let _attached = (!is_silent).then(|| attach(Ids { trace_id, span_id, sampled: true }));
        match (kind, is_slow) {
            (Kind::Mixed, _) => drop(black_box(ordinary_work(Duration::from_millis(2 + number * 7 % 23)))),
            (Kind::Burn, true) => drop(black_box(hot_burn(Duration::from_millis(12)))),
            (Kind::Sleep, true) => drop(black_box(hot_sleep(Duration::from_millis(12)))),
            (Kind::Lock, true) => drop(black_box(hot_lock())),
            _ => {}
        }
        black_box(ordinary_work(Duration::from_millis(4)));
    }
    tell(trace_id, span_id, (start, now_ns()), is_slow);
}

/// Works until the test closes our input.
pub fn run(kind: &str) {
    let kind = match kind {
        "burn" => Kind::Burn,
        "lock" => Kind::Lock,
        "sleep" => Kind::Sleep,
        "every" => Kind::Every,
        _ => Kind::Mixed,
    };
    let is_silent = std::env::var_os(SILENT).is_some();
    if !is_silent {
        publish_process(&[("service.name", "watched"), ("service.instance.id", "watched-1")]).expect("a mapping");
    }
    if kind == Kind::Lock {
        std::thread::spawn(|| {
            loop {
                let held = LOCK.lock().expect("nobody panics");
                std::thread::sleep(Duration::from_millis(9));
                drop(held);
                std::thread::sleep(Duration::from_millis(3));
            }
        });
    }
    let threads = if kind == Kind::Mixed { THREADS } else { 1 };
    for thread in 0..threads {
        std::thread::spawn(move || {
            for number in 0.. {
                if kind == Kind::Every {
                    injection(number);
                    continue;
                }
                span(kind, thread, number, is_silent);
                black_box(between_spans(Duration::from_micros(900)));
            }
        });
    }
    let mut end = String::new();
    let _ = std::io::stdin().read_line(&mut end);
    std::process::exit(0);
}
