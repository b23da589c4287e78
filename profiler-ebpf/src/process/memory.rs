//! Another process's memory. Not `/proc/PID/mem` and `/proc/PID/environ`: their owners alone may open these, while the
//! system call asks for CAP_SYS_PTRACE only, so that a recorder needs no root to know other users' services.

use std::{
    fs,
    io::{self, Error, ErrorKind},
    os::unix::fs::FileExt,
};

/// An environment is a few kilobytes; what is beyond this is not looked at.
const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;
/// Where `/proc/PID/stat` says the environment begins and ends, counted after the program's name.
const ENVIRONMENT_FIELDS: [usize; 2] = [47, 48];

/// Memory of the process with this number, by address.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pid: u32,
}

impl Memory {
    /// Nothing is looked at yet.
    pub const fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// The variables it was started with, each ended by a zero byte; empty where it is gone or hidden from us.
    pub fn environment(self) -> Vec<u8> {
        if let Ok(text) = fs::read(format!("/proc/{}/environ", self.pid)) {
            return text;
        }
        let Some([from, to]) = self.environment_range() else { return Vec::new() };
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from).min(ENVIRONMENT_BYTES_MAX)).unwrap_or(0)];
        self.read_exact_at(&mut bytes, from).map(|()| bytes).unwrap_or_default()
    }

    fn environment_range(self) -> Option<[u64; 2]> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // A program's name may hold anything, also brackets and spaces.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let [from, to] = ENVIRONMENT_FIELDS.map(|at| fields.get(at)?.parse::<u64>().ok());
        Some([from?, to?])
    }
}

impl FileExt for Memory {
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        let pid = libc::pid_t::try_from(self.pid).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        let here = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
        let there = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: to.len() };
        // SAFETY: the kernel writes at most `to.len()` bytes to `to`, which is ours alone; the other address is only looked
        // at in the other process, where the kernel checks it.
        #[allow(unsafe_code, reason = "the standard library does not know this system call")]
        let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
        usize::try_from(read).map_err(|_| Error::last_os_error())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn what_lies_in_memory_is_read_and_nothing_else() {
        let (known, mut found) = (*b"geophone", [0; 8]);
        let memory = Memory::of(process::id());
        memory.read_exact_at(&mut found, known.as_ptr() as u64).expect("our own memory");
        assert_eq!(found, known);
        assert!(memory.read_exact_at(&mut found, 8).is_err(), "nothing lies there");
        assert!(Memory::of(u32::MAX).read_exact_at(&mut found, 8).is_err());
    }

    #[test]
    fn the_environment_is_found_in_memory_too() {
        let memory = Memory::of(process::id());
        let [from, to] = memory.environment_range().expect("Linux");
        let mut found = vec![0; usize::try_from(to - from).expect("small")];
        memory.read_exact_at(&mut found, from).expect("our own memory");
        assert_eq!(found, memory.environment());
        assert!(Memory::of(u32::MAX).environment().is_empty());
    }
}
