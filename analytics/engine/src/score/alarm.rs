//! When to raise an alert: at the row where something begins, once.
//!
//! An alert is an event, not a state: it is told in one row. It is told again when the level has been below
//! the threshold for a while and comes back nearly as high as lately, or when it rises far beyond what was
//! told. (The Numenta benchmark and every operator count repeated alerts as noise.)

/// Level that alerts.
pub(crate) const THRESHOLD: f64 = 2.2;
/// Rows of quiet after which a new rise is a new event.
const QUIET: u32 = 20;
/// Share of the highest recent level that a new event must reach.
const AS_HIGH: f64 = 0.9;
/// That highest level fades by this much a row.
const FADING: f64 = 0.995;
/// Rise beyond the level told that is told again.
const WORSE: f64 = 1.5;

/// Which rows alert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    quiet: u32,
    highest: f64,
    told: f64,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { quiet: QUIET, highest: 0.0, told: 0.0 }
    }
}

impl Alarm {
    pub(crate) fn row(&mut self, level: f64) -> bool {
        let is_high = level >= THRESHOLD;
        let is_new = self.quiet >= QUIET && level >= AS_HIGH * self.highest;
        let is_worse = self.quiet < QUIET && level >= WORSE * self.told;
        let alert = is_high && (is_new || is_worse);
        if alert {
            self.told = level;
        }
        self.quiet = if is_high { 0 } else { self.quiet.saturating_add(1) };
        self.highest = (self.highest * FADING).max(level);
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(levels: &[f64]) -> Vec<usize> {
        let mut alarm = Alarm::default();
        levels.iter().enumerate().filter(|(_, level)| alarm.row(**level)).map(|(row, _)| row).collect()
    }

    #[test]
    fn an_event_is_told_once() {
        assert_eq!(alerts(&[0.5, 3.0, 3.1, 3.0, 2.9, 0.5, 3.0, 0.5]), [1]);
    }

    #[test]
    fn it_is_told_again_when_it_gets_much_worse_or_comes_back_after_quiet() {
        assert_eq!(alerts(&[2.5, 2.6, 4.5, 4.5]), [0, 2]);
        let mut levels = vec![4.0];
        levels.extend([0.5; 30]);
        levels.push(4.0);
        assert_eq!(alerts(&levels), [0, 31]);
        levels.extend([0.5; 30]);
        levels.push(2.3);
        assert_eq!(alerts(&levels), [0, 31], "a small echo is no event of its own");
    }
}
