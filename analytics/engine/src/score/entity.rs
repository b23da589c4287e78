//! Many numbers of one thing (a machine's metrics): one score for all.
//!
//! The entity's level is the mean of its four highest dimensions' levels, less what chance gives the
//! highest of so many: one dimension alone rarely is an incident. What recurs daily is not damped here:
//! among many dimensions some always do at any hour.

use super::{
    evidence::{DAILY, Mixed},
    sensor::{Heard, Sensor},
    univariate::{Row, Seconds, Told},
    voices::VOICES,
};

/// Dimensions that make the level.
const HIGHEST: usize = 4;
/// Levels taken off for each decade of dimensions a place among the highest is drawn from.
const CHANCE: f64 = 0.75;
/// Numbers of dimensions whose mean level is told as it is.
const TOPS: [usize; 4] = [1, 2, 8, MOST];
/// Most places among the highest that anybody asks for.
const MOST: usize = 16;

/// Scores one entity.
#[derive(Clone, Debug)]
pub struct Entity {
    sensors: Vec<Sensor>,
    heard: Vec<Heard>,
    told: Told,
    seconds: Seconds,
}

impl Entity {
    /// A scorer of this many dimensions.
    pub fn new(dimensions: usize) -> Self {
        Self {
            sensors: vec![Sensor::new(dimensions == 1); dimensions],
            heard: Vec::with_capacity(dimensions),
            told: Told::default(),
            seconds: Seconds::default(),
        }
    }

    /// Takes the next row, as `Univariate::row` does; a dimension that the row lacks is missing.
    pub fn row(&mut self, seconds: f64, values: &[f64]) -> Row {
        let seconds = self.seconds.read(seconds);
        self.heard.clear();
        let given = values.iter().copied().chain(std::iter::repeat(f64::NAN));
        let mut is_empty = true;
        for (sensor, value) in self.sensors.iter_mut().zip(given) {
            let heard = sensor.row(seconds, value);
            is_empty &= heard.is_none();
            self.heard.push(heard.unwrap_or_default());
        }
        if is_empty {
            return self.told.nothing();
        }
        let mixed = match self.heard.as_slice() {
            [heard] => Mixed::alone(heard),
            _ => self.mixed(),
        };
        self.told.row(seconds, &mixed)
    }

    /// What the forest saw of the last row; the names are `evidence_names`.
    pub fn evidence(&self) -> &[f32] {
        self.told.evidence()
    }

    fn mixed(&self) -> Mixed {
        let places = HIGHEST.min(self.heard.len()).max(1);
        let chance = CHANCE * (self.heard.len().max(1) as f64 / places as f64).log10();
        let mut mixed = Mixed::of_dimensions(&self.heard);
        mixed.tops = self.means(|heard| heard.plain, TOPS);
        let [plain] = self.means(|heard| heard.plain, [HIGHEST]);
        mixed.plain = (plain - chance).max(0.0);
        mixed.level = mixed.plain;
        for voice in 0..VOICES {
            let [level] = self.means(|heard| heard.levels[voice], [HIGHEST]);
            mixed.levels[voice] = (level - chance).max(0.0);
        }
        mixed.daily = DAILY.map(|voice| self.means(|heard| heard.deviations[voice], [HIGHEST])[0]);
        mixed
    }

    /// Mean of the so many highest, of all where there are fewer.
    fn means<const N: usize>(&self, of: impl Fn(&Heard) -> f64, counts: [usize; N]) -> [f64; N] {
        let mut highest = [0.0; MOST];
        let places = counts.into_iter().max().unwrap_or(1).min(MOST);
        for (seen, value) in self.heard.iter().map(of).enumerate() {
            let mut place = seen.min(places - 1);
            if seen >= places && highest[place] >= value {
                continue;
            }
            while place > 0 && highest[place - 1] < value {
                highest[place] = highest[place - 1];
                place -= 1;
            }
            highest[place] = value;
        }
        counts.map(|count| {
            let taken = count.min(self.heard.len()).clamp(1, MOST);
            highest[..taken].iter().sum::<f64>() / taken as f64
        })
    }
}
