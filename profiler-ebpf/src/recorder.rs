//! The flight recorder: takes events out of the kernel's buffer, turns each into a sample of addresses and
//! keeps it. One thread runs it; whoever wants stacks asks the `Archive` that both share.

use crate::{
    archive::{Archive, Command, State},
    error::ProfilerError,
    kernel::{Event, Kind, Options, Programs, flag, watch},
    process::{ANONYMOUS, KERNEL, ModuleId, SYSCALL},
    ring::{Entry, Tag},
    symbols::UnwindCache,
};
use aya::maps::{MapData, RingBuf};
use geophone_proto::{UnixNanos, stacks::ThreadState};
use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The buffer is looked at this often.
const DRAIN: Duration = Duration::from_millis(25);
/// New processes that nobody has seen run are looked for this often.
const SCAN_NS: u64 = 5_000_000_000;
/// Symbol tables that nobody has needed for so long are let go.
const REST_NS: u64 = 60_000_000_000;
/// Samples a second in a burst.
pub const BURST_HZ: u64 = 997;
/// Threads whose last stack is remembered.
const THREADS_MAX: usize = 32_768;
/// Shorter waits for a CPU are part of every switch.
const WAIT_MIN_NS: u64 = 20_000;

/// What to record.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Samples a second on each busy CPU, 19 to 997.
    pub frequency_hz: u64,
    /// Time off the CPU as well.
    pub off_cpu: bool,
    /// Everybody off the CPU, not only processes of services.
    pub everybody: bool,
    /// Only these processes.
    pub only: Option<Vec<u32>>,
}

impl Default for Recording {
    fn default() -> Self {
        Self { frequency_hz: 99, off_cpu: true, everybody: false, only: None }
    }
}

/// The last stack of a thread: time off the CPU that comes later is its.
struct Last {
    stack: (u64, u32),
    tag: Option<Tag>,
    /// Left the CPU with this stack, and has not come back.
    left: bool,
    /// It was the stack of a sleep: more sleep may be added.
    slept: bool,
}

/// The running recorder.
pub struct Recorder {
    programs: Programs,
    events: RingBuf<MapData>,
    archive: Arc<Archive>,
    recording: Recording,
    cache: UnwindCache,
    last: HashMap<u32, Last>,
    frames: Vec<(ModuleId, u64)>,
    addresses: Vec<u64>,
    bytes: Vec<u8>,
    scanned_ns: u64,
    rested_ns: u64,
    burst_until_ns: Option<u64>,
    told: [u64; 2],
}

impl Recorder {
    /// Loads the programs; recording begins at once, keeping begins with `run`.
    pub fn start(recording: Recording) -> Result<(Self, Arc<Archive>), ProfilerError> {
        let frequency_hz = recording.frequency_hz.clamp(19, 997);
        let options = Options { frequency_hz, off_cpu: recording.off_cpu, only_watched: recording.only.is_some() };
        let (programs, events) = Programs::start(options)?;
        let archive = Arc::new(Archive::new(&recording));
        let recorder = Self {
            programs,
            events,
            archive: archive.clone(),
            recording: Recording { frequency_hz, ..recording },
            cache: UnwindCache::default(),
            last: HashMap::new(),
            frames: Vec::new(),
            addresses: Vec::new(),
            bytes: Vec::new(),
            scanned_ns: 0,
            rested_ns: monotonic_ns(),
            burst_until_ns: None,
            told: [0; 2],
        };
        Ok((recorder, archive))
    }

    /// Tells of each call of one function as well.
    pub fn probe(&mut self, binary: &std::path::Path, offset: u64, pid: Option<u32>) -> Result<(), ProfilerError> {
        self.programs.probe(binary, offset, pid)
    }

