//! Names, files and lines of frames, cached. Off the hot path: called for stacks that somebody looks at.

use super::{perf_map::PerfMap, syscalls};
use crate::{
    process::{ANONYMOUS, KERNEL, Module, ModuleId, Modules, SYSCALL},
    sample::Frame,
};
use blazesym::{
    MaybeDefault,
    symbolize::{
        Input, Symbolized, Symbolizer,
        source::{Elf, Kernel, Source},
    },
};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

/// Frames whose names are remembered.
const CACHED_MAX: usize = 20_000;
/// Files whose symbols are held; all are let go when more come.
const OPEN_MAX: usize = 64;

/// What one address stands for: itself and what was inlined there, outermost first.
pub type Name = Vec<Frame>;

/// A frame and, for code without a file, whose it is: (pid, pid in its own namespace).
type Key = (ModuleId, u64, u32);

/// The symbolizer, moved as a whole.
struct Moved(Symbolizer);

#[allow(unsafe_code, reason = "the symbolizer counts references without atomics")]
// SAFETY: `Symbolizer` is not `Send` only for its internal `Rc`s. None of them leaves it: results are
// copied into owned frames before a call returns, and it is reached through `&mut Names` alone, so all
// clones move between threads together.
unsafe impl Send for Moved {}

/// Names of frames.
#[derive(Default)]
pub struct Names {
    symbolizer: Option<Moved>,
    opened: HashSet<PathBuf>,
    known: HashMap<Key, Name>,
    perf_maps: HashMap<u32, PerfMap>,
    /// Since the last `rest`.
    was_used: bool,
}

/// A symbol as people write it.
pub fn demangled(symbol: &str) -> String {
    let rust = format!("{:#}", rustc_demangle::demangle(symbol));
    if rust == symbol { symbol.to_owned() } else { rust }
}

fn plain(function: String) -> Frame {
    Frame { function, ..Frame::default() }
}

impl Names {
    /// Finds the names of many frames at once; `whose` is the process (pid, pid in its own namespace).
    pub fn learn(&mut self, frames: impl IntoIterator<Item = ((ModuleId, u64), (u32, u32))>, modules: &Modules) {
        if self.known.len() > CACHED_MAX {
            self.known.clear();
        }
        self.was_used = true;
        self.perf_maps.clear();
        let mut wanted: HashMap<ModuleId, HashSet<u64>> = HashMap::new();
        for ((module, at), (pid, own_pid)) in frames {
            if self.known.contains_key(&(module, at, if module == ANONYMOUS { pid } else { 0 })) {
                continue;
            }
            match module {
                ANONYMOUS => {
                    let map = self.perf_maps.entry(pid).or_insert_with(|| PerfMap::read(pid, own_pid));
                    let name = map.name(at).map_or_else(|| "[unknown]".to_owned(), str::to_owned);
                    self.known.insert((module, at, pid), vec![plain(name)]);
                }
                SYSCALL => drop(self.known.insert((module, at, 0), vec![plain(syscalls::name(at))])),
                _ => drop(wanted.entry(module).or_default().insert(at)),
            }
        }
        for (module, addresses) in wanted {
            let addresses: Vec<u64> = addresses.into_iter().collect();
            let mut names = self.look_up(module, &addresses, modules);
            let file = modules.get(module).map_or("[kernel]", Module::name);
            names.iter_mut().flatten().for_each(|frame| file.clone_into(&mut frame.module));
            self.known.extend(addresses.into_iter().zip(names).map(|(at, name)| ((module, at, 0), name)));
        }
    }

    /// Lets symbol tables go that nobody has needed since the last call; names that were found stay.
    pub fn rest(&mut self) {
        if !std::mem::take(&mut self.was_used) {
            self.symbolizer = None;
            self.opened.clear();
            self.perf_maps.clear();
        }
    }

    /// The name of a frame that was learnt.
    pub fn name(&self, (module, at): (ModuleId, u64), pid: u32) -> &[Frame] {
        self.known.get(&(module, at, if module == ANONYMOUS { pid } else { 0 })).map_or(&[], Vec::as_slice)
    }

    fn look_up(&mut self, module: ModuleId, addresses: &[u64], modules: &Modules) -> Vec<Name> {
        let file = if module == KERNEL { None } else { modules.get(module) };
        let fallback = |_: &u64| vec![plain(file.map_or_else(|| "[kernel]".to_owned(), |file| format!("[{}]", file.name())))];
        let source = match file.map(|file| file.own_path()) {
            Some(Some(path)) => {
                self.make_room(&path);
                Source::Elf(Elf::new(path))
            }
            Some(None) => return addresses.iter().map(fallback).collect(),
            None => Source::Kernel(Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() }),
        };
        let symbolizer = self.symbolizer.get_or_insert_with(|| Moved(Symbolizer::builder().enable_auto_reload(false).build()));
        let input = if module == KERNEL { Input::AbsAddr(addresses) } else { Input::FileOffset(addresses) };
        match symbolizer.0.symbolize(&source, input) {
            Ok(found) => found.iter().zip(addresses).map(|(found, at)| name_of(found).unwrap_or_else(|| fallback(at))).collect(),
            Err(error) => {
                metrics::counter!("geophone_profiler_symbols_failed_total").increment(1);
                tracing::debug!(file = file.map_or("kernel", |file| &file.path), "no symbols: {error}");
                addresses.iter().map(fallback).collect()
            }
        }
    }

    /// Symbol tables of large programs are large: not too many at a time.
    fn make_room(&mut self, path: &PathBuf) {
        if self.opened.len() >= OPEN_MAX && !self.opened.contains(path) {
            self.symbolizer = None;
            self.opened.clear();
        }
        self.opened.insert(path.clone());
    }
}

fn name_of(found: &Symbolized<'_>) -> Option<Name> {
    let symbol = found.as_sym()?;
    let frame = |name: &str, code: Option<&blazesym::symbolize::CodeInfo<'_>>| Frame {
        function: without_hash(name).to_owned(),
        file: code.map(|code| code.to_path().display().to_string()).unwrap_or_default(),
        line: code.and_then(|code| code.line).unwrap_or(0),
        module: String::new(),
    };
    // Inlined functions come outermost first, the last is where the address really is.
    let mut names = vec![frame(&symbol.name, symbol.code_info.as_deref())];
    names.extend(symbol.inlined.iter().map(|inlined| frame(&inlined.name, inlined.code_info.as_ref())));
    Some(names)
}

/// `name::h0123456789abcdef` is `name`.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((before, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_go_and_names_stay() {
        assert_eq!(without_hash("cart::add::h0123456789abcdef"), "cart::add");
        assert_eq!(without_hash("cart::hello"), "cart::hello");
        assert_eq!(demangled("_ZN4cart3add17h0123456789abcdefE"), "cart::add");
        assert_eq!(demangled("malloc"), "malloc");
    }

    #[test]
    fn what_has_no_name_is_named_after_its_place() {
        let mut names = Names::default();
        names.learn([((SYSCALL, 202), (1, 1)), ((ANONYMOUS, 7), (0, 0)), ((3, 9), (1, 1))], &Modules::default());
        assert_eq!(names.name((SYSCALL, 202), 1)[0].function, "sys_futex");
        assert_eq!(names.name((ANONYMOUS, 7), 0)[0].function, "[unknown]");
        assert_eq!(names.name((3, 9), 1)[0].function, "[kernel]");
    }
}
