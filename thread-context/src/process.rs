//! Who the process is, for profilers (OTEP 4719): a small mapping with a name that they look for.

use std::{io, sync::Mutex};

/// Why nothing was published.
#[derive(Debug)]
pub enum PublishError {
    /// The system refused the mapping.
    Refused(io::Error),
    /// Only Linux has readers.
    Unsupported,
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(to, "the system refused the mapping: {why}"),
            Self::Unsupported => write!(to, "process context is read on Linux only"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Bytes of the mapping: header and payload.
const ROOM: usize = 4096;
const HEADER: usize = 32;
const VERSION: u32 = 2;

/// Address of the mapping, 0 before the first call.
static MAPPED: Mutex<usize> = Mutex::new(0);

/// Publishes resource attributes such as `("service.name", "cart")`; a second call replaces them.
/// Attributes beyond 4 KiB are left out.
pub fn publish_process(attributes: &[(&str, &str)]) -> Result<(), PublishError> {
    let mut mapped = MAPPED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *mapped == 0 {
        *mapped = system::map(ROOM)?;
    }
    let mut resource = Vec::new();
    for (key, value) in attributes {
        let mut any = Vec::new();
        field(&mut any, 1, value.as_bytes());
        let mut pair = Vec::new();
        field(&mut pair, 1, key.as_bytes());
        field(&mut pair, 2, &any);
        if resource.len() + pair.len() + 8 > ROOM - HEADER - 8 {
            break;
        }
        field(&mut resource, 1, &pair);
    }
    let mut payload = Vec::new();
    field(&mut payload, 1, &resource);
    system::write(*mapped, &payload);
    Ok(())
}

/// A length-delimited protobuf field.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod system {
    use super::{HEADER, PublishError, VERSION};
    use std::{
        ffi::{c_char, c_int, c_uint, c_void},
        io,
        sync::atomic::{Ordering, fence},
    };

    // The C library is linked by the standard library anyway; four of its functions need no crate.
    #[allow(unsafe_code, reason = "declarations of the C library")]
    // SAFETY: as in <sys/mman.h>, <unistd.h> and <time.h> of 64-bit Linux.
    unsafe extern "C" {
        fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
        fn ftruncate(file: c_int, length: i64) -> c_int;
        fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
        fn close(file: c_int) -> c_int;
        fn clock_gettime(clock: c_int, to: *mut Time) -> c_int;
    }

    const CLOSE_ON_EXEC: c_uint = 1;
    const READ_WRITE: c_int = 3;
    const SHARED: c_int = 1;
    const MONOTONIC: c_int = 1;

    #[allow(unsafe_code, reason = "calls of the C library")]
    pub fn map(room: usize) -> Result<usize, PublishError> {
        let refused = || PublishError::Refused(io::Error::last_os_error());
        // SAFETY: the name ends in a zero byte; the descriptor is closed on every way out; a mapping of a
        // file of our own disturbs nobody.
        unsafe {
            let file = memfd_create(c"OTEL_CTX".as_ptr(), CLOSE_ON_EXEC);
            if file < 0 {
                return Err(refused());
            }
            let length = i64::try_from(room).unwrap_or(i64::MAX);
            let at = if ftruncate(file, length) == 0 {
                mmap(std::ptr::null_mut(), room, READ_WRITE, SHARED, file, 0)
            } else {
                usize::MAX as *mut c_void
            };
            let error = refused();
            close(file);
            if at as usize == usize::MAX { Err(error) } else { Ok(at as usize) }
        }
    }

    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }

    #[allow(unsafe_code, reason = "calls of the C library")]
    fn published_at() -> u64 {
        let mut now = Time { seconds: 0, nanoseconds: 0 };
        // SAFETY: `now` is a valid place for the two numbers.
        unsafe { clock_gettime(MONOTONIC, &raw mut now) };
        // 0 means "being written".
        (now.seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(now.nanoseconds as u64).max(1)
    }

    #[allow(unsafe_code, reason = "memory that another program reads")]
    pub fn write(at: usize, payload: &[u8]) {
        let header = at as *mut u8;
        // SAFETY: `at` is the mapping made above, which is never unmapped; header and payload fit it (the
        // caller bounds the payload); the caller's lock makes us the only writer.
        unsafe {
            let stamp = header.add(16).cast::<u64>();
            stamp.write_volatile(0);
            fence(Ordering::SeqCst);
            std::ptr::copy_nonoverlapping(payload.as_ptr(), header.add(HEADER), payload.len());
            header.add(8).cast::<u32>().write_volatile(VERSION);
            header.add(12).cast::<u32>().write_volatile(u32::try_from(payload.len()).unwrap_or(0));
            header.add(24).cast::<u64>().write_volatile(at as u64 + HEADER as u64);
            std::ptr::copy_nonoverlapping(b"OTEL_CTX".as_ptr(), header, 8);
            fence(Ordering::SeqCst);
            stamp.write_volatile(published_at());
        }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod system {
    pub fn map(_: usize) -> Result<usize, super::PublishError> {
        Err(super::PublishError::Unsupported)
    }

    pub fn write(_: usize, _: &[u8]) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_mapping_bears_the_name_that_readers_look_for() {
        super::publish_process(&[("service.name", "cart")]).expect("a mapping");
        super::publish_process(&[("service.name", "pay"), ("service.instance.id", "pay-1")]).expect("the same mapping");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        assert_eq!(maps.lines().filter(|line| line.contains("/memfd:OTEL_CTX")).count(), 1, "{maps}");
    }
}
