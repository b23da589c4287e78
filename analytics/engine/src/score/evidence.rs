//! What the forest sees of a row: the voices now and of late, the hand-made level, what kind of series this is.
//!
//! Numbers without unit; nothing that tells one data set from another but how its series behave. Of an
//! entity each voice's level is the mean of its four highest dimensions, as `Mixed` says.

use super::{
    fading::Fading,
    recurrence::Recurrence,
    sensor::Heard,
    voices::{NAMES, VOICES},
};

/// Rows in which what was heard fades to 1/e.
const FADES: [f64; 3] = [8.0, 50.0, 400.0];
/// The same for the highest levels before this row.
const BEFORE: [f64; 4] = [5.0, 100.0, 500.0, 2000.0];
/// Voices whose past days are known, by place: the step, two rows against ten, the unrest.
pub(crate) const DAILY: [usize; 3] = [0, 3, 5];
/// Levels whose share of rows is counted, and how far back.
const RATES: [(f64, f64); 3] = [(1.5, 5000.0), (2.0, 5000.0), (2.0, 300.0)];
/// Levels since which rows are counted; most rows counted.
const SINCE: [f64; 2] = [2.0, 3.0];
const LONGEST: f64 = 2000.0;
/// Rows that count for age.
const OLDEST: f64 = 3000.0;
/// Smallest level whose logarithm is taken.
const LEAST: f64 = 0.05;
/// Levels above which dimensions are counted.
const LOUD: [f64; 2] = [1.5, 3.0];

/// One row of an entity: all its dimensions together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixed {
    /// The hand-made level; `plain` before what recurs was damped, `loudest` the dimension that says most.
    pub(crate) level: f64,
    pub(crate) loudest: Heard,
    pub(crate) plain: f64,
    pub(crate) levels: [f64; VOICES],
    /// Deviations of the voices whose past days are known.
    pub(crate) daily: [f64; DAILY.len()],
    /// Mean level of the 1, 2, 8, 16 loudest dimensions.
    pub(crate) tops: [f64; 4],
    /// Dimensions above `LOUD`, of all that there are.
    pub(crate) loud: [f64; 2],
    pub(crate) dimensions: f64,
    pub(crate) moving: f64,
    pub(crate) sameness: f64,
    pub(crate) roughness: f64,
}

/// Names of the numbers that `evidence` tells, in order.
pub fn names() -> Vec<String> {
    let fading = ["now", "8", "50", "400"].iter().flat_map(|of| NAMES.iter().map(move |name| format!("{name}.{of}")));
    let daily = DAILY.iter().flat_map(|voice| ["second", "first"].map(|day| format!("{}.{day}_of_days", NAMES[*voice])));
    let rest = [
        "plain",
        "plain.8",
        "plain.50",
        "plain.400",
        "before.5",
        "before.100",
        "before.500",
        "before.2000",
        "rate.1.5",
        "rate.2",
        "rate.2.recent",
        "step_direction",
        "rows_direction",
        "beyond",
        "beyond.50",
        "sameness",
        "roughness",
        "age",
        "since.2",
        "since.3",
        "top.1",
        "top.2",
        "top.8",
        "top.16",
        "loud.1.5",
        "loud.3",
        "is_entity",
        "moving",
        "level",
        "faded",
    ];
    fading.chain(daily).chain(rest.map(String::from)).collect()
}

/// Places of whether it is an entity, of the hand-made level's logarithm, of the faded level.
pub(crate) const RULED: [usize; 3] = [COUNT - 4, COUNT - 2, COUNT - 1];
/// How many numbers.
pub(crate) const COUNT: usize = VOICES * 4 + DAILY.len() * 2 + 30;

/// What must be remembered for it.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    numbers: Vec<f32>,
    voices: [[f64; VOICES]; 3],
    plain: [f64; 3],
    before: [f64; 4],
    rates: [f64; 3],
    since: [f64; 2],
    beyond: f64,
    days: Box<[Recurrence; DAILY.len()]>,
    fading: Fading,
    rows: f64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            numbers: Vec::with_capacity(COUNT),
            voices: [[0.0; VOICES]; 3],
            plain: [0.0; 3],
            before: [0.0; 4],
            rates: [0.0; 3],
            since: [LONGEST; 2],
            beyond: 0.0,
            days: Box::default(),
            fading: Fading::default(),
            rows: 0.0,
        }
    }
}

/// The larger of what is new and what was, faded.
fn fade(was: &mut f64, reach: f64, now: f64) -> f64 {
    *was = (*was * (-1.0 / reach).exp()).max(now);
    *was
}

