//! Loads the prebuilt programs and attaches them. Not here: reading what they tell (`recorder`).

use super::{
    requirements,
    types::lean,
    wire::{Settings, Watch},
};
use crate::error::ProfilerError;
use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, PerfEvent, RawTracePoint, UProbe,
        perf_event::{PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy, SoftwareEvent},
        uprobe::UProbeScope,
    },
};
use object::Endianness;
use std::{fs, num::NonZeroU32, path::Path};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Samples a second on each busy CPU.
    pub frequency_hz: u64,
    /// Tell of time off the CPU as well.
    pub off_cpu: bool,
    /// Only of processes that are watched.
    pub only_watched: bool,
}

/// Sleeps that add up to this are told.
const OFF_MIN_NS: u64 = 1_000_000;
/// Stacks of one thread in one span are at least so far apart.
const GAP_NS: u64 = 5_000_000;

#[allow(unsafe_code, reason = "the trait of aya for values of maps")]
// SAFETY: plain numbers without padding, sizes asserted in `wire`.
unsafe impl Pod for Watch {}
#[allow(unsafe_code, reason = "the trait of aya for values of maps")]
// SAFETY: as above.
unsafe impl Pod for Settings {}

/// The programs in the kernel; they go with this value.
pub struct Programs {
    ebpf: Ebpf,
    watched: HashMap<MapData, u32, Watch>,
    counts: PerCpuArray<MapData, u64>,
    bursts: Vec<PerfEventLinkId>,
    /// Held open for programs that are loaded later.
    _settings: Array<MapData, Settings>,
}

fn refused(what: &str) -> impl Fn(&dyn std::error::Error) -> ProfilerError {
    move |error| {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            why.push_str(": ");
            why.push_str(&inner.to_string());
            source = inner.source();
        }
        // The verifier's log is long; its end says what is wrong.
        let from = why.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
        ProfilerError::Refused { what: what.to_owned(), why: why[from..].to_owned() }
    }
}

macro_rules! program {
    ($ebpf:expr, $name:expr, $kind:ty) => {{
        let program = $ebpf.program_mut($name).expect("the object is ours: its programs are named in recorder.bpf.c");
        <&mut $kind>::try_from(program).map_err(|error| refused($name)(&error))?
    }};
}

impl Programs {
    /// Loads and attaches; the events come out of the buffer.
    pub fn start(options: Options) -> Result<(Self, RingBuf<MapData>), ProfilerError> {
        requirements::check(Path::new("/"))?;
        let btf = kernel_types()?;
        let object = aya::include_bytes_aligned!("../../prebuilt/recorder.bpf.o");
        let mut ebpf =
            EbpfLoader::new().btf(Some(&btf)).allow_unsupported_maps().load(object).map_err(|error| refused("the maps")(&error))?;
        let settings = Settings {
            off_min_ns: OFF_MIN_NS,
            gap_ns: GAP_NS,
            flags: u32::from(options.off_cpu) | u32::from(options.only_watched) << 1,
            spare: 0,
        };
        let take = |ebpf: &mut Ebpf, name: &str| ebpf.take_map(name).expect("the object is ours: its maps are named in recorder.bpf.c");
        let mut wanted: Array<MapData, Settings> =
            take(&mut ebpf, "settings").try_into().map_err(|error| refused("the settings")(&error))?;
        wanted.set(0, settings, 0).map_err(|error| refused("the settings")(&error))?;
        let watched = take(&mut ebpf, "procs").try_into().map_err(|error| refused("the processes")(&error))?;
        let counts = take(&mut ebpf, "counts").try_into().map_err(|error| refused("the counts")(&error))?;
        let events = take(&mut ebpf, "events").try_into().map_err(|error| refused("the events")(&error))?;
        attach_life(&mut ebpf, &btf)?;
        attach_clock(&mut ebpf, options.frequency_hz)?;
        if options.off_cpu {
            attach_scheduler(&mut ebpf, &btf)?;
        }
        Ok((Self { ebpf, watched, counts, bursts: Vec::new(), _settings: wanted }, events))
    }

    /// What is known of a process, for the kernel's side.
    pub fn watch(&mut self, pid: u32, watch: Watch) {
        if self.watched.insert(pid, watch, 0).is_err() {
            metrics::counter!("geophone_profiler_processes_unwatched_total").increment(1);
        }
    }

    /// Forgets a process.
    pub fn unwatch(&mut self, pid: u32) {
        // The kernel may have forgotten it first: another program runs there now.
        let _ = self.watched.remove(&pid);
    }

