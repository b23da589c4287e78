//! What recorder and askers share: the ring, the processes, the files, the names.

use crate::{
    attach::attach,
    calls::Calls,
    error::ProfilerError,
    process::{Facts, Identity, KERNEL, ModuleId, Modules, Table},
    recorder::Recording,
    ring::{Entry, Found, Limits, Ring, Tag, Wanted},
    sample::{Frame, Sample},
    symbols::Names,
};
use geophone_proto::{
    UnixNanos,
    stacks::{StackAnswer, StackRequest, ThreadState, WantedSpan},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Samples of one answer at most.
const SAMPLES_MAX: usize = 200_000;
/// How long a process is sampled faster when one of its anomalies is looked at.
const BURST_NS: u64 = 5_000_000_000;
/// Only when its spans are so young: otherwise what would be seen is something else.
const FRESH_NS: u64 = 120_000_000_000;

/// What the recorder is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sample these processes faster for a while.
    Burst {
        /// Which.
        pids: Vec<u32>,
        /// How long.
        length_ns: u64,
    },
}

/// Everything under the one lock.
pub struct State {
    /// Samples.
    pub ring: Ring,
    /// Processes.
    pub table: Table,
    /// Files.
    pub modules: Modules,
    /// Durations of a probed function.
    pub calls: Calls,
    /// For the recorder.
    pub commands: Vec<Command>,
    /// Events that the kernel could not hand over, and all of them.
    pub events: [u64; 2],
}

/// The flight recorder, as askers see it.
pub struct Archive {
    state: Mutex<State>,
    /// Apart: finding names takes long, recording must go on. Taken before `state` where both are.
    names: Mutex<Names>,
}

/// What a profile by hand is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everybody.
    Everybody,
    /// One process.
    Process(u32),
    /// All processes of a service.
    Service(String),
}

impl Archive {
    /// An empty one.
    pub fn new(recording: &Recording) -> Self {
        let state = State {
            ring: Ring::new(Limits::default()),
            table: Table::new(recording.everybody, recording.only.clone()),
            modules: Modules::default(),
            calls: Calls::default(),
            commands: Vec::new(),
            events: [0; 2],
        };
        Self { state: Mutex::new(state), names: Mutex::default() }
    }

    /// The state; whole between any two calls, so a panic of another thread leaves it usable.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a service's own telemetry says of a process.
    pub fn tell(&self, pid: u32, identity: Identity) {
        self.state().table.tell(pid, identity);
    }

    /// Samples kept, and the time from the oldest to the newest.
    pub fn extent(&self) -> (usize, u64) {
        self.state().ring.extent()
    }

    /// Events that the kernel could not hand over, and all of them, since the start.
    pub fn events(&self) -> [u64; 2] {
        self.state().events
    }

    /// Memory of the ring.
    pub fn bytes(&self) -> usize {
        self.state().ring.bytes()
    }

    /// Facts of living processes.
    pub fn processes(&self) -> Vec<Facts> {
        self.state().table.all().filter(|(_, facts)| facts.is_alive).map(|(_, facts)| facts.clone()).collect()
    }

    /// Lets symbol tables go that nobody has needed since the last call; never waits.
    pub fn rest(&self) {
        if let Ok(mut names) = self.names.try_lock() {
            names.rest();
        }
    }

    /// Samples from a time range, with names.
    pub fn samples(&self, subject: &Subject, from: UnixNanos, to: UnixNanos) -> Result<Vec<Sample>, ProfilerError> {
        let wanted = {
            let state = self.state();
            let is_meant = |facts: &Facts| match subject {
                Subject::Everybody => true,
                Subject::Process(pid) => facts.pid == *pid,
                Subject::Service(service) => is_of(facts, service),
            };
            let processes = state.table.all().filter(|(_, facts)| is_meant(facts)).map(|(number, _)| number).collect();
            Wanted { from, to, processes, ..Wanted::default() }
        };
        if wanted.processes.is_empty() {
            let what = match subject {
                Subject::Everybody => "nothing has been recorded yet: wait a second".to_owned(),
                Subject::Process(pid) => format!("no process {pid} has run: look at `ps -p {pid}`"),
                Subject::Service(name) => {
                    format!("no process says that it is service `{name}`: set OTEL_SERVICE_NAME={name} where it starts")
                }
            };
            return Err(ProfilerError::NotFound(what));
        }
        Ok(self.named(&wanted, |_| true))
    }

