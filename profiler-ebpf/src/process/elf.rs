//! The few facts of an ELF file that the profiler needs, read once per file: where segments lie, unwind
//! sections, the thread-local symbol of the thread context.

use super::thread_context::{Place, place_of};
use memmap2::Mmap;
use object::{
    Endianness,
    elf::{FileHeader64, PF_X, PT_LOAD},
    read::elf::{ElfFile64, ProgramHeader, SectionHeader},
};
use std::{
    fs::File,
    ops::{Deref, Range},
    sync::Arc,
};

type Header = FileHeader64<Endianness>;

/// Some bytes of a mapped file.
#[derive(Clone, Debug)]
pub struct Section {
    file: Arc<Mmap>,
    range: Range<usize>,
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }
}

/// A section with the address it states for itself.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Addresses as the file states them.
    pub at: Range<u64>,
    /// Bytes.
    pub bytes: Section,
}

/// Facts of one file.
#[derive(Clone, Debug, Default)]
pub struct Elf {
    /// Loaded segments with code: offset in the file, its length there, address as stated. Neighbours may
    /// share a page of the file, so those without code would mislead.
    segments: Vec<(u64, u64, u64)>,
    /// `.text`.
    pub text: Option<Placed>,
    /// `.got`: addresses only.
    pub got: Option<Range<u64>>,
    /// `.eh_frame`.
    pub eh_frame: Option<Placed>,
    /// `.eh_frame_hdr`.
    pub eh_frame_hdr: Option<Placed>,
    /// Where a thread's context is found, if the file publishes it.
    pub context: Option<Place>,
}

fn map(file: &File) -> Option<Mmap> {
    // SAFETY: mapped read-only and private. Code that runs is not written in place (the kernel refuses it for executables,
    // packagers replace files), which would be the only way to change what is read.
    #[allow(unsafe_code, reason = "tables of large programs must not be copied to memory")]
    unsafe { Mmap::map(file) }.ok()
}

impl Elf {
    /// Reads the file; `None` where it is no ELF file for this machine.
    pub fn open(file: &File) -> Option<Self> {
        // What is read now, symbols above all, is let go at the end; of what is kept a page is read when it is needed.
        let (now, map) = (map(file)?, Arc::new(map(file)?));
        let parsed = ElfFile64::<Endianness>::parse(&*now).ok()?;
        let endian = parsed.endian();
        let mut elf = Self::default();
        let is_code =
            |segment: &&object::elf::ProgramHeader64<Endianness>| segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_X != 0;
        for segment in parsed.elf_program_headers().iter().filter(is_code) {
            elf.segments.push((segment.p_offset(endian), segment.p_filesz(endian), segment.p_vaddr(endian)));
        }
        let sections = parsed.elf_section_table();
        for section in sections.iter() {
            let name = sections.section_name(endian, section).unwrap_or_default();
            let at = section.sh_addr(endian)..section.sh_addr(endian) + section.sh_size(endian);
            let range = section.file_range(endian).and_then(|(from, length)| {
                let from = usize::try_from(from).ok()?;
                let to = from.checked_add(usize::try_from(length).ok()?)?;
                (to <= map.len()).then_some(from..to)
            });
            let placed = || range.clone().map(|range| Placed { at: at.clone(), bytes: Section { file: map.clone(), range } });
            match name {
                b".text" => elf.text = placed(),
                b".got" => elf.got = Some(at.clone()),
                b".eh_frame" => elf.eh_frame = placed(),
                b".eh_frame_hdr" => elf.eh_frame_hdr = placed(),
                _ => {}
            }
        }
        elf.context = place_of::<Header>(&parsed);
        Some(elf)
    }

    /// What an address in memory lies above the one that the file states, given a mapping of its code.
    pub fn bias(&self, mapped_at: u64, file_offset: u64) -> Option<u64> {
        let (offset, _, address) = self.segments.iter().find(|(offset, length, _)| {
            let page = offset & !0xfff;
            (page..offset + length).contains(&file_offset)
        })?;
        Some(mapped_at.wrapping_sub(file_offset).wrapping_add(*offset).wrapping_sub(*address))
    }

    /// The place in the file of an address that it states.
    pub fn file_offset(&self, stated: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|(_, length, address)| (*address..address + length).contains(&stated))
            .map(|(offset, _, address)| stated - address + offset)
    }
}

/// Where in the file a function begins, by name: the whole symbol, or its end after `::`.
pub fn function_offset(file: &File, wanted: &str) -> Option<u64> {
    use object::{Object as _, ObjectSymbol as _, SymbolKind};
    let map = map(file)?;
    let parsed = object::File::parse(&*map).ok()?;
    let elf = Elf::open(file)?;
    let functions =
        || parsed.symbols().chain(parsed.dynamic_symbols()).filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    let exact = functions().find(|symbol| symbol.name() == Ok(wanted));
    let spelt = || {
        functions().find(|symbol| {
            let name = crate::symbols::demangled(symbol.name().unwrap_or_default());
            name == wanted || name.strip_suffix(wanted).is_some_and(|before| before.ends_with("::"))
        })
    };
    elf.file_offset(exact.or_else(spelt)?.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Elf {
        Elf::open(&File::open("/proc/self/exe").expect("we run")).expect("an ELF file")
    }

    #[test]
    fn our_own_program_has_what_unwinding_needs() {
        let elf = own();
        assert!(elf.eh_frame.is_some() && elf.eh_frame_hdr.is_some() && elf.text.is_some());
    }

    #[test]
    fn a_function_is_where_its_name_says() {
        let file = File::open("/proc/self/exe").expect("we run");
        let offset = function_offset(&file, "process::elf::function_offset").expect("this file has symbols");
        let maps = super::super::read_mappings(std::process::id());
        let text = maps.iter().find(|mapping| mapping.is_executable).expect("code runs");
        let address = text.start - text.offset + offset;
        assert_eq!(address, function_offset as fn(&File, &str) -> Option<u64> as usize as u64);
        assert_eq!(function_offset(&file, "no_such_function"), None);
    }

    #[test]
    fn rubbish_is_no_elf_file() {
        let file = File::open("/proc/self/cmdline").expect("we run");
        assert!(Elf::open(&file).is_none());
    }
}
