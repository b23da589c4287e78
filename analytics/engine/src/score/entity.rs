//! Many numbers of one thing (a machine's metrics): one score for all.
//!
//! The entity's level is the mean of its four highest dimensions' levels, less what chance gives the
//! highest of so many: one dimension alone rarely is an incident. What recurs daily is not damped here:
//! among many dimensions some always do at any hour.

use super::{
    sensor::Sensor,
    univariate::{Row, Seconds, Told},
};

/// Dimensions that make the level.
const HIGHEST: usize = 4;
/// Levels taken off for each decade of dimensions a place among the highest is drawn from.
const CHANCE: f64 = 0.75;

/// Scores one entity.
#[derive(Clone, Debug)]
pub struct Entity {
    sensors: Vec<Sensor>,
    levels: Vec<f64>,
    told: Told,
    seconds: Seconds,
}

impl Entity {
    /// A scorer of this many dimensions.
    pub fn new(dimensions: usize) -> Self {
        let sensors = vec![Sensor::new(dimensions == 1); dimensions];
        Self { sensors, levels: Vec::with_capacity(dimensions), told: Told::default(), seconds: Seconds::default() }
    }

    /// Takes the next row, as `Univariate::row` does; a dimension that the row lacks is missing.
    pub fn row(&mut self, seconds: f64, values: &[f64]) -> Row {
        let seconds = self.seconds.read(seconds);
        self.levels.clear();
        let given = values.iter().copied().chain(std::iter::repeat(f64::NAN));
        self.levels.extend(self.sensors.iter_mut().zip(given).map(|(sensor, value)| sensor.row(seconds, value)));
        let all = self.levels.len();
        let places = HIGHEST.min(all).max(1);
        if all > places {
            self.levels.select_nth_unstable_by(places - 1, |a, b| b.total_cmp(a));
        }
        let mean = self.levels.iter().take(places).sum::<f64>() / places as f64;
        let chance = CHANCE * (all.max(1) as f64 / places as f64).log10();
        self.told.row((mean - chance).max(0.0))
    }
}
