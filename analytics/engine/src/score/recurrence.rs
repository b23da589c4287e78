//! What comes at the same time of day on most days is no news.
//!
//! The largest deviation of each quarter of an hour is kept for three days. A deviation that is not larger
//! than `FACTOR` times the second largest of those three days, half an hour around, is no news: nightly
//! jobs, the step at opening time. A second is not enough: one coincidence would hide an event.

/// Slots a day.
const SLOTS: i64 = 144;
/// Slots around that count as the same time.
const AROUND: i64 = 2;
/// Days looked back.
const DAYS: i64 = 3;
/// How much larger an event must be than those before; no simple ratio, so that counts do not lie on it.
const FACTOR: f32 = 2.0037;
const KEPT: usize = (SLOTS * (DAYS + 1)) as usize;

/// The past days of one voice of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recurrence {
    largest: [f32; KEPT],
    newest: Option<i64>,
    /// The slot last asked about, and its past days, largest first: they stay what they are while it lasts.
    asked: Option<(i64, [f32; DAYS as usize])>,
}

impl Default for Recurrence {
    fn default() -> Self {
        Self { largest: [0.0; KEPT], newest: None, asked: None }
    }
}

impl Recurrence {
    /// Whether the deviation is more than what recurs; then learns it. Time in seconds, not negative.
    pub(crate) fn is_news(&mut self, seconds: f64, deviation: f64) -> bool {
        let [_, second, _] = self.days(seconds, deviation);
        deviation as f32 > FACTOR * second
    }

    /// The largest of this time on each of the past days, largest first; then learns.
    pub(crate) fn days(&mut self, seconds: f64, deviation: f64) -> [f32; DAYS as usize] {
        let slot = (seconds / 86_400.0 * SLOTS as f64) as i64;
        let days = match self.asked {
            Some((asked, days)) if asked == slot => days,
            _ => self.ask(slot),
        };
        if self.newest.is_some_and(|newest| slot > newest - KEPT as i64) {
            let largest = &mut self.largest[place(slot)];
            *largest = largest.max(deviation as f32);
        }
        days
    }

    fn ask(&mut self, slot: i64) -> [f32; DAYS as usize] {
        self.advance(slot);
        let mut days: [f32; DAYS as usize] = std::array::from_fn(|day| self.around(slot, day as i64 + 1));
        days.sort_by(|a, b| b.total_cmp(a));
        self.asked = Some((slot, days));
        days
    }

    fn advance(&mut self, slot: i64) {
        let newest = self.newest.unwrap_or(slot - 1);
        for passed in (newest + 1).max(slot - KEPT as i64 + 1)..=slot {
            self.largest[place(passed)] = 0.0;
        }
        self.newest = Some(newest.max(slot));
    }

    fn around(&self, slot: i64, day: i64) -> f32 {
        let oldest = self.newest.unwrap_or(slot) - KEPT as i64;
        (-AROUND..=AROUND)
            .map(|near| slot + near - day * SLOTS)
            .filter(|&at| at > oldest)
            .map(|at| self.largest[place(at)])
            .fold(0.0, f32::max)
    }
}

fn place(slot: i64) -> usize {
    slot.rem_euclid(KEPT as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spike of `size` at three o'clock, else 1; the answer at the last spike.
    fn spikes(days: u32, last: f64) -> bool {
        let mut recurrence = Recurrence::default();
        let mut answer = false;
        for minute in 0..days * 1440 - 20 * 60 {
            let is_spike = minute % 1440 == 180;
            let size = if !is_spike {
                1.0
            } else if minute / 1440 == days - 1 {
                last
            } else {
                20.0
            };
            let is_news = recurrence.is_news(f64::from(minute) * 60.0, size);
            answer = if is_spike { is_news } else { answer };
        }
        answer
    }

    #[test]
    fn the_third_day_of_a_nightly_job_is_no_news_unless_it_is_larger() {
        assert!(spikes(1, 20.0));
        assert!(spikes(2, 20.0), "once is a coincidence");
        assert!(!spikes(3, 20.0));
        assert!(!spikes(5, 20.0));
        assert!(spikes(5, 60.0));
    }

    #[test]
    fn gaps_and_steps_back_in_time_are_survived() {
        let mut recurrence = Recurrence::default();
        let days = [0.0, 1e10, 5.0, 86_400.0, 1e10].map(|seconds| recurrence.days(seconds, 3.0));
        assert!(days.as_flattened().iter().all(|day| *day == 0.0), "{days:?}");
    }
}
