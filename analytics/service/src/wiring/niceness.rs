//! Who gives way where threads want the same core. Senders wait for sockets and log; nobody waits for Parquet, nor for
//! the brain within its window. Without it a request may stand behind one whole turn of the sealer (more than a
//! millisecond, ten times a second). Only threads of this program are compared with each other, where the machine
//! groups processes (services of systemd, containers, sessions).

use std::io;

/// `nice`, as in setpriority(2): by each step a thread gets about a fifth less than its neighbour.
pub const NOT_AT_ALL: i32 = 0;
pub const SOMEWHAT: i32 = 5;
pub const MUCH: i32 = 10;

/// The calling thread, and those that it starts, give way by `nice` steps. A system that refuses leaves it as it is: it
/// works as well, later.
pub fn give_way(nice: i32) {
    if nice > NOT_AT_ALL
        && let Err(error) = set(nice)
    {
        tracing::debug!(nice, %error, "the priority of this thread stays as it is");
    }
}

#[allow(unsafe_code, reason = "the standard library has no such call")]
fn set(nice: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only. On Linux process 0 means the calling thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, thread};

    /// Field 19 of `stat`, counted after the name, which may hold anything.
    fn niceness() -> i32 {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("Linux tells of threads");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
    }

    #[test]
    fn a_thread_gives_way_alone() {
        let before = niceness();
        let its = thread::spawn(|| {
            give_way(MUCH);
            niceness()
        });
        assert_eq!(its.join().expect("no panic"), MUCH.max(before));
        assert_eq!(niceness(), before, "who started it does not");
    }
}
