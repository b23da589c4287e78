//! Trouble that repeats as fast as clients ask: told when it begins, then once a minute with what has come since, and
//! once it has been gone for a while. Says when and how often, not what: the caller has the words. Used by doors and by
//! the roof's committer.

use geophone_proto::{UnixNanos, time::SECOND_NS};

/// While it lasts it is told this often.
const EVERY_NS: u64 = 60 * SECOND_NS;
/// It is over when it has not come for so long: what comes and goes by turns is one trouble.
const CALM_NS: u64 = 10 * SECOND_NS;

/// One kind of trouble. Time is an argument.
#[derive(Debug, Default)]
pub struct Seldom(Option<Trouble>);

#[derive(Debug)]
struct Trouble {
    told_at: UnixNanos,
    last_at: UnixNanos,
    untold: u64,
    all: u64,
}

impl Seldom {
    /// It has come, again or for the first time. If that is to be told: how often it has come since it was last told.
    pub fn came(&mut self, now: UnixNanos) -> Option<u64> {
        let Some(trouble) = &mut self.0 else {
            self.0 = Some(Trouble { told_at: now, last_at: now, untold: 0, all: 1 });
            return Some(1);
        };
        trouble.last_at = now;
        trouble.untold += 1;
        trouble.all += 1;
        if now.since(trouble.told_at) < EVERY_NS {
            return None;
        }
        trouble.told_at = now;
        Some(std::mem::take(&mut trouble.untold))
    }

    /// It has not come this time. If it is over, and that is to be told: how often it came in all.
    pub fn stayed_away(&mut self, now: UnixNanos) -> Option<u64> {
        self.0.take_if(|trouble| now.since(trouble.last_at) >= CALM_NS).map(|trouble| trouble.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_times_a_second_is_told_once_a_minute_and_at_the_end() {
        let mut seldom = Seldom::default();
        let at = |millis: u64| UnixNanos(1_000 * SECOND_NS + millis * 1_000_000);
        assert_eq!(seldom.stayed_away(at(0)), None);
        // Every other time it works: for two minutes and a half.
        let told = (0..150_000).filter_map(|millis| {
            if millis % 2 == 0 {
                seldom.came(at(millis))
            } else {
                assert_eq!(seldom.stayed_away(at(millis)), None);
                None
            }
        });
        assert_eq!(told.collect::<Vec<_>>(), [1, 30_000, 30_000]);
        assert_eq!(seldom.stayed_away(at(155_000)), None, "it may come again");
        assert_eq!(seldom.stayed_away(at(160_000)), Some(75_000));
        assert_eq!(seldom.stayed_away(at(200_000)), None, "that was told");
        assert_eq!(seldom.came(at(200_000)), Some(1), "a new one");
    }
}
