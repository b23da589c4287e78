//! How fast what is behind us empties, so that a refused sender is told when to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bounds of a computed delay.
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The delay while nothing is known.
const DELAY_UNKNOWN: Duration = Duration::from_secs(1);

/// What the roof tells about the log behind the sink. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pressure {
    bytes_per_second: Arc<AtomicU64>,
    backlog_bytes: Arc<AtomicU64>,
}

impl Pressure {
    /// Tells how many request bytes a second were taken lately; 0 = unknown.
    pub fn drain_rate(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Tells how many bytes wait beyond the open requests.
    pub fn backlog(&self, bytes: u64) {
        self.backlog_bytes.store(bytes, Ordering::Relaxed);
    }

    /// When `missing_bytes` will probably be free.
    pub(crate) fn delay(&self, missing_bytes: usize) -> Duration {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return DELAY_UNKNOWN;
        }
        let bytes = self.backlog_bytes.load(Ordering::Relaxed).saturating_add(missing_bytes as u64);
        Duration::from_millis(bytes.saturating_mul(1000) / rate).clamp(DELAY_MIN, DELAY_MAX)
    }
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
}