    /// Events lost because the buffer was full, and all events, since the start.
    pub fn counts(&self) -> [u64; 2] {
        [0, 1].map(|which| self.counts.get(&which, 0).map_or(0, |each| each.iter().sum()))
    }

    /// Samples every thread of these processes at a higher rate until `calm`.
    pub fn burst(&mut self, pids: &[u32], frequency_hz: u64) -> Result<(), ProfilerError> {
        const THREADS_MAX: usize = 512;
        let program = program!(self.ebpf, "on_burst", PerfEvent);
        let threads = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten().filter_map(Result::ok);
        for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(THREADS_MAX) {
            let scope = PerfEventScope::OneProcess { pid: thread, cpu: None };
            let config = PerfEventConfig::Software(SoftwareEvent::CpuClock);
            match program.attach(config, scope, SamplePolicy::Frequency(frequency_hz), false) {
                Ok(link) => self.bursts.push(link),
                // It has ended meanwhile.
                Err(_) => metrics::counter!("geophone_profiler_burst_threads_missed_total").increment(1),
            }
        }
        if self.bursts.is_empty() { Err(ProfilerError::NotFound("none of the processes has a thread any more".into())) } else { Ok(()) }
    }

    /// Ends bursts.
    pub fn calm(&mut self) {
        let Some(Ok(program)) = self.ebpf.program_mut("on_burst").map(<&mut PerfEvent>::try_from) else { return };
        for link in self.bursts.drain(..) {
            // A link whose thread has ended is gone already.
            let _ = program.detach(link);
        }
    }

    /// Tells of each call of one function, in one process or all.
    pub fn probe(&mut self, binary: &Path, offset: u64, pid: Option<u32>) -> Result<(), ProfilerError> {
        let scope = pid.and_then(NonZeroU32::new).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
        for name in ["on_return", "on_call"] {
            let program = program!(self.ebpf, name, UProbe);
            program.load().map_err(|error| refused(name)(&error))?;
            program.attach(offset, binary, scope).map_err(|error| refused("the probe (it needs CAP_SYS_ADMIN)")(&error))?;
        }
        Ok(())
    }
}

/// Of the running kernel, as much of it as is needed.
fn kernel_types() -> Result<Btf, ProfilerError> {
    let raw = fs::read("/sys/kernel/btf/vmlinux").map_err(|_| ProfilerError::NoBtf)?;
    let lean = lean(&raw);
    if lean.is_none() {
        tracing::info!("the kernel's type information has kinds that are not known yet: all of it is read");
    }
    let parsed = Btf::parse(lean.as_deref().unwrap_or(&raw), Endianness::default());
    parsed.map_err(|error| refused("its own type information")(&error))
}

fn attach_life(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProfilerError> {
    for (name, point) in [("on_exec", "sched_process_exec"), ("on_fork", "sched_process_fork"), ("on_exit", "sched_process_exit")] {
        attach_tracepoint(ebpf, btf, name, point)?;
    }
    Ok(())
}

fn attach_scheduler(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProfilerError> {
    let program = program!(ebpf, "on_sys_exit", RawTracePoint);
    program.load().map_err(|error| refused("on_sys_exit")(&error))?;
    program.attach("sys_exit").map_err(|error| refused("on_sys_exit")(&error))?;
    attach_tracepoint(ebpf, btf, "on_wakeup", "sched_wakeup")?;
    attach_tracepoint(ebpf, btf, "on_switch", "sched_switch")
}

fn attach_tracepoint(ebpf: &mut Ebpf, btf: &Btf, name: &str, point: &str) -> Result<(), ProfilerError> {
    let program = program!(ebpf, name, BtfTracePoint);
    program.load(point, btf).map_err(|error| refused(name)(&error))?;
    program.attach().map_err(|error| refused(name)(&error))?;
    Ok(())
}

fn attach_clock(ebpf: &mut Ebpf, frequency_hz: u64) -> Result<(), ProfilerError> {
    program!(ebpf, "on_burst", PerfEvent).load().map_err(|error| refused("on_burst")(&error))?;
    let program = program!(ebpf, "on_tick", PerfEvent);
    program.load().map_err(|error| refused("on_tick")(&error))?;
    let cpus = aya::util::online_cpus().map_err(|(path, source)| ProfilerError::Read { path: path.into(), source })?;
    for cpu in cpus {
        let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        let scope = PerfEventScope::AllProcessesOneCpu { cpu };
        program
            .attach(clock, scope, SamplePolicy::Frequency(frequency_hz), false)
            .map_err(|error| refused("the clock of a CPU")(&error))?;
    }
    Ok(())
}
