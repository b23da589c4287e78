//! Stacks from a few kilobytes of stack memory and `.eh_frame`, for code without frame pointers. The
//! bytes are looked at once, on arrival, and never kept.

use crate::{
    kernel::Event,
    process::{Elf, Mapping, Modules, Section},
};
use framehop::{
    ExplicitModuleSectionInfo, Module, Unwinder as _,
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};

/// Frames of one stack at most.
const FRAMES_MAX: usize = 256;

/// Rules found before; shared by all processes.
pub struct UnwindCache(CacheX86_64);

impl Default for UnwindCache {
    fn default() -> Self {
        Self(CacheX86_64::new())
    }
}

/// Unwinds the stacks of one process as it is mapped now.
pub struct Unwinder {
    inner: UnwinderX86_64<Section>,
}

impl Unwinder {
    /// With the unwind tables of every file that the process runs code from.
    pub fn new(mappings: &[Mapping], modules: &Modules) -> Self {
        let mut inner = UnwinderX86_64::new();
        for mapping in mappings {
            let Some((module, elf)) = modules.of(mapping).and_then(|module| Some((module, module.elf.as_ref()?))) else { continue };
            let Some(bias) = elf.bias(mapping.start, mapping.offset) else { continue };
            inner.add_module(Module::new(module.name().to_owned(), mapping.start..mapping.end, bias, sections(elf)));
        }
        Self { inner }
    }

    /// Appends addresses within the calling instructions, innermost first; says whether the end of the
    /// stack was reached.
    pub fn unwind(&self, event: &Event<'_>, cache: &mut UnwindCache, frames: &mut Vec<u64>) -> bool {
        let (registers, bytes) = (&event.header, event.stack);
        let mut read = |at: u64| {
            let from = usize::try_from(at.checked_sub(registers.sp).ok_or(())?).map_err(|_| ())?;
            let word = bytes.get(from..from.checked_add(8).ok_or(())?).ok_or(())?;
            Ok(u64::from_ne_bytes(word.try_into().map_err(|_| ())?))
        };
        let registers = UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp);
        let mut found = self.inner.iter_frames(registers.ip(), registers, &mut cache.0, &mut read);
        for _ in 0..FRAMES_MAX {
            match found.next() {
                Ok(Some(frame)) => frames.push(frame.address_for_lookup()),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

fn sections(elf: &Elf) -> ExplicitModuleSectionInfo<Section> {
    let bytes = |placed: &Option<crate::process::Placed>| placed.as_ref().map(|placed| placed.bytes.clone());
    let at = |placed: &Option<crate::process::Placed>| placed.as_ref().map(|placed| placed.at.clone());
    ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: at(&elf.text),
        text: bytes(&elf.text),
        got_svma: elf.got.clone(),
        eh_frame_svma: at(&elf.eh_frame),
        eh_frame: bytes(&elf.eh_frame),
        eh_frame_hdr_svma: at(&elf.eh_frame_hdr),
        eh_frame_hdr: bytes(&elf.eh_frame_hdr),
        stubs_svma: None,
        stub_helper_svma: None,
        unwind_info: None,
        debug_frame: None,
        text_segment_svma: None,
        text_segment: None,
    }
}
