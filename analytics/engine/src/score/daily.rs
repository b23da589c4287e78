//! The hull of what a series had at this time of day: how far outside the last three days' values it is now.

/// Slots a day.
const SLOTS: i64 = 96;
/// Slots around that count as the same time.
const AROUND: i64 = 2;
/// Days looked back.
const DAYS: i64 = 3;
const KEPT: usize = (SLOTS * (DAYS + 1)) as usize;

/// Lowest and highest value of each slot of the last days.
#[derive(Clone, Debug)]
pub(crate) struct Hull {
    slots: Box<[(f64, f64); KEPT]>,
    newest: Option<i64>,
    oldest: i64,
    last: f64,
    /// The slot last asked about and its hull, which stays what it is while the slot lasts.
    asked: Option<(i64, (f64, f64))>,
}

const EMPTY: (f64, f64) = (f64::MAX, f64::MIN);

impl Default for Hull {
    fn default() -> Self {
        Self { slots: Box::new([EMPTY; KEPT]), newest: None, oldest: 0, last: 0.0, asked: None }
    }
}

impl Hull {
    /// The distance of the value from the hull, the smaller of this row's and the last one's; 0 inside and
    /// in the first day. Then learns. Seconds not negative, value finite.
    pub(crate) fn outside(&mut self, seconds: f64, value: f64) -> f64 {
        let slot = (seconds / 86_400.0 * SLOTS as f64) as i64;
        let (low, high) = match self.asked {
            Some((asked, hull)) if asked == slot => hull,
            _ => self.ask(slot),
        };
        if self.newest.is_some_and(|newest| slot > newest - KEPT as i64) {
            let here = &mut self.slots[place(slot)];
            *here = (here.0.min(value), here.1.max(value));
        }
        let distance = if low > high || slot - self.oldest < SLOTS { 0.0 } else { (value - high).max(low - value).max(0.0) };
        let smaller = distance.min(self.last);
        self.last = distance;
        smaller
    }

    /// Lowest and highest of this time on the past days.
    fn ask(&mut self, slot: i64) -> (f64, f64) {
        self.advance(slot);
        let newest = self.newest.unwrap_or(slot);
        let known = |at: &i64| *at > newest - KEPT as i64 && *at < slot && *at >= self.oldest;
        let near = (1..=DAYS).flat_map(|day| (-AROUND..=AROUND).map(move |around| slot + around - day * SLOTS)).filter(known);
        let hull = near.map(|at| self.slots[place(at)]).fold(EMPTY, |hull, one| (hull.0.min(one.0), hull.1.max(one.1)));
        self.asked = Some((slot, hull));
        hull
    }

    fn advance(&mut self, slot: i64) {
        if self.newest.is_none() {
            self.oldest = slot;
        }
        let newest = self.newest.unwrap_or(slot - 1);
        for passed in (newest + 1).max(slot - KEPT as i64 + 1)..=slot {
            self.slots[place(passed)] = EMPTY;
        }
        self.newest = Some(newest.max(slot));
    }
}

fn place(slot: i64) -> usize {
    slot.rem_euclid(KEPT as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_at_this_hour_lies_inside_and_the_rest_by_its_distance() {
        let mut hull = Hull::default();
        let mut told = Vec::new();
        for minute in 0..3 * 1440 {
            let usual = if minute % 1440 < 720 { 1.0 } else { 5.0 };
            let odd = (3000..3002).contains(&minute);
            told.push(hull.outside(f64::from(minute) * 60.0, if odd { usual + 7.0 } else { usual }));
        }
        assert_eq!(told[3000], 0.0, "one row alone is not enough");
        assert_eq!(told[3001], 7.0);
        assert!(told.iter().enumerate().all(|(at, told)| at == 3001 || *told == 0.0));
    }

    #[test]
    fn gaps_and_steps_back_in_time_are_survived() {
        let mut hull = Hull::default();
        for seconds in [0.0, 1e10, 5.0, 86_400.0, 1e10] {
            assert!(hull.outside(seconds, 3.0) <= 3.0);
        }
    }
}
