//! The wall clock: the only place of the service that reads it.

use geophone_proto::{UnixNanos, seam::Clock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else is handed")]
    fn now(&self) -> UnixNanos {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}
