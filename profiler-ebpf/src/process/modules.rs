//! Files that code runs from, each opened once and kept open: a stack taken now must be readable when the
//! program has been replaced or has ended.

use super::{Elf, Mapping};
use std::{collections::HashMap, fs::File, os::fd::AsRawFd, path::PathBuf, sync::Arc};

/// Number of a file, or one of the three below.
pub type ModuleId = u32;
/// No file: the address itself, in its process (code made at run time).
pub const ANONYMOUS: ModuleId = u32::MAX;
/// The address itself, in the kernel.
pub const KERNEL: ModuleId = u32::MAX - 1;
/// The number of a system call.
pub const SYSCALL: ModuleId = u32::MAX - 2;

/// Files kept at most; later ones have frames without names.
const FILES_MAX: usize = 2_048;

/// One file.
#[derive(Debug)]
pub struct Module {
    /// As the process named it.
    pub path: String,
    /// What unwinding and thread contexts need; none for what is no ELF file.
    pub elf: Option<Elf>,
    /// Kept open; none where it could not be opened.
    file: Option<File>,
}

impl Module {
    /// A path that leads to the very file that ran, whatever lies there now.
    pub fn own_path(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
    }

    /// Last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// All files seen. A clone shares the files, and keeps them open on its own.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    all: Vec<Arc<Module>>,
    known: HashMap<(u64, u64), ModuleId>,
}

impl Modules {
    /// The number of a mapping's file; opens a new one through the process's own root.
    pub fn number(&mut self, pid: u32, mapping: &Mapping) -> ModuleId {
        if mapping.file.1 == 0 {
            return ANONYMOUS;
        }
        if let Some(known) = self.known.get(&mapping.file) {
            return *known;
        }
        if self.all.len() >= FILES_MAX {
            metrics::counter!("geophone_profiler_modules_dropped_total").increment(1);
            return ANONYMOUS;
        }
        let file = File::open(format!("/proc/{pid}/root{}", mapping.path)).ok();
        let same = |file: &File| file.metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::ino(&found) == mapping.file.1);
        // In a folder that is closed to us, or replaced since it was started: the kernel still has it.
        let program = || File::open(format!("/proc/{pid}/exe")).ok().filter(same);
        let mapped = || File::open(format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end)).ok();
        let file = file.filter(same).or_else(program).or_else(mapped);
        let elf = file.as_ref().and_then(Elf::open);
        let number = self.all.len() as ModuleId;
        self.all.push(Arc::new(Module { path: mapping.path.clone(), elf, file }));
        self.known.insert(mapping.file, number);
        number
    }

    /// The file of a number.
    pub fn get(&self, number: ModuleId) -> Option<&Module> {
        self.all.get(number as usize).map(|module| &**module)
    }

    /// The number of a mapping's file, if it has one.
    pub fn number_of(&self, mapping: &Mapping) -> Option<ModuleId> {
        self.known.get(&mapping.file).copied()
    }

    /// The file of a mapping, if it has been numbered.
    pub fn of(&self, mapping: &Mapping) -> Option<&Module> {
        self.known.get(&mapping.file).and_then(|number| self.get(*number))
    }
}
