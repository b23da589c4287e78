//! How fast what is behind us empties, so that a refused sender is told when to come back; and whether the log stands
//! still, so that senders are refused rather than kept waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Bounds of a computed delay.
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The delay while nothing is known.
const DELAY_UNKNOWN: Duration = Duration::from_secs(1);

/// What the roof tells about the log behind the sink, and what is seen of it here: how long it has given no
/// answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pressure(Arc<Gauges>);

#[derive(Debug)]
struct Gauges {
    bytes_per_second: AtomicU64,
    backlog_bytes: AtomicU64,
    /// Requests that wait for their answer.
    waiting: AtomicUsize,
    began: Instant,
    /// When the last answer came or the first request began to wait, in ms after `began`.
    moved_ms: AtomicU64,
    /// When the write that is under way began, in ms after `began`; `NONE` while there is none.
    writing_ms: AtomicU64,
    /// When it will count as a stall, in ms after `began`.
    stalls_ms: AtomicU64,
}

/// No write is under way.
const NONE: u64 = u64::MAX;

/// A write of the log that is under way; dropped when it has ended, well or not.
#[derive(Debug)]
pub struct Writing(Pressure);

/// A request that waits for the log; dropped with the answer.
#[derive(Debug)]
pub(crate) struct Waiting(Pressure);

impl Default for Pressure {
    fn default() -> Self {
        let [bytes_per_second, backlog_bytes, moved_ms] = Default::default();
        let [writing_ms, stalls_ms] = [NONE; 2].map(AtomicU64::new);
        let (waiting, began) = (AtomicUsize::new(0), Instant::now());
        Self(Arc::new(Gauges { bytes_per_second, backlog_bytes, waiting, began, moved_ms, writing_ms, stalls_ms }))
    }
}

impl Pressure {
    /// Tells how many request bytes a second were taken lately; 0 = unknown.
    pub fn drain_rate(&self, bytes_per_second: u64) {
        self.0.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Tells how many bytes wait beyond the open requests.
    pub fn backlog(&self, bytes: u64) {
        self.0.backlog_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes that the log writes. A write that takes longer than `patience` is a stall: until it has ended, requests are
    /// refused before they are read. At most one write at a time.
    pub fn writing(&self, patience: Duration) -> Writing {
        let now = self.0.began.elapsed();
        self.0.writing_ms.store(millis(now), Ordering::Relaxed);
        self.0.stalls_ms.store(millis(now.saturating_add(patience)), Ordering::Relaxed);
        Writing(self.clone())
    }

    /// How long the write under way has taken, if that is a stall.
    pub fn stalled_for(&self) -> Option<Duration> {
        self.0.stalled_for(Instant::now())
    }

    /// Notes that a request waits for the log.
    pub(crate) fn waiting(&self) -> Waiting {
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.moved();
        }
        Waiting(self.clone())
    }

    /// When `missing_bytes` will probably be free: at the rate of late, and where the log has given no
    /// answer for a while, not before it has been silent for as long again.
    pub(crate) fn delay(&self, missing_bytes: usize) -> Duration {
        self.delay_at(missing_bytes, Instant::now())
    }

    fn delay_at(&self, missing_bytes: usize, now: Instant) -> Duration {
        let rate = self.0.bytes_per_second.load(Ordering::Relaxed);
        let bytes = self.0.backlog_bytes.load(Ordering::Relaxed).saturating_add(missing_bytes as u64);
        let drained = bytes.saturating_mul(1000).checked_div(rate).map_or(DELAY_UNKNOWN, Duration::from_millis);
        let silent = self.0.silent_for(now).max(self.0.stalled_for(now).unwrap_or_default());
        drained.max(silent).clamp(DELAY_MIN, DELAY_MAX)
    }
}

impl Gauges {
    fn moved(&self) {
        self.moved_ms.store(millis(self.began.elapsed()), Ordering::Relaxed);
    }

    fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let now_ms = millis(now.duration_since(self.began));
        let is_stalled = now_ms >= self.stalls_ms.load(Ordering::Relaxed);
        is_stalled.then(|| Duration::from_millis(now_ms.saturating_sub(self.writing_ms.load(Ordering::Relaxed))))
    }

    fn silent_for(&self, now: Instant) -> Duration {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return Duration::ZERO;
        }
        now.duration_since(self.began).saturating_sub(Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.stalls_ms.store(NONE, Ordering::Relaxed);
        self.0.0.writing_ms.store(NONE, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.moved();
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_follows_the_drain_rate_within_bounds() {
        let pressure = Pressure::default();
        assert_eq!(pressure.delay(1 << 20), DELAY_UNKNOWN);
        pressure.drain_rate(1 << 20);
        pressure.backlog(3 << 20);
        assert_eq!(pressure.delay(2 << 20), Duration::from_secs(5));
        assert_eq!(pressure.delay(usize::MAX), DELAY_MAX);
        pressure.backlog(0);
        assert_eq!(pressure.delay(1), DELAY_MIN);
    }

    #[test]
    fn a_log_that_gives_no_answer_is_given_as_long_again() {
        let pressure = Pressure::default();
        pressure.drain_rate(100 << 20);
        let delay = |seconds| pressure.delay_at(1 << 20, Instant::now() + Duration::from_secs(seconds));
        assert_eq!(delay(100), DELAY_MIN, "nobody waits");
        let [first, second] = [pressure.waiting(), pressure.waiting()];
        assert!((7..8).contains(&delay(7).as_secs()));
        assert_eq!(delay(60), DELAY_MAX);
        drop(first);
        assert!((5..6).contains(&delay(5).as_secs()), "one still waits");
        assert_eq!(delay(0), DELAY_MIN, "it answers again");
        drop(second);
        assert_eq!(delay(60), DELAY_MIN);
    }

    #[test]
    fn a_write_that_takes_too_long_is_a_stall_until_it_ends() {
        let pressure = Pressure::default();
        pressure.drain_rate(100 << 20);
        let stalled = |seconds| pressure.0.stalled_for(Instant::now() + Duration::from_secs(seconds)).map(|time| time.as_secs());
        let delay = |seconds| pressure.delay_at(1, Instant::now() + Duration::from_secs(seconds)).as_secs();
        assert_eq!(stalled(100), None, "nothing is written");
        let writing = pressure.writing(Duration::from_secs(4));
        assert_eq!((stalled(3), delay(3)), (None, 0));
        assert_eq!((stalled(6), delay(6)), (Some(6), 6), "it is given as long again");
        assert_eq!(delay(60), DELAY_MAX.as_secs());
        drop(writing);
        assert_eq!((stalled(100), delay(100)), (None, 0));
    }
}
