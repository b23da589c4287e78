//! Where a process keeps the context of each thread (OTEP 4947): the thread-local variable
//! `otel_thread_ctx_v1`, found in the executable or in any shared object, however the linker reaches it.

use super::{Mapping, Memory, Module};
use crate::kernel::{Watch, watch};
use object::{
    Endianness,
    elf::{PT_TLS, R_X86_64_DTPMOD64, R_X86_64_TLSDESC, R_X86_64_TPOFF64, SHT_RELA, STT_TLS},
    read::elf::{ElfFile, FileHeader, ProgramHeader, Rela, SectionHeader, Sym},
};
use std::os::unix::fs::FileExt;

/// The variable's name.
pub const SYMBOL: &str = "otel_thread_ctx_v1";

/// How the variable is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the thread pointer, if this file is the executable.
    static_offset: i64,
    /// The word in memory (address as stated) that says where it is, if it is a shared object.
    slot: Option<Slot>,
    /// Offset within this file's block of thread-local variables.
    in_block: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Two words: a function and its argument.
    Descriptor(u64),
    /// One word: the offset from the thread pointer.
    Offset(u64),
    /// Two words: number of the module, offset in its block.
    Module(u64),
}

/// Looks for the variable in a file.
pub(super) fn place_of<H: FileHeader<Endian = Endianness>>(elf: &ElfFile<'_, H>) -> Option<Place> {
    let (endian, bytes) = (elf.endian(), elf.data());
    // The public table first; then the private one, for programs that forgot to export it.
    let (index, value) = [elf.elf_dynamic_symbol_table(), elf.elf_symbol_table()].into_iter().enumerate().find_map(|(which, table)| {
        let strings = table.strings();
        let (index, symbol) = table.enumerate().find(|(_, symbol)| {
            symbol.st_type() == STT_TLS
                && symbol.name(endian, strings).is_ok_and(|name| name == SYMBOL.as_bytes())
                && symbol.st_shndx(endian) != 0
        })?;
        Some(((which == 0).then_some(index.0), symbol.st_value(endian).into()))
    })?;
    let segment = elf.elf_program_headers().iter().find(|segment| segment.p_type(endian) == PT_TLS)?;
    let (size, align): (u64, u64) = (segment.p_memsz(endian).into(), segment.p_align(endian).into());
    let size = size.next_multiple_of(align.max(1));
    let mut slot = None;
    for section in elf.elf_section_table().iter().filter(|section| section.sh_type(endian) == SHT_RELA) {
        let Ok(Some((relocations, _))) = section.rela(endian, bytes) else { continue };
        for relocation in relocations {
            let symbol = relocation.r_sym(endian, false) as usize;
            let addend: i64 = relocation.r_addend(endian).into();
            let is_ours = if symbol == 0 { addend == value as i64 } else { Some(symbol) == index };
            let at: u64 = relocation.r_offset(endian).into();
            match relocation.r_type(endian, false) {
                R_X86_64_TLSDESC if is_ours => slot = Some(Slot::Descriptor(at)),
                R_X86_64_TPOFF64 if is_ours => slot = Some(Slot::Offset(at)),
                // For a local variable the module's number has no symbol: any serves.
                R_X86_64_DTPMOD64 if slot.is_none() && (symbol == 0 || Some(symbol) == index) => slot = Some(Slot::Module(at)),
                _ => {}
            }
        }
    }
    Some(Place { static_offset: value as i64 - size as i64, slot, in_block: value as i64 })
}

/// Where the kernel's side finds the context of this process's threads, if it publishes any.
pub fn find_thread_context<'a>(pid: u32, mappings: &[Mapping], module_of: impl Fn(&Mapping) -> Option<&'a Module>) -> Option<Watch> {
    let executable = std::fs::metadata(format!("/proc/{pid}/exe")).ok().map(|exe| std::os::unix::fs::MetadataExt::ino(&exe));
    for mapping in mappings.iter().filter(|mapping| mapping.file.1 != 0 && mapping.is_executable) {
        let Some(elf) = module_of(mapping).and_then(|module| module.elf.as_ref()) else { continue };
        let Some(place) = elf.context else { continue };
        if Some(mapping.file.1) == executable {
            return Some(Watch { tls_offset: place.static_offset, tls_module: 0, flags: watch::HAS_CONTEXT });
        }
        let bias = elf.bias(mapping.start, mapping.offset)?;
        if let Some(found) = place.slot.and_then(|slot| resolve(pid, bias, slot, place.in_block)) {
            return Some(found);
        }
    }
    None
}

/// Reads what the dynamic linker wrote into the slot.
fn resolve(pid: u32, bias: u64, slot: Slot, in_block: i64) -> Option<Watch> {
    let memory = Memory::of(pid);
    let word = |at: u64| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, at).ok().map(|()| u64::from_ne_bytes(bytes))
    };
    let by_static = |offset: u64| Watch { tls_offset: offset as i64, tls_module: 0, flags: watch::HAS_CONTEXT };
    let by_module = |module: u64, offset: i64| {
        let flags = watch::HAS_CONTEXT | watch::BY_DTV;
        (1..1 << 20).contains(&module).then_some(Watch { tls_offset: offset, tls_module: module as u32, flags })
    };
    // Offsets in the static block are small and negative; anything else is an address.
    let is_static = |offset: u64| (-(1 << 31)..0).contains(&(offset as i64));
    match slot {
        Slot::Offset(at) => word(bias.wrapping_add(at)).filter(|offset| is_static(*offset)).map(by_static),
        Slot::Module(at) => by_module(word(bias.wrapping_add(at))?, in_block),
        Slot::Descriptor(at) => {
            let argument = word(bias.wrapping_add(at) + 8)?;
            if is_static(argument) {
                return Some(by_static(argument));
            }
            // glibc's argument of the dynamic case: module, offset.
            by_module(word(argument)?, word(argument + 8)? as i64)
        }
    }
}
