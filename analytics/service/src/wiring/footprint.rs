//! Gives back the pages of the program itself that are mapped and not needed now: start-up passes once through much of
//! it. They are clean, so the kernel reads them again from the file when they are wanted. Not libraries; of the heap only
//! how many there are. Called by the ticker's upkeep. Invariant: only pages that equal the file are let go.

use std::{fs, io, ops::Range};

/// Lets go of every mapping of the program's file that cannot be written and of which no page differs from the file:
/// code and constants, not what start-up has relocated. Bytes that were resident.
pub fn let_go() -> io::Result<u64> {
    let program = fs::read_link("/proc/self/exe")?;
    let clean = clean(&fs::read_to_string("/proc/self/smaps")?, &program.to_string_lossy());
    clean.into_iter().try_fold(0, |sum, (range, resident)| forget(range).map(|()| sum + resident))
}

/// Addresses and resident bytes of the clean mappings of `program`, as `/proc/PID/smaps` tells them.
fn clean(smaps: &str, program: &str) -> Vec<(Range<usize>, u64)> {
    let mut found: Vec<(Range<usize>, u64)> = Vec::new();
    let mut is_ours = false;
    for line in smaps.lines() {
        if let Some(range) = range_of(line) {
            let mut fields = line.splitn(6, ' ').skip(1);
            let cannot_change = matches!(fields.next(), Some("r-xp" | "r--p"));
            is_ours = cannot_change && fields.nth(3).is_some_and(|name| name.trim_start() == program);
            if is_ours {
                found.push((range, 0));
            }
        } else if let (true, Some((name, size))) = (is_ours, line.split_once(':')) {
            let bytes = size.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024;
            match name {
                "Rss" => found.last_mut().into_iter().for_each(|(_, resident)| *resident = bytes),
                // A page of its own: relocated, or a breakpoint stands in it.
                "Anonymous" if bytes > 0 => is_ours = found.pop().is_none(),
                _ => {}
            }
        }
    }
    found.retain(|(_, resident)| *resident > 0);
    found
}

fn range_of(line: &str) -> Option<Range<usize>> {
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
}

/// Below this, memory is dearer than the time that threads lose by waiting for each other's heap.
const SCARCE_BYTES: u64 = 256 << 20;

/// Lets all threads share two heaps where memory is scarce: of a heap of its own each keeps what it has freed. To be
/// called before there are threads; does nothing where the C library is not glibc.
pub fn share_heaps(memory_limit: u64) {
    #[cfg(target_env = "gnu")]
    if memory_limit < SCARCE_BYTES {
        // SAFETY: sets a number that the allocator reads when it makes its next heap; no memory is touched.
        #[allow(unsafe_code, reason = "no safe form of this call exists")]
        let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
        tracing::debug!(done, "threads share two heaps");
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = memory_limit;
}

#[allow(unsafe_code, reason = "no safe form of this call exists")]
fn forget(range: Range<usize>) -> io::Result<()> {
    // SAFETY: the range is a private mapping of the program's own file, cannot be written, and no page of it differs
    // from the file, which the kernel keeps from being written while it runs. The next access maps the same bytes.
    let done = unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "1000-3000 r--p 00000000 fe:00 7      /bin/it\nRss:    8 kB\nAnonymous:      0 kB\n\
3000-5000 r-xp 00002000 fe:00 7      /bin/it\nRss:    4 kB\nAnonymous:      4 kB\n\
5000-6000 r-xp 00004000 fe:00 7      /bin/it\nRss:    4 kB\nAnonymous:      0 kB\n\
6000-7000 rw-p 00005000 fe:00 7      /bin/it\nRss:    4 kB\nAnonymous:      0 kB\n\
7000-8000 r-xp 00000000 fe:00 8      /lib/it\nRss:    4 kB\nAnonymous:      0 kB\n\
8000-9000 r-xp 00006000 fe:00 7      /bin/it\nRss:    0 kB\nAnonymous:      0 kB\n\
9000-a000 rw-p 00000000 00:00 0 \nRss:    4 kB\nAnonymous:      4 kB\n";

    #[test]
    fn only_what_equals_the_file_goes() {
        assert_eq!(clean(SMAPS, "/bin/it"), [(0x1000..0x3000, 8192), (0x5000..0x6000, 4096)]);
    }

    #[test]
    fn the_program_runs_on_without_its_pages() {
        let text = "what it says stays";
        assert!(let_go().expect("Linux tells of mappings") > 0, "a running program has pages");
        assert_eq!(text.len(), 18);
        assert!(let_go().expect("Linux tells of mappings") > 0, "what runs is mapped again");
    }
}
