//! Events as the programs write them. The other side is `bpf/recorder.bpf.c`; change both.

use geophone_proto::{SpanId, TraceId};
use std::mem::{offset_of, size_of};

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Interrupted while running.
    OnCpu,
    /// Slept in a system call, which now returns.
    Blocked,
    /// Leaves the CPU; how long for, `Resumed` tells.
    Left,
    /// Time off the CPU of a thread whose stack was told before.
    Resumed,
    /// Another program in the same process.
    Exec,
    /// The process ends.
    Exit,
    /// A child like its parent (`off_ns` is the parent's id).
    Fork,
    /// A function was entered.
    Call,
    /// And left after `off_ns`.
    Return,
}

/// Bits of `Header::flags`.
pub mod flag {
    /// `trace_id` and `span_id` are the thread's own word.
    pub const TAGGED: u8 = 1;
    /// Taken at the burst's rate.
    pub const BURST_RATE: u8 = 4;
}

/// Bits of `Watch::flags`.
pub mod watch {
    /// `tls_offset` says where the thread context is.
    pub const HAS_CONTEXT: u32 = 1;
    /// In the block of `tls_module`, found by the thread's vector.
    pub const BY_DTV: u32 = 2;
    /// Take the bytes of the stack: frame pointers do not reach.
    pub const SNAPSHOT: u32 = 4;
    /// Tell when it is off the CPU.
    pub const WATCHED: u32 = 8;
    /// The burst's own clock samples it.
    pub const BURSTING: u32 = 16;
    /// Also off the CPU outside of spans.
    pub const KEEP_UNTAGGED: u32 = 32;
}

/// `struct event`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Monotonic time.
    pub at: u64,
    /// Blocked, or what the kind says.
    pub off_ns: u64,
    /// Runnable without a CPU.
    pub wait_ns: u64,
    /// User registers.
    pub ip: u64,
    /// User registers.
    pub sp: u64,
    /// User registers.
    pub bp: u64,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    kind: u8,
    /// `flag`.
    pub flags: u8,
    /// Number of the system call, negative outside.
    pub syscall: i16,
    user_frames: u16,
    kernel_frames: u16,
    stack_bytes: u32,
    spare: u32,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    comm: [u8; 16],
}

const _: () = assert!(size_of::<Header>() == 112 && offset_of!(Header, tgid) == 48 && offset_of!(Header, kind) == 56);
const _: () = assert!(offset_of!(Header, stack_bytes) == 64 && offset_of!(Header, trace_id) == 72 && offset_of!(Header, comm) == 96);

/// `struct proc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// From the thread pointer, or within the module's block.
    pub tls_offset: i64,
    /// With `watch::BY_DTV`.
    pub tls_module: u32,
    /// `watch`.
    pub flags: u32,
}

/// `struct settings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Shorter sleeps are added up before they are told.
    pub off_min_ns: u64,
    /// Stacks of one thread in one span are at least so far apart.
    pub gap_ns: u64,
    /// 1: tell of time off the CPU; 2: only of processes that are watched.
    pub flags: u32,
    /// Nothing.
    pub spare: u32,
}

const _: () = assert!(size_of::<Watch>() == 16 && size_of::<Settings>() == 24);

/// One event: the header, frames (innermost first), and the bytes of the stack.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The fixed part.
    pub header: Header,
    frames: &'a [u8],
    /// From the stack pointer upwards. Never stored.
    pub stack: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads an event; `None` where the bytes are none of ours.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let size = size_of::<Header>();
        let fixed = bytes.get(..size)?;
        // SAFETY: `fixed` has the size of `Header`, which is plain numbers without padding, so any bytes
        // are a value of it; `read_unaligned` asks for no alignment.
        #[allow(unsafe_code, reason = "one copy instead of twenty conversions on the hot path")]
        let header = unsafe { fixed.as_ptr().cast::<Header>().read_unaligned() };
        let frames = 8 * (usize::from(header.user_frames) + usize::from(header.kernel_frames));
        let rest = &bytes[size..];
        Some(Self { header, frames: rest.get(..frames)?, stack: rest.get(frames..frames + header.stack_bytes as usize)? })
    }

    /// What it tells; `None` for what this version does not know.
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self.header.kind {
            1 => Kind::OnCpu,
            2 => Kind::Blocked,
            3 => Kind::Left,
            4 => Kind::Resumed,
            5 => Kind::Exec,
            6 => Kind::Exit,
            7 => Kind::Fork,
            8 => Kind::Call,
            9 => Kind::Return,
            _ => return None,
        })
    }

    /// Whether a bit of `flag` is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.header.flags & flag != 0
    }

    /// The thread's own word.
    pub fn tag(&self) -> Option<(TraceId, SpanId)> {
        self.has(flag::TAGGED).then_some((TraceId(self.header.trace_id), SpanId(self.header.span_id)))
    }

    /// Return addresses by the chain of frame pointers, innermost first.
    pub fn user_frames(&self) -> impl ExactSizeIterator<Item = u64> + 'a {
        numbers(&self.frames[..8 * usize::from(self.header.user_frames)])
    }

    /// The kernel's own, innermost first.
    pub fn kernel_frames(&self) -> impl ExactSizeIterator<Item = u64> + 'a {
        numbers(&self.frames[8 * usize::from(self.header.user_frames)..])
    }

    /// Name of the thread.
    pub fn comm(&self) -> String {
        let end = self.header.comm.iter().position(|byte| *byte == 0).unwrap_or(16);
        String::from_utf8_lossy(&self.header.comm[..end]).into_owned()
    }
}

fn numbers(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|chunk| chunk.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_no_event() {
        let mut bytes = vec![0; size_of::<Header>() + 24];
        (bytes[56], bytes[57], bytes[60], bytes[62]) = (1, flag::TAGGED, 2, 1);
        (bytes[112], bytes[120], bytes[128], bytes[72]) = (7, 8, 9, 5);
        let event = Event::read(&bytes).expect("whole");
        assert_eq!(event.kind(), Some(Kind::OnCpu));
        assert_eq!((event.user_frames().collect::<Vec<_>>(), event.kernel_frames().collect::<Vec<_>>()), (vec![7, 8], vec![9]));
        assert_eq!(event.tag().map(|(trace, _)| trace.0[0]), Some(5));
        assert!(Event::read(&bytes[..130]).is_none());
        assert!(Event::read(&bytes[..100]).is_none());
        bytes[56] = 99;
        assert_eq!(Event::read(&bytes).and_then(|event| event.kind()), None);
    }
}