impl Evidence {
    /// Takes the next row.
    pub(crate) fn row(&mut self, seconds: f64, mixed: &Mixed) {
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.clear();
        self.rows += 1.0;
        numbers.extend(mixed.levels.map(|level| level as f32));
        for (was, reach) in self.voices.iter_mut().zip(FADES) {
            let kept = (-1.0 / reach).exp();
            for (was, now) in was.iter_mut().zip(mixed.levels) {
                *was = (*was * kept).max(now);
            }
            numbers.extend(was.map(|level| level as f32));
        }
        for (days, deviation) in self.days.iter_mut().zip(mixed.daily) {
            let [first, second, _] = days.days(seconds, deviation).map(f64::from);
            numbers.extend([second, first].map(|day| ((deviation + 0.5) / (day + 0.5)).log2().clamp(-4.0, 4.0) as f32));
        }
        self.history(mixed, &mut numbers);
        self.kind(mixed, &mut numbers);
        self.numbers = numbers;
    }

    /// The numbers of the last row, as `names` calls them.
    pub(crate) fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    fn history(&mut self, mixed: &Mixed, numbers: &mut Vec<f32>) {
        let plain = mixed.plain;
        numbers.push(plain as f32);
        numbers.extend(self.plain.iter_mut().zip(FADES).map(|(was, reach)| fade(was, reach, plain) as f32));
        numbers.extend(self.before.map(|before| before as f32));
        self.before.iter_mut().zip(BEFORE).for_each(|(was, reach)| {
            fade(was, reach, plain);
        });
        for (rate, (level, reach)) in self.rates.iter_mut().zip(RATES) {
            numbers.push((*rate * 100.0) as f32);
            *rate += (f64::from(u8::from(plain > level)) - *rate) / self.rows.min(reach);
        }
        let loudest = &mixed.loudest;
        numbers.push((loudest.directions[0] * loudest.levels[DAILY[0]]) as f32);
        numbers.push((loudest.directions[1] * loudest.levels[DAILY[1]]) as f32);
        numbers.push(loudest.beyond as f32);
        numbers.push(fade(&mut self.beyond, FADES[1], loudest.beyond) as f32);
    }

    fn kind(&mut self, mixed: &Mixed, numbers: &mut Vec<f32>) {
        let mut push = |number: f64| numbers.push(number as f32);
        push(mixed.sameness);
        push(mixed.roughness);
        push(self.rows.min(OLDEST).ln());
        for (since, level) in self.since.iter_mut().zip(SINCE) {
            push((*since + 1.0).min(LONGEST).ln());
            *since = if mixed.plain > level { 0.0 } else { *since + 1.0 };
        }
        mixed.tops.into_iter().chain(mixed.loud).for_each(&mut push);
        push(f64::from(u8::from(mixed.dimensions > 1.0)));
        push(mixed.moving);
        push(mixed.level.max(LEAST).ln());
        push(self.fading.level(mixed.level));
    }
}

impl Mixed {
    /// Of a series that is alone.
    pub(crate) fn alone(heard: &Heard) -> Self {
        let mut mixed = Self::of_dimensions(std::slice::from_ref(heard));
        (mixed.level, mixed.plain) = (heard.level, heard.plain);
        (mixed.levels, mixed.daily) = (heard.levels, DAILY.map(|voice| heard.deviations[voice]));
        mixed.tops = [heard.plain; 4];
        mixed
    }

    /// What needs no ranking; the levels are the caller's.
    pub(crate) fn of_dimensions(all: &[Heard]) -> Self {
        let loudness = |heard: &Heard| heard.levels[DAILY[0]].max(heard.levels[DAILY[1]]);
        let loudest = all.iter().max_by(|a, b| loudness(a).total_cmp(&loudness(b))).copied().unwrap_or_default();
        let count = all.len().max(1) as f64;
        let above = |level: f64| all.iter().filter(|heard| DAILY.iter().any(|voice| heard.levels[*voice] > level)).count() as f64;
        Self {
            loudest,
            loud: LOUD.map(above),
            dimensions: all.len() as f64,
            moving: all.iter().filter(|heard| heard.sameness < 0.9).count() as f64 / count,
            sameness: all.iter().map(|heard| heard.sameness).sum::<f64>() / count,
            roughness: all.iter().map(|heard| heard.roughness).sum::<f64>() / count,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name() {
        let mut evidence = Evidence::default();
        evidence.row(0.0, &Mixed::default());
        assert_eq!(evidence.numbers().len(), COUNT);
        assert_eq!(names().len(), COUNT);
        assert_eq!(RULED.map(|place| names()[place].clone()), ["is_entity", "level", "faded"]);
    }
}
