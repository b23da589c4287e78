//! How long to wait before the next attempt: exponential with jitter, or longer where the server says so.

use rand_pcg::{
    Pcg32,
    rand_core::{Rng, SeedableRng},
};
use std::time::Duration;

/// When to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Wait after the first failure, about.
    pub initial: Duration,
    /// Longest wait that we choose ourselves.
    pub max: Duration,
    /// No attempt starts later than this after the first.
    pub max_elapsed: Duration,
    /// Where the jitter comes from; give every client another.
    pub seed: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(30), max_elapsed: Duration::from_secs(300), seed: 0 }
    }
}

impl RetryPolicy {
    /// One attempt, no more.
    pub const fn never() -> Self {
        Self { initial: Duration::ZERO, max: Duration::ZERO, max_elapsed: Duration::ZERO, seed: 0 }
    }
}

/// The waits of one client.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    random: Pcg32,
}

impl Backoff {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let random = Pcg32::seed_from_u64(policy.seed);
        Self { policy, random }
    }

    /// How long to wait after this many failed attempts (from 1), or `None` to give up. `asked` is
    /// the server's wish; we never come back sooner.
    pub(crate) fn wait(&mut self, attempts: u32, elapsed: Duration, asked: Option<Duration>) -> Option<Duration> {
        let doubled = self.policy.initial.saturating_mul(1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        // Half to one and a half of the nominal wait, so that clients that failed together come back apart.
        let jitter = 0.5 + f64::from(self.random.next_u32()) / f64::from(u32::MAX);
        let own = doubled.min(self.policy.max).mul_f64(jitter);
        let wait = asked.map_or(own, |asked| asked.saturating_add(own.min(asked / 10)));
        (elapsed.saturating_add(wait) < self.policy.max_elapsed).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_jitter_and_end() {
        let policy = RetryPolicy { max_elapsed: Duration::from_secs(100), ..RetryPolicy::default() };
        let mut backoff = Backoff::new(policy);
        for (attempt, nominal) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 30.0), (40, 30.0)] {
            let wait = backoff.wait(attempt, Duration::ZERO, None).expect("within patience").as_secs_f64();
            assert!((nominal * 0.5..=nominal * 1.5).contains(&wait), "attempt {attempt} waits {wait}");
        }
        assert_eq!(backoff.wait(1, Duration::from_secs(100), None), None);
        assert_eq!(Backoff::new(RetryPolicy::never()).wait(1, Duration::ZERO, None), None);
    }

    #[test]
    fn the_servers_wish_is_a_lower_bound() {
        let mut backoff = Backoff::new(RetryPolicy::default());
        let asked = Duration::from_secs(7);
        let wait = backoff.wait(1, Duration::ZERO, Some(asked)).expect("within patience");
        assert!(wait >= asked && wait < asked * 2);
    }
}
