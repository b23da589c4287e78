//! Profiles by hand, without a running service: record for some seconds, then name and hand over.

use crate::{
    archive::Subject,
    calls::Calls,
    error::ProfilerError,
    process::{Facts, Modules, Table, function_offset, identify, read_mappings},
    recorder::{Recorder, Recording},
    sample::Sample,
};
use geophone_proto::{UnixNanos, stacks::ThreadState};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The recorder is looked at this often.
const TURN: Duration = Duration::from_millis(25);
/// Samples a second where a look must be short.
const FAST_HZ: u64 = 997;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Of whom.
    pub subject: Subject,
    /// For how long.
    pub length: Duration,
    /// Samples a second on each busy CPU.
    pub frequency_hz: u64,
    /// Only time blocked; else only time on the CPU.
    pub off_cpu: bool,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Samples with names.
    pub samples: Vec<Sample>,
    /// Real length.
    pub length: Duration,
    /// Nanoseconds one sample on the CPU stands for.
    pub period_ns: u64,
}

/// Pids of a service, as processes themselves say.
pub fn find_service(service: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| identify(*pid, &read_mappings(*pid)).service == service).collect()
}

/// Living processes that say they belong to a service, and whether they publish their threads' context.
pub fn survey() -> Vec<Facts> {
    let (mut table, mut modules) = (Table::default(), Modules::default());
    let all = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    for pid in all.filter(|pid| !identify(*pid, &read_mappings(*pid)).service.is_empty()) {
        table.meet(pid, "", 0, &mut modules);
    }
    let mut found: Vec<Facts> = table.all().map(|(_, facts)| facts.clone()).collect();
    found.sort_by_key(|facts| facts.pid);
    found
}

/// The same, watched on the CPU for so long: whether frame pointers reach in them, where that could be seen.
pub fn survey_frames(length: Duration) -> Result<Vec<Facts>, ProfilerError> {
    let recording = Recording { frequency_hz: FAST_HZ, off_cpu: false, everybody: false, only: None };
    let (mut recorder, archive) = Recorder::start(recording)?;
    turn_for(&mut recorder, length, &|| false);
    let mut found = archive.processes();
    found.retain(|facts| facts.is_judged && !facts.identity.service.is_empty());
    found.sort_by_key(|facts| facts.pid);
    Ok(found)
}

fn pids_of(subject: &Subject) -> Result<Option<Vec<u32>>, ProfilerError> {
    match subject {
        Subject::Everybody => Ok(None),
        Subject::Process(pid) if Path::new(&format!("/proc/{pid}")).exists() => Ok(Some(vec![*pid])),
        Subject::Process(pid) => Err(ProfilerError::NotFound(format!("there is no process {pid}: look at `ps -e`"))),
        Subject::Service(service) => {
            let pids = find_service(service);
            let hint = format!("no process says that it is service `{service}`: start it with OTEL_SERVICE_NAME={service}, or give --pid");
            if pids.is_empty() { Err(ProfilerError::NotFound(hint)) } else { Ok(Some(pids)) }
        }
    }
}

/// Records and names. Blocking for the wished length; `is_over` ends it early.
pub fn profile(wish: &Wish, is_over: &dyn Fn() -> bool) -> Result<Profile, ProfilerError> {
    let only = pids_of(&wish.subject)?;
    let recording = Recording { frequency_hz: wish.frequency_hz, off_cpu: wish.off_cpu, everybody: only.is_none(), only };
    let (mut recorder, archive) = Recorder::start(recording)?;
    let length = turn_for(&mut recorder, wish.length, is_over);
    let mut samples = archive.samples(&Subject::Everybody, UnixNanos(0), UnixNanos(u64::MAX)).unwrap_or_default();
    samples.retain(|sample| (sample.state == ThreadState::Blocked) == wish.off_cpu && (sample.state == ThreadState::OnCpu) != wish.off_cpu);
    Ok(Profile { samples, length, period_ns: 1_000_000_000 / wish.frequency_hz.clamp(19, 997) })
}

/// Calls of one function.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How long they took.
    pub calls: Calls,
    /// Where they were called from; each sample weighs what its call took.
    pub samples: Vec<Sample>,
    /// Real length.
    pub length: Duration,
}

/// Watches each call of a function (`BIN:FUNCTION`), in one process or all. Blocking for that length, or until it `is_over`.
pub fn probe(
    binary: &Path,
    function: &str,
    pid: Option<u32>,
    (length, is_over): (Duration, &dyn Fn() -> bool),
) -> Result<Probe, ProfilerError> {
    let path = resolve(binary)?;
    let file = File::open(&path).map_err(|source| ProfilerError::Read { path: path.clone(), source })?;
    let offset = function_offset(&file, function).ok_or_else(|| {
        let shown = path.display();
        ProfilerError::NotFound(format!(
            "{shown} has no function `{function}`: look at `nm -C {shown} | grep ' [tT] '` (a stripped file has none)"
        ))
    })?;
    // Samples by the clock are not asked for: nobody is watched.
    let recording = Recording { frequency_hz: 19, off_cpu: false, everybody: false, only: None };
    let (mut recorder, archive) = Recorder::start(recording)?;
    recorder.probe(&path, offset, pid)?;
    let length = turn_for(&mut recorder, length, is_over);
    let calls = archive.state().calls.clone();
    let mut samples = archive.samples(&Subject::Everybody, UnixNanos(0), UnixNanos(u64::MAX)).unwrap_or_default();
    let is_called =
        |sample: &Sample| sample.stack.last().is_some_and(|frame| frame.function == function || frame.function.ends_with(function));
    samples.retain(is_called);
    Ok(Probe { calls, samples, length })
}

/// A path, or a program's name looked up as the shell does.
fn resolve(binary: &Path) -> Result<PathBuf, ProfilerError> {
    let is_name = binary.components().count() == 1 && !binary.exists();
    let found = is_name.then(|| std::env::var_os("PATH")).flatten();
    let found = found.and_then(|paths| std::env::split_paths(&paths).map(|dir| dir.join(binary)).find(|path| path.is_file()));
    let path = found.unwrap_or_else(|| binary.to_owned());
    fs::canonicalize(&path).map_err(|source| ProfilerError::Read { path, source })
}

fn turn_for(recorder: &mut Recorder, length: Duration, is_over: &dyn Fn() -> bool) -> Duration {
    let begun = Instant::now();
    recorder.turn();
    while begun.elapsed() < length && !is_over() {
        thread::park_timeout(TURN.min(length));
        recorder.turn();
    }
    begun.elapsed()
}
