//! Processes that are alive, and facts of those that the ring still speaks of.

use super::{ANONYMOUS, Identity, Mapping, ModuleId, Modules, find_thread_context, identify, read_mappings};
use crate::{
    kernel::{Watch, watch},
    symbols::Unwinder,
};
use std::{collections::HashMap, fs};

/// Looked at again so long after it was first seen: libraries and contexts come late. Then every minute.
const LOOKS_NS: [u64; 6] = [300_000_000, 1_000_000_000, 3_000_000_000, 10_000_000_000, 30_000_000_000, 60_000_000_000];
const MINUTE_NS: u64 = 60_000_000_000;
/// An address in no known mapping makes us look, but not more often than this.
const LOST_NS: u64 = 250_000_000;
/// Samples by which it is decided whether frame pointers reach.
const TRIAL: u32 = 8;

/// What the ring's answers need of a process, also of one that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's number.
    pub pid: u32,
    /// Its number in its own pid namespace.
    pub own_pid: u32,
    /// Name of the program.
    pub name: String,
    /// Whose.
    pub identity: Identity,
    /// Publishes the context of its threads.
    pub has_context: bool,
    /// Frame pointers do not reach.
    pub needs_snapshot: bool,
    /// It was seen often enough on the CPU to say whether they do.
    pub is_judged: bool,
    /// Lives.
    pub is_alive: bool,
}

/// A living process.
pub struct Process {
    /// Our number: pids come back, this does not.
    pub number: u32,
    /// What the kernel's side was told.
    pub watch: Watch,
    /// Code, by address.
    mappings: Vec<Mapping>,
    unwinder: Option<Unwinder>,
    first_ns: u64,
    looked_ns: u64,
    looks: usize,
    seen: u32,
    short: u32,
    needs_snapshot: bool,
}

impl Process {
    /// Where in which file an address lies.
    pub fn place(&self, address: u64, modules: &Modules) -> Option<(ModuleId, u64)> {
        let after = self.mappings.partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)?;
        Some(match modules.number_of(mapping) {
            Some(module) => (module, address - mapping.start + mapping.offset),
            None => (ANONYMOUS, address),
        })
    }

    /// Unwinds without frame pointers; made when first needed.
    pub fn unwinder(&mut self, modules: &Modules) -> &Unwinder {
        self.unwinder.get_or_insert_with(|| Unwinder::new(&self.mappings, modules))
    }

    /// Whether it is not known yet if frame pointers reach.
    const fn is_on_trial(&self) -> bool {
        self.seen < TRIAL && !self.needs_snapshot
    }

    /// See `Table::judge`; whether that ended the trial.
    fn judge(&mut self, frames: usize) -> bool {
        if !self.is_on_trial() {
            return false;
        }
        self.seen += 1;
        self.short += u32::from(frames < 4);
        self.needs_snapshot = self.short * 3 >= TRIAL;
        !self.is_on_trial()
    }

    /// Whether an address outside of everything known is worth another look now.
    pub const fn may_be_lost(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.looked_ns) > LOST_NS
    }

    fn is_due(&self, now_ns: u64) -> bool {
        let wait = LOOKS_NS.get(self.looks).map_or(self.looked_ns + MINUTE_NS, |after| self.first_ns + after);
        now_ns >= wait
    }
}

/// All processes.
#[derive(Default)]
pub struct Table {
    alive: HashMap<u32, Process>,
    facts: HashMap<u32, Facts>,
    next: u32,
    /// `service.name` of processes as their own telemetry says.
    told: HashMap<u32, Identity>,
    /// Every process is watched, not only those of a service.
    watch_all: bool,
    /// Only these are of interest.
    only: Option<Vec<u32>>,
}

impl Table {
    /// A table for a recording of these processes only (none = of everybody).
    pub fn new(watch_all: bool, only: Option<Vec<u32>>) -> Self {
        Self { watch_all, only, ..Self::default() }
    }

