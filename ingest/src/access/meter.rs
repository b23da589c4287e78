//! Budgets over time: a bucket each for requests, items and bytes that fills evenly.
//!
//! A request is let in while every bucket holds something and is charged when its size is known, so a
//! bucket may go below zero; the next request then waits until it is filled again. Over time no tenant
//! gets more than its rate, and no request is too large to ever pass.

use super::rules::Limits;
use geophone_proto::UnixNanos;
use std::time::Duration;

/// Longest wait that is told; a sender that comes sooner is told again.
const WAIT_MAX: Duration = Duration::from_secs(30);
const WAIT_MIN: Duration = Duration::from_millis(100);

/// What a budget is over; the word in `reason`.
const REASONS: [&str; 3] = ["tenant_requests", "tenant_items", "tenant_bytes"];

/// One tenant's buckets.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    limits: Limits,
    buckets: [Bucket; 3],
}

/// Starts full.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    level: f64,
    at: Option<UnixNanos>,
}

impl Bucket {
    fn fill(&mut self, rate: f64, now: UnixNanos) -> f64 {
        let full = rate.max(1.0);
        self.level = match self.at {
            None => full,
            Some(at) => (self.level + rate * now.since(at) as f64 / 1e9).min(full),
        };
        // A clock that was set back fills nothing until it has caught up.
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.level
    }
}

impl Meter {
    fn rates(&self) -> [Option<f64>; 3] {
        [self.limits.requests_per_second, self.limits.items_per_second, self.limits.bytes_per_second]
    }

    /// Takes new limits over; what was used stays used.
    pub(crate) fn set(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Lets a request in, or says which budget is used up and when it is not.
    pub(crate) fn enter(&mut self, now: UnixNanos) -> Result<(), (&'static str, Duration)> {
        let rates = self.rates();
        for ((rate, bucket), reason) in rates.into_iter().zip(&mut self.buckets).zip(REASONS) {
            if let Some(rate) = rate
                && bucket.fill(rate, now) < 1.0
            {
                let seconds = ((1.0 - bucket.level) / rate).min(WAIT_MAX.as_secs_f64());
                return Err((reason, Duration::from_secs_f64(seconds).clamp(WAIT_MIN, WAIT_MAX)));
            }
        }
        self.buckets[0].level -= 1.0;
        Ok(())
    }

    /// Charges what a request turned out to hold.
    pub(crate) fn charge(&mut self, items: u64, bytes: usize) {
        self.buckets[1].level -= items as f64;
        self.buckets[2].level -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn meter(limits: Limits) -> Meter {
        Meter { limits, ..Meter::default() }
    }

    #[test]
    fn over_time_nobody_gets_more_than_the_rate() {
        let mut meter = meter(Limits { items_per_second: Some(100.0), ..Limits::default() });
        let mut taken = 0;
        for tick in 0..1000 {
            if meter.enter(UnixNanos(SECOND + tick * SECOND / 100)).is_ok() {
                meter.charge(40, 1 << 20);
                taken += 40;
            }
        }
        assert!((1000..=1100 + 40).contains(&taken), "ten seconds and one burst, got {taken}");
    }

    #[test]
    fn a_large_request_passes_and_is_paid_off() {
        let mut meter = meter(Limits { bytes_per_second: Some(10.0), ..Limits::default() });
        assert_eq!(meter.enter(UnixNanos(SECOND)), Ok(()));
        meter.charge(1, 100);
        let (reason, wait) = meter.enter(UnixNanos(SECOND)).expect_err("in debt");
        assert_eq!((reason, wait), ("tenant_bytes", Duration::from_millis(9100)));
        assert!(meter.enter(UnixNanos(10 * SECOND)).is_err());
        assert_eq!(meter.enter(UnixNanos(11 * SECOND)), Ok(()));
    }

    #[test]
    fn no_limit_is_no_limit_and_a_clock_set_back_gives_nothing() {
        let mut meter = meter(Limits::default());
        (0..10_000).for_each(|_| assert_eq!(meter.enter(UnixNanos(5)), Ok(())));
        meter.set(Limits { requests_per_second: Some(0.5), ..Limits::default() });
        let mut passed = (0..100).filter(|_| meter.enter(UnixNanos(SECOND)).is_ok()).count();
        passed += (0..100).filter(|_| meter.enter(UnixNanos(0)).is_ok()).count();
        assert!(passed <= 1, "{passed}");
        assert_eq!(meter.enter(UnixNanos(SECOND)).expect_err("used up").0, "tenant_requests");
    }
}