    /// Records until told to stop.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.turn();
            // The kernel wakes nobody for an event: whoever stops us may.
            thread::park_timeout(DRAIN);
        }
        // What the kernel has seen by now is kept as well.
        self.turn();
    }

    /// One look at everything.
    pub fn turn(&mut self) {
        let archive = self.archive.clone();
        let mut state = archive.state();
        let now_ns = monotonic_ns();
        self.obey(&mut state, now_ns);
        self.drain(&mut state);
        self.scan(&mut state, now_ns);
        self.count(&mut state);
        drop(state);
        if now_ns.saturating_sub(self.rested_ns) >= REST_NS {
            self.rested_ns = now_ns;
            archive.rest();
        }
    }

    fn obey(&mut self, state: &mut State, now_ns: u64) {
        for command in std::mem::take(&mut state.commands) {
            match command {
                Command::Burst { pids, length_ns } => self.burst(state, &pids, now_ns + length_ns),
            }
        }
        if self.burst_until_ns.is_some_and(|until| now_ns >= until) {
            self.burst_until_ns = None;
            self.programs.calm();
            self.mark_bursting(state, &[]);
        }
    }

    fn burst(&mut self, state: &mut State, pids: &[u32], until_ns: u64) {
        if self.burst_until_ns.is_some() {
            metrics::counter!("geophone_profiler_bursts_refused_total").increment(1);
            return;
        }
        match self.programs.burst(pids, BURST_HZ) {
            Ok(()) => {
                metrics::counter!("geophone_profiler_bursts_total").increment(1);
                self.burst_until_ns = Some(until_ns);
                self.mark_bursting(state, pids);
            }
            Err(error) => tracing::debug!("no burst: {error}"),
        }
    }

    /// The ordinary clock leaves these processes to the burst's.
    fn mark_bursting(&mut self, state: &mut State, pids: &[u32]) {
        for pid in state.table.pids() {
            let Some(process) = state.table.get_mut(pid) else { continue };
            let flags = (process.watch.flags & !watch::BURSTING) | (u32::from(pids.contains(&pid)) * watch::BURSTING);
            if flags != process.watch.flags {
                process.watch.flags = flags;
                self.programs.watch(pid, process.watch);
            }
        }
    }

    fn drain(&mut self, state: &mut State) {
        let offset = wall_minus_monotonic();
        let mut bytes = std::mem::take(&mut self.bytes);
        loop {
            // Copied out: what is done with it needs all of us.
            match self.events.next() {
                Some(item) => {
                    bytes.clear();
                    bytes.extend_from_slice(&item);
                }
                None => break,
            }
            match Event::read(&bytes) {
                Some(event) => self.take(&event, offset, state),
                None => metrics::counter!("geophone_profiler_samples_dropped_total", "reason" => "unreadable").increment(1),
            }
        }
        self.bytes = bytes;
    }

    fn take(&mut self, event: &Event<'_>, offset: u64, state: &mut State) {
        let header = &event.header;
        let at = UnixNanos(header.at.wrapping_add(offset));
        match event.kind() {
            Some(Kind::OnCpu) => {
                let hz = if event.has(flag::BURST_RATE) { BURST_HZ } else { self.recording.frequency_hz };
                let Some(stack) = self.stack(event, at, state) else { return };
                self.keep(event, (at, 1_000_000_000 / hz, ThreadState::OnCpu), stack, state);
                self.remember(event, stack, false);
            }
            Some(Kind::Blocked) => {
                let Some(stack) = self.stack(event, at, state) else { return };
                self.keep_off(event, at, stack, state);
                self.remember(event, stack, false);
            }
            Some(Kind::Left) => {
                let Some(stack) = self.stack(event, at, state) else { return };
                self.remember(event, stack, true);
            }
            Some(Kind::Resumed) => self.resume(event, at, state),
            Some(Kind::Exec) => {
                state.table.end(header.tgid);
                self.meet(header.tgid, &event.comm(), state);
            }
            Some(Kind::Fork) => self.meet(header.tgid, &event.comm(), state),
            Some(Kind::Exit) => {
                state.table.end(header.tgid);
                self.programs.unwatch(header.tgid);
                self.last.remove(&header.tid);
            }
            Some(Kind::Call | Kind::Return) => self.called(event, at, state),
            None => metrics::counter!("geophone_profiler_samples_dropped_total", "reason" => "unknown_kind").increment(1),
        }
    }

    fn meet(&mut self, pid: u32, comm: &str, state: &mut State) {
        let State { table, modules, .. } = state;
        let (process, is_new) = table.meet(pid, comm, monotonic_ns(), modules);
        if is_new {
            self.programs.watch(pid, process.watch);
        }
    }

    /// The number of the event's stack in the ring.
    fn stack(&mut self, event: &Event<'_>, at: UnixNanos, state: &mut State) -> Option<(u64, u32)> {
        let pid = event.header.tgid;
        if self.recording.only.as_ref().is_some_and(|only| !only.contains(&pid)) {
            return None;
        }
        self.meet(pid, &event.comm(), state);
        self.unwind(event, state);
        self.place(event, state);
        Some(state.ring.stack(at, &self.frames))
    }

    /// Fills `addresses`, innermost first, each within the calling instruction.
    fn unwind(&mut self, event: &Event<'_>, state: &mut State) {
        let State { table, modules, .. } = state;
        let chain = event.user_frames();
        let length = chain.len();
        if event.kind() == Some(Kind::OnCpu)
            && let Some(watch) = table.judge(event.header.tgid, length)
        {
            self.programs.watch(event.header.tgid, watch);
        }
        let Some(process) = table.get_mut(event.header.tgid) else { return };
        self.addresses.clear();
        if !event.stack.is_empty() {
            let is_whole = process.unwinder(modules).unwind(event, &mut self.cache, &mut self.addresses);
            if is_whole || self.addresses.len() > length {
                return;
            }
            self.addresses.clear();
        }
        // The first is where it is, the others are where it returns to.
        self.addresses.extend(chain.enumerate().map(|(depth, address)| address.saturating_sub(u64::from(depth > 0))));
    }

    /// Fills `frames`, outermost first: files and offsets instead of addresses.
    fn place(&mut self, event: &Event<'_>, state: &mut State) {
        let State { table, modules, .. } = state;
        let pid = event.header.tgid;
        self.frames.clear();
        let now_ns = monotonic_ns();
        for address in self.addresses.iter().rev() {
            let Some(process) = table.get_mut(pid) else { return };
            let mut place = process.place(*address, modules);
            if place.is_none() && process.may_be_lost(now_ns) {
                if table.look(pid, now_ns, modules)
                    && let Some(process) = table.get_mut(pid)
                {
                    self.programs.watch(pid, process.watch);
                }
                place = table.get_mut(pid).and_then(|process| process.place(*address, modules));
            }
            self.frames.push(place.unwrap_or((ANONYMOUS, *address)));
        }
        if event.kind() == Some(Kind::Blocked) {
            if let Ok(number) = u64::try_from(event.header.syscall) {
                self.frames.push((SYSCALL, number));
            }
        } else {
            let kernel: Vec<u64> = event.kernel_frames().collect();
            self.frames.extend(kernel.iter().rev().map(|address| (KERNEL, *address)));
        }
    }

    fn keep(&self, event: &Event<'_>, (at, weight_ns, doing): (UnixNanos, u64, ThreadState), stack: (u64, u32), state: &mut State) {
        let Some(process) = state.table.get_mut(event.header.tgid).map(|process| process.number) else { return };
        let tag = event.tag().map(|(trace_id, span_id)| Tag { trace_id, span_id });
        state.ring.push(&Entry { at, weight_ns, state: doing, process, tid: event.header.tid, tag }, stack);
    }

    /// Blocked, then runnable, up to `end`.
    fn keep_off(&self, event: &Event<'_>, end: UnixNanos, stack: (u64, u32), state: &mut State) {
        let (off_ns, wait_ns) = (event.header.off_ns, event.header.wait_ns);
        if off_ns > 0 {
            self.keep(event, (end.minus(wait_ns + off_ns / 2), off_ns, ThreadState::Blocked), stack, state);
        }
        if wait_ns >= WAIT_MIN_NS {
            self.keep(event, (end.minus(wait_ns / 2), wait_ns, ThreadState::Waiting), stack, state);
        }
    }

    fn remember(&mut self, event: &Event<'_>, stack: (u64, u32), left: bool) {
        if self.last.len() >= THREADS_MAX {
            self.last.clear();
        }
        let tag = event.tag().map(|(trace_id, span_id)| Tag { trace_id, span_id });
        let slept = event.kind() == Some(Kind::Blocked);
        self.last.insert(event.header.tid, Last { stack, tag, left, slept });
    }

    fn resume(&mut self, event: &Event<'_>, at: UnixNanos, state: &mut State) {
        let tag = event.tag().map(|(trace_id, span_id)| Tag { trace_id, span_id });
        let Some(last) = self.last.get_mut(&event.header.tid).filter(|last| last.tag == tag) else { return };
        let (stack, is_known) = (last.stack, std::mem::take(&mut last.left) || last.slept);
        if is_known {
            // Also short sleeps and waits that were not worth a stack of their own, told at the end of a span.
            self.keep_off(event, at, stack, state);
        } else if event.header.wait_ns >= WAIT_MIN_NS {
            let (wait_ns, at) = (event.header.wait_ns, at.minus(event.header.wait_ns / 2));
            self.keep(event, (at, wait_ns, ThreadState::Waiting), stack, state);
        }
    }

    /// A probed function: stacks by count where it was entered, durations where it was left.
    fn called(&mut self, event: &Event<'_>, at: UnixNanos, state: &mut State) {
        if event.kind() == Some(Kind::Return) {
            state.calls.add(event.header.off_ns);
            if let Some(last) = self.last.get(&event.header.tid) {
                self.keep(event, (at.minus(event.header.off_ns / 2), event.header.off_ns, ThreadState::OnCpu), last.stack, state);
            }
        } else if let Some(stack) = self.stack(event, at, state) {
            self.remember(event, stack, false);
        }
    }

    /// Looks for new processes, and again at those that are due.
    fn scan(&mut self, state: &mut State, now_ns: u64) {
        if now_ns.saturating_sub(self.scanned_ns) >= SCAN_NS {
            self.scanned_ns = now_ns;
            let all = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
            let own = std::process::id();
            for pid in all.filter(|pid| *pid != own) {
                if self.recording.only.as_ref().is_none_or(|only| only.contains(&pid)) {
                    self.meet(pid, "", state);
                }
            }
            let spoken_of = state.ring.processes();
            state.table.forget(|number| spoken_of.contains(&number));
        }
        let State { table, modules, .. } = state;
        for pid in table.due(now_ns) {
            if !fs::exists(format!("/proc/{pid}")).unwrap_or(false) {
                table.end(pid);
                self.programs.unwatch(pid);
            } else if table.look(pid, now_ns, modules)
                && let Some(process) = table.get_mut(pid)
            {
                self.programs.watch(pid, process.watch);
            }
        }
    }

    fn count(&mut self, state: &mut State) {
        let counts = self.programs.counts();
        state.events = counts;
        let names = ["geophone_profiler_events_lost_total", "geophone_profiler_events_total"];
        for (which, name) in names.into_iter().enumerate() {
            metrics::counter!(name).increment(counts[which].saturating_sub(self.told[which]));
        }
        self.told = counts;
        metrics::gauge!("geophone_profiler_ring_bytes").set(state.ring.bytes() as f64);
        metrics::gauge!("geophone_profiler_ring_seconds").set(state.ring.extent().1 as f64 / 1e9);
    }
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one `timespec`; both clocks exist on every Linux.
    #[allow(unsafe_code, reason = "the kernel's events bear monotonic time, which the standard library hides")]
    unsafe {
        libc::clock_gettime(clock, &raw mut time);
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Time as the kernel's events bear it.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// What is added to monotonic time to get the time of day, as it is now.
fn wall_minus_monotonic() -> u64 {
    let before = monotonic_ns();
    let wall = clock_ns(libc::CLOCK_REALTIME);
    wall.wrapping_sub(before / 2 + monotonic_ns() / 2)
}