    /// Those of the samples found that `is_meant` too, with names: finding these is what takes long.
    fn named(&self, wanted: &Wanted, is_meant: impl Fn(&Entry) -> bool) -> Vec<Sample> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, facts) = {
            let state = self.state();
            let found = state.ring.find(wanted, is_meant, SAMPLES_MAX);
            if found.len() == SAMPLES_MAX {
                metrics::counter!("geophone_profiler_answers_cut_total").increment(1);
            }
            let mut facts: HashMap<u32, Facts> = HashMap::new();
            for sample in &found {
                let number = sample.entry.process;
                facts.entry(number).or_insert_with(|| state.table.facts(number).cloned().unwrap_or_default());
            }
            (found, facts)
        };
        let frames = found.iter().flat_map(|sample| {
            let whose = facts.get(&sample.entry.process).map_or((0, 0), |facts| (facts.pid, facts.own_pid));
            sample.frames.iter().map(move |frame| (*frame, whose))
        });
        // A clone of the files: recording goes on while names are found.
        let modules = self.state().modules.clone();
        names.learn(frames, &modules);
        found.iter().map(|sample| sample_of(sample, &facts[&sample.entry.process], &names)).collect()
    }

    /// Stacks of flagged spans.
    pub fn answer(&self, request: &StackRequest, now: UnixNanos) -> StackAnswer {
        attach(request, &self.evidence(request, now))
    }

    /// Samples from among which flagged spans get their stacks; asks for a closer look at their processes as well.
    pub fn evidence(&self, request: &StackRequest, now: UnixNanos) -> Vec<Sample> {
        let spans = || request.flagged.iter().chain(&request.baseline);
        let (Some(from), Some(to)) = (spans().map(|span| span.start).min(), spans().map(|span| span.end).max()) else {
            return Vec::new();
        };
        let tag_of = |span: &WantedSpan| Tag { trace_id: span.trace_id, span_id: span.span_id };
        let (processes, pids) = {
            let state = self.state();
            let ours = || state.table.all().filter(|(_, facts)| is_of(facts, &request.service) || is_placed(facts, request));
            let pids: Vec<u32> = ours().filter(|(_, facts)| facts.is_alive).map(|(_, facts)| facts.pid).collect();
            (ours().map(|(number, _)| number).collect(), pids)
        };
        let tagged = Wanted { from, to, tags: spans().map(tag_of).collect(), ..Wanted::default() };
        let mut samples = self.named(&tagged, |_| true);
        // One kind of link for all: samples by time are wanted only where no flagged span has its own.
        if !samples.iter().any(|sample| request.flagged.iter().any(|span| sample.span_id == Some(span.span_id))) {
            let is_within = |entry: &Entry| entry.tag.is_none() && spans().any(|span| touches(entry, span));
            samples = self.named(&Wanted { from, to, processes, ..Wanted::default() }, is_within);
        }
        // Whoever was found belongs to the service that asks, however it was found.
        samples.iter_mut().for_each(|sample| sample.service.clone_from(&request.service));
        if !pids.is_empty() && now.since(to) < FRESH_NS {
            self.state().commands.push(Command::Burst { pids, length_ns: BURST_NS });
        }
        samples
    }
}

/// Some of the sample's time may lie in the span.
fn touches(entry: &Entry, span: &WantedSpan) -> bool {
    let half = entry.weight_ns / 2;
    entry.at.plus(half) >= span.start && entry.at.minus(half) <= span.end
}

/// Says so itself, or bears the service's name.
fn is_of(facts: &Facts, service: &str) -> bool {
    if facts.identity.service.is_empty() { facts.name == service } else { facts.identity.service == service }
}

/// The spans' own attributes name the process.
fn is_placed(facts: &Facts, request: &StackRequest) -> bool {
    request.places.iter().any(|place| place.pid != 0 && (place.pid == facts.pid || place.pid == facts.own_pid))
        && (facts.identity.service.is_empty() || facts.identity.service == request.service)
}

/// The recorder's own frames, on top of the kernel's where a thread leaves the CPU.
fn is_ours(function: &str) -> bool {
    ["bpf_prog_", "bpf_trace_run", "bpf_trampoline_", "__bpf_trace_", "__traceiter_"].iter().any(|start| function.starts_with(start))
}

fn sample_of(found: &Found, facts: &Facts, names: &Names) -> Sample {
    let entry = &found.entry;
    let mut stack: Vec<Frame> = Vec::with_capacity(found.frames.len());
    // How the kernel took the core away says nothing of who waits for one.
    let is_told = |frame: &&(ModuleId, u64)| entry.state != ThreadState::Waiting || frame.0 != KERNEL;
    for frame in found.frames.iter().filter(is_told) {
        stack.extend(names.name(*frame, facts.pid).iter().cloned());
    }
    while stack.pop_if(|leaf| is_ours(&leaf.function)).is_some() {}
    // Without the kernel's names its frames are one.
    stack.dedup_by(|inner, outer| inner == outer && inner.function == "[kernel]");
    Sample {
        at: entry.at,
        weight_ns: entry.weight_ns,
        state: entry.state,
        service: facts.identity.service.clone(),
        instance: facts.identity.instance.clone(),
        process: facts.name.clone(),
        pid: facts.own_pid,
        tid: entry.tid,
        trace_id: entry.tag.map(|tag| tag.trace_id),
        span_id: entry.tag.map(|tag| tag.span_id),
        stack,
    }
}
