//! Whether anybody is heard at all. A recording with gaps, a gateway that restarts: the requests of all
//! services stop in one window and come back in one. The first such silence is news, as it may be the end of
//! all traffic; one that is no longer than those that have come and gone is none, for ten minutes at most. And
//! once requests are there again, what the silence made of the rates is over.
//!
//! Told by the correlator once a window, where spans are recorded so barely that nobody is seen to call: a service
//! whose client spans end has lost its traffic, and that is news each time. Asked by `weight`. Invariant: keeps
//! three times and two numbers.

use geophone_proto::UnixNanos;
use serde::{Deserialize, Serialize};

/// Requests a window, usually, from which on a window without any is no chance.
const USUAL_MIN: f64 = 10.0;
/// Part of a window in what is usual.
const FRESH: f64 = 1.0 / 30.0;
/// Shorter silences are single late batches.
const SHORT_NS: u64 = 30_000_000_000;
/// How much longer than the longest before a silence may be and still be no news.
const LONGER: f64 = 1.5;
/// A longer silence is news whatever was before.
const LONGEST_NS: u64 = 600_000_000_000;
/// Windows reach back: so long after a silence sums still hold some of it.
const ECHO_NS: u64 = 60_000_000_000;

/// The silences of an installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hush {
    /// Requests in a window that holds any.
    usual: f64,
    /// Beginning of the present silence.
    since: Option<UnixNanos>,
    /// The last one that ended, and the length of the longest that ever did.
    last: Option<(UnixNanos, UnixNanos)>,
    longest_ns: u64,
}

impl Hush {
    /// Takes the number of requests of all services in the window that ends at `at`.
    pub fn step(&mut self, requests: f64, at: UnixNanos, window_ns: u64) {
        let begin = at.minus(window_ns);
        if requests > 0.0 {
            if let Some(since) = self.since.take().filter(|since| begin.since(*since) >= SHORT_NS) {
                self.last = Some((since, begin));
                self.longest_ns = self.longest_ns.max(begin.since(since));
            }
            self.usual += if self.usual > 0.0 { FRESH * (requests - self.usual) } else { requests };
        } else if self.usual >= USUAL_MIN {
            self.since.get_or_insert(begin);
        }
    }

    /// Whether fewer requests, as an anomaly that opened at this moment says, are no more than a silence.
    pub fn explains(&self, opened: UnixNanos, now: UnixNanos) -> bool {
        let is_echo = |(from, to): (UnixNanos, UnixNanos)| (from..=to.plus(ECHO_NS)).contains(&opened);
        let longest = (LONGER * self.longest_ns as f64).min(LONGEST_NS as f64);
        let is_usual = |since: UnixNanos| now.since(since) as f64 <= longest;
        self.last.is_some_and(is_echo) || self.since.is_some_and(|since| opened > since && is_usual(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_NS: u64 = 10_000_000_000;

    fn at(window: u64) -> UnixNanos {
        UnixNanos((window + 1) * WINDOW_NS)
    }

    /// Windows with requests but for some.
    fn heard(windows: std::ops::Range<u64>, silent: &[std::ops::Range<u64>]) -> Hush {
        let mut hush = Hush::default();
        for window in windows {
            let requests = if silent.iter().any(|one| one.contains(&window)) { 0.0 } else { 50.0 };
            hush.step(requests, at(window), WINDOW_NS);
        }
        hush
    }

    #[test]
    fn the_first_silence_is_news_until_it_ends_and_the_next_is_none_unless_it_is_longer() {
        let first = std::iter::once(20..50).collect::<Vec<_>>();
        assert!(!heard(0..30, &first).explains(at(25), at(29)));
        let ended = heard(0..51, &first);
        assert!(ended.explains(at(25), at(50)) && ended.explains(at(52), at(52)) && !ended.explains(at(60), at(60)));
        assert!(!ended.explains(at(10), at(50)), "what began before is another matter");
        let next = [20..50, 80..200];
        assert!(heard(0..100, &next).explains(at(85), at(99)));
        assert!(!heard(0..140, &next).explains(at(85), at(139)));
        let hours = [20..800, 900..1_700];
        assert!(heard(0..950, &hours).explains(at(905), at(949)) && !heard(0..970, &hours).explains(at(905), at(969)));
    }

    #[test]
    fn quiet_installations_have_no_silences() {
        let mut hush = Hush::default();
        (0..20).for_each(|window| hush.step(if window < 10 { 2.0 } else { 0.0 }, at(window), WINDOW_NS));
        hush.step(2.0, at(20), WINDOW_NS);
        assert!(!hush.explains(at(12), at(20)));
    }
}
