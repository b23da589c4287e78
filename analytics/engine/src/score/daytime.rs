//! How large one voice's residuals are at this time of day, and of late: traffic is rough at noon and smooth at
//! night, and a spike that is nothing at noon is something at night.

/// Slots a day, and seconds of one.
const SLOTS: usize = 48;
const SLOT: f64 = 86_400.0 / SLOTS as f64;
/// Rows that a slot's mean reaches back, and most that its word weighs, against the usual spread's weight.
const REACH: f64 = 100.0;
const HEAVIEST: f64 = 20.0;
const USUAL: f64 = 5.0;
/// Rows that make what is of late.
const LATE: f64 = 100.0;
/// A residual counts for at most so many usual ones in its slot, for so many of late there.
const CLIP: f64 = 8.0;
const CLIP_LATE: f64 = 3.0;
/// Rows before residuals are clipped.
const FIRST: f64 = 20.0;
/// Smallest spread as a share of the usual one: quiet hours do not make everything loud.
const LEAST: f64 = 0.2;

/// Mean sizes of one voice's residuals by time of day, and of late.
#[derive(Clone, Debug)]
pub(crate) struct Daytime {
    slots: [f64; SLOTS],
    seen: [f64; SLOTS],
    late: Option<f64>,
    rows: f64,
}

impl Daytime {
    /// With or without an ear for what is of late.
    pub(crate) fn new(hears_late: bool) -> Self {
        Self { slots: [0.0; SLOTS], seen: [0.0; SLOTS], late: hears_late.then_some(0.0), rows: 0.0 }
    }

    /// What a deviation in `usual` spreads is to be multiplied by: the usual spread over the geometric mean of
    /// this hour's and the one of late (or the usual). 1 where there is no spread. Then learns the residual's
    /// size. Seconds not negative.
    pub(crate) fn factor(&mut self, seconds: f64, size: f64, usual: f64) -> f64 {
        let slot = (seconds / SLOT) as usize % SLOTS;
        let other = self.late.map_or(usual, |late| late.max(LEAST * usual));
        let spread = (other * self.around(slot, usual)).sqrt().max(LEAST * usual);
        self.learn(slot, size, usual);
        if usual > 0.0 { usual / spread } else { 1.0 }
    }

    /// Mean size in this slot and its neighbours, drawn to the usual one while few are known.
    fn around(&self, slot: usize, usual: f64) -> f64 {
        let (mut sum, mut weights) = (USUAL * usual, USUAL);
        for near in [SLOTS - 1, 0, 1].map(|away| (slot + away) % SLOTS) {
            let weight = self.seen[near].min(HEAVIEST);
            sum += weight * self.slots[near];
            weights += weight;
        }
        sum / weights
    }

    fn learn(&mut self, slot: usize, size: f64, usual: f64) {
        self.rows += 1.0;
        let clipped = |most: f64| if usual > 0.0 && self.rows > FIRST { size.min(most) } else { size };
        if let Some(late) = &mut self.late {
            *late += (clipped(CLIP_LATE * late.max(LEAST * usual)) - *late) / self.rows.min(LATE);
        }
        self.seen[slot] = (self.seen[slot] + 1.0).min(REACH);
        self.slots[slot] += (clipped(CLIP * usual) - self.slots[slot]) / self.seen[slot];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factor at noon and at midnight, after days whose noons are four times as rough.
    fn factors(hears_late: bool) -> [f64; 2] {
        let mut daytime = Daytime::new(hears_late);
        let mut ask = |minute: u32| {
            let noon = (600..840).contains(&(minute % 1440));
            daytime.factor(f64::from(minute) * 60.0, if noon { 4.0 } else { 1.0 }, 1.5)
        };
        let all: Vec<f64> = (0..5 * 1440).map(&mut ask).collect();
        [all[4 * 1440 + 720], all[4 * 1440 + 180]]
    }

    #[test]
    fn rough_hours_speak_softer_and_quiet_ones_louder() {
        for hears_late in [false, true] {
            let [noon, night] = factors(hears_late);
            assert!(noon < 0.7 && night > 1.15, "{noon} {night}");
        }
        let [[noon, night], [noon_late, night_late]] = [factors(false), factors(true)];
        assert!(noon_late < noon && night_late > night);
    }

    #[test]
    fn without_any_spread_nothing_is_changed() {
        let mut daytime = Daytime::new(true);
        assert_eq!(daytime.factor(0.0, 0.0, 0.0), 1.0);
        assert_eq!(daytime.factor(1e10, 0.0, 0.0), 1.0);
        assert!(daytime.factor(60.0, 1e300, 1e-300).is_finite());
    }
}