    /// The process, looked at if it is new; and whether the kernel's side must be told.
    pub fn meet(&mut self, pid: u32, comm: &str, now_ns: u64, modules: &mut Modules) -> (&mut Process, bool) {
        let is_new = !self.alive.contains_key(&pid);
        if is_new {
            let number = self.next;
            self.next += 1;
            let process = Process {
                number,
                watch: Watch::default(),
                mappings: Vec::new(),
                unwinder: None,
                first_ns: now_ns,
                looked_ns: 0,
                looks: 0,
                seen: 0,
                short: 0,
                needs_snapshot: false,
            };
            self.alive.insert(pid, process);
            self.facts.insert(number, Facts { pid, own_pid: own_pid(pid), name: comm.to_owned(), is_alive: true, ..Facts::default() });
            self.look(pid, now_ns, modules);
        }
        (self.alive.get_mut(&pid).expect("it was inserted above"), is_new)
    }

    /// The process, if it is known.
    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.alive.get_mut(&pid)
    }

    /// Learns from a sample whether frame pointers reach; gives what the kernel's side must know when that has just been
    /// decided.
    pub fn judge(&mut self, pid: u32, frames: usize) -> Option<Watch> {
        let process = self.alive.get_mut(&pid)?;
        if !process.judge(frames) {
            return None;
        }
        process.watch.flags &= !watch::SNAPSHOT;
        process.watch.flags |= u32::from(process.needs_snapshot || self.only.is_some()) * watch::SNAPSHOT;
        if let Some(facts) = self.facts.get_mut(&process.number) {
            (facts.needs_snapshot, facts.is_judged) = (process.needs_snapshot, true);
        }
        Some(process.watch)
    }

    /// Reads what the process is now; whether that changes what the kernel's side must know.
    pub fn look(&mut self, pid: u32, now_ns: u64, modules: &mut Modules) -> bool {
        let Some(process) = self.alive.get_mut(&pid) else { return false };
        // A look because of a lost address is one more, not one of those that are planned.
        process.looks += usize::from(process.is_due(now_ns));
        process.looked_ns = now_ns;
        let all = read_mappings(pid);
        if all.is_empty() {
            return false;
        }
        let executable: Vec<Mapping> = all.iter().filter(|mapping| mapping.is_executable).cloned().collect();
        if executable != process.mappings {
            for mapping in &executable {
                modules.number(pid, mapping);
            }
            process.mappings = executable;
            process.unwinder = None;
        }
        let facts = self.facts.entry(process.number).or_default();
        let identity = identify(pid, &all);
        if !identity.service.is_empty() {
            facts.identity = identity;
        } else if let Some(told) = self.told.get(&pid) {
            facts.identity = told.clone();
        }
        if let Some(name) = program_name(pid) {
            facts.name = name;
        }
        let context = find_thread_context(pid, &all, |mapping| modules.of(mapping));
        facts.has_context = context.is_some();
        let mut wanted = context.unwrap_or_default();
        let is_watched = self.watch_all || facts.has_context || !facts.identity.service.is_empty();
        // The recorder's own sleeps would only be told because they are told.
        let is_watched = is_watched && pid != std::process::id();
        let is_watched = self.only.as_ref().map_or(is_watched, |only| only.contains(&pid));
        wanted.flags |= u32::from(is_watched) * watch::WATCHED;
        wanted.flags |= u32::from(self.watch_all || self.only.is_some()) * watch::KEEP_UNTAGGED;
        // Whole stacks from the first sample on of whoever is asked about, and asked for by hand whatever the trial says.
        let is_whole = process.needs_snapshot || is_watched && (process.is_on_trial() || self.only.is_some());
        wanted.flags |= u32::from(is_whole) * watch::SNAPSHOT;
        wanted.flags |= process.watch.flags & watch::BURSTING;
        let changed = wanted != process.watch;
        process.watch = wanted;
        changed
    }

    /// What a service's own telemetry says of a process.
    pub fn tell(&mut self, pid: u32, identity: Identity) {
        const TOLD_MAX: usize = 10_000;
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(pid, identity);
    }

    /// Pids that should be looked at again.
    pub fn due(&self, now_ns: u64) -> Vec<u32> {
        self.alive.iter().filter(|(_, process)| process.is_due(now_ns)).map(|(pid, _)| *pid).collect()
    }

    /// Pids known.
    pub fn pids(&self) -> Vec<u32> {
        self.alive.keys().copied().collect()
    }

    /// The process has ended, or runs another program.
    pub fn end(&mut self, pid: u32) {
        if let Some(facts) = self.alive.remove(&pid).and_then(|process| self.facts.get_mut(&process.number)) {
            facts.is_alive = false;
        }
    }

    /// Facts by our number.
    pub fn facts(&self, number: u32) -> Option<&Facts> {
        self.facts.get(&number)
    }

    /// All facts.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Facts)> {
        self.facts.iter().map(|(number, facts)| (*number, facts))
    }

    /// Forgets dead processes that nobody speaks of any more.
    pub fn forget(&mut self, is_spoken_of: impl Fn(u32) -> bool) {
        self.facts.retain(|number, facts| facts.is_alive || is_spoken_of(*number));
    }
}

/// Its number in its own pid namespace: the last of `NSpid`.
fn own_pid(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok()).unwrap_or(pid)
}

/// Name of the program file, else the kernel's short name.
fn program_name(pid: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = exe.and_then(|path| Some(path.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned()));
    name.or_else(|| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|comm| comm.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_known_by_its_mappings() {
        let (mut table, mut modules) = (Table::new(true, None), Modules::default());
        let pid = std::process::id();
        let (process, is_new) = table.meet(pid, "test", 1, &mut modules);
        assert!(is_new && process.watch.flags & watch::WATCHED == 0, "the recorder does not watch itself");
        let number = process.number;
        let here = our_own_process_is_known_by_its_mappings as fn() as usize as u64;
        let (module, offset) = process.place(here, &modules).expect("this code is mapped");
        assert!(offset > 0 && modules.get(module).is_some_and(|module| module.elf.is_some()));
        assert_eq!(process.place(1, &modules), None);
        table.end(pid);
        assert!(table.facts(number).is_some_and(|facts| !facts.is_alive));
        table.forget(|_| false);
        assert_eq!(table.facts(number), None);
    }

    #[test]
    fn short_chains_ask_for_snapshots() {
        let (mut table, mut modules) = (Table::new(false, None), Modules::default());
        let pid = std::process::id();
        let number = table.meet(pid, "test", 1, &mut modules).0.number;
        let decided: Vec<Watch> = (0..8).filter_map(|_| table.judge(pid, 1)).collect();
        assert!(decided.len() == 1 && decided[0].flags & watch::SNAPSHOT != 0, "{decided:?}");
        assert!(table.facts(number).is_some_and(|facts| facts.needs_snapshot && facts.is_judged));
    }

    #[test]
    fn stacks_are_whole_until_frame_pointers_are_known_to_reach() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it is everywhere");
        let (mut table, mut modules) = (Table::new(true, None), Modules::default());
        let (process, _) = table.meet(child.id(), "sleep", 1, &mut modules);
        let number = process.number;
        assert!(process.watch.flags & watch::SNAPSHOT != 0, "nothing is known yet");
        assert_eq!(table.facts(number).map(|facts| facts.is_judged), Some(false));
        let decided: Vec<Watch> = (0..20).filter_map(|_| table.judge(child.id(), 12)).collect();
        assert!(decided.len() == 1 && decided[0].flags & watch::SNAPSHOT == 0, "{decided:?}");
        assert!(!table.look(child.id(), 2, &mut modules), "the verdict stands");
        assert!(table.facts(number).is_some_and(|facts| !facts.needs_snapshot && facts.is_judged));
        child.kill().and_then(|()| child.wait()).expect("it is ours");
    }
}
