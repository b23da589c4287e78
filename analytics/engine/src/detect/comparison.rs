//! How a model on trial does beside another: agreement, differences, alerts; and when that is too bad.
//!
//! Pure numbers: fed by `companion`, row by row and window by window. A mean "over the last windows"
//! forgets with one part in `MEMORY` a window.

use geophone_proto::{
    UnixNanos,
    model::{ModelRef, Stage, Trial},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Windows that a mean reaches back.
const MEMORY: f64 = 12.0;
/// Windows that must have been compared before a mean is believed.
const WINDOWS_MIN: u64 = 12;
/// Rows a window must have for a rank correlation.
const RANKED_MIN: usize = 8;
/// Rows ranked at most: more do not change the figure.
const RANKED_MAX: usize = 512;
/// Anomalies that must have been opened before their number is believed.
const ALERTS_MIN: u64 = 5;
/// A share of rows above the limit that is never held against a model.
const ABOVE_MIN: f64 = 0.02;
/// Windows with some failures that are forgiven.
const FAILURES_MAX: u64 = 2;

/// Beyond these a model on trial goes back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialBounds {
    /// Alerts, as a multiple of the other model's.
    pub alert_ratio: f64,
    /// Least rank correlation with the other model.
    pub agreement_min: f64,
    /// Largest mean difference of calibrated scores.
    pub score_difference_max: f64,
    /// How long a promoted model is on probation.
    pub probation: Duration,
}

impl Default for TrialBounds {
    fn default() -> Self {
        Self { alert_ratio: 3.0, agreement_min: 0.1, score_difference_max: 0.25, probation: Duration::from_secs(1_800) }
    }
}

/// A trial that has compared nothing yet.
pub(crate) fn trial(model: ModelRef, against: ModelRef, (stage, percent): (Stage, u32), since: UnixNanos) -> Trial {
    Trial {
        model,
        against,
        stage,
        percent,
        since,
        windows: 0,
        rows: 0,
        agreement: None,
        score_difference: 0.0,
        above: [0.0; 2],
        alerts: [0; 3],
        failures: 0,
    }
}

/// What one window adds to a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Raw scores of the model and of the other, row by row.
    pub(crate) raw: Vec<(f32, f32)>,
    /// Sum of absolute differences of calibrated scores, and rows in it.
    pub(crate) difference: (f64, u64),
    /// Rows above the limit: the model's, the other's; and rows judged.
    pub(crate) above: [u64; 2],
    pub(crate) judged: u64,
    /// Whether the model failed on a row, and on most rows.
    pub(crate) failed: (bool, bool),
}

impl Look {
    /// Adds this window to the trial and begins the next.
    pub(crate) fn close(&mut self, trial: &mut Trial) {
        let look = std::mem::take(self);
        if look.failed.0 {
            trial.failures += if look.failed.1 { FAILURES_MAX + 1 } else { 1 };
        }
        if look.judged == 0 {
            return;
        }
        trial.windows += 1;
        trial.rows += look.judged;
        let weight = 1.0 / MEMORY.min(trial.windows as f64);
        let blend = |mean: &mut f64, new: f64| *mean += weight * (new - *mean);
        if look.difference.1 > 0 {
            blend(&mut trial.score_difference, look.difference.0 / look.difference.1 as f64);
        }
        for (mean, above) in trial.above.iter_mut().zip(look.above) {
            blend(mean, above as f64 / look.judged as f64);
        }
        if let Some(new) = rank_correlation(&look.raw) {
            let agreement = trial.agreement.get_or_insert(new);
            blend(agreement, new);
        }
    }
}

/// Why a model should go, if it should.
pub(crate) fn trouble(trial: &Trial, bounds: &TrialBounds) -> Option<String> {
    if trial.failures > FAILURES_MAX {
        return Some("it failed or gave no number".to_owned());
    }
    if trial.stage == Stage::Shadow || trial.windows < WINDOWS_MIN {
        return None;
    }
    let [own, other, _] = trial.alerts;
    if own >= ALERTS_MIN && own as f64 > bounds.alert_ratio * (other + 1) as f64 {
        return Some(format!("alert rate: {own} anomalies where {} opened {other}", trial.against.name));
    }
    let [own, other] = trial.above;
    if own > bounds.alert_ratio * other + ABOVE_MIN {
        return Some(format!("alert rate: {:.1} % of rows above the limit, {:.1} % by {}", 100.0 * own, 100.0 * other, trial.against.name));
    }
    if let Some(agreement) = trial.agreement.filter(|agreement| *agreement < bounds.agreement_min) {
        return Some(format!("score drift: rank correlation {agreement:.2} with {}", trial.against.name));
    }
    (trial.score_difference > bounds.score_difference_max)
        .then(|| format!("score drift: scores differ by {:.2} from those of {}", trial.score_difference, trial.against.name))
}

/// Spearman's rank correlation; 0 where one side knows no difference at all, `None` for few rows or
/// where neither does. Cost: two sorts of at most `RANKED_MAX` numbers.
fn rank_correlation(pairs: &[(f32, f32)]) -> Option<f64> {
    let step = pairs.len().div_ceil(RANKED_MAX).max(1);
    let pairs: Vec<(f32, f32)> = pairs.iter().step_by(step).copied().collect();
    if pairs.len() < RANKED_MIN {
        return None;
    }
    let a = ranks(pairs.iter().map(|pair| pair.0).collect());
    let b = ranks(pairs.iter().map(|pair| pair.1).collect());
    let middle = (pairs.len() - 1) as f64 / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let (aa, bb) = (sum(&a, &a), sum(&b, &b));
    if aa <= 0.0 && bb <= 0.0 {
        return None;
    }
    Some(if aa <= 0.0 || bb <= 0.0 { 0.0 } else { sum(&a, &b) / (aa * bb).sqrt() })
}

/// Rank of each number, ties share their mean.
fn ranks(numbers: Vec<f32>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_unstable_by(|&a, &b| numbers[a].total_cmp(&numbers[b]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; numbers.len()];
    let mut from = 0;
    while from < order.len() {
        let to = (from..order.len()).find(|&at| numbers[order[at]] != numbers[order[from]]).unwrap_or(order.len());
        for &at in &order[from..to] {
            ranks[at] = (from + to - 1) as f64 / 2.0;
        }
        from = to.max(from + 1);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(of: impl Fn(f32) -> f32) -> Vec<(f32, f32)> {
        (0..50).map(|n| (n as f32, of(n as f32))).collect()
    }

    #[test]
    fn ranks_correlate_as_they_should() {
        let near = |found: Option<f64>, wanted: f64| (found.expect("enough rows") - wanted).abs() < 1e-9;
        assert!(near(rank_correlation(&pairs(|x| x.exp2())), 1.0));
        assert!(near(rank_correlation(&pairs(|x| -x)), -1.0));
        assert!(near(rank_correlation(&pairs(|_| 7.0)), 0.0));
        assert_eq!(rank_correlation(&pairs(|x| x)[..3]), None);
        assert_eq!(rank_correlation(&[(1.0, 1.0); 20]), None);
    }

    #[test]
    fn each_bound_is_noticed_and_calm_is_not() {
        let model = |name: &str| ModelRef { name: name.into(), ..ModelRef::default() };
        let mut calm = trial(model("new"), model("old"), (Stage::Canary, 10), UnixNanos(0));
        for _ in 0..20 {
            let mut look = Look { raw: pairs(|x| x * x), difference: (0.5, 50), judged: 50, ..Look::default() };
            look.close(&mut calm);
        }
        let bounds = TrialBounds::default();
        assert_eq!(trouble(&calm, &bounds), None);
        let said = |change: &dyn Fn(&mut Trial)| {
            let mut trial = calm.clone();
            change(&mut trial);
            trouble(&trial, &bounds).unwrap_or_default()
        };
        assert!(said(&|trial| trial.alerts = [12, 2, 2]).contains("alert rate"));
        assert!(said(&|trial| trial.above = [0.2, 0.01]).contains("alert rate"));
        assert!(said(&|trial| trial.agreement = Some(-0.3)).contains("score drift"));
        assert!(said(&|trial| trial.score_difference = 0.4).contains("score drift"));
        assert!(said(&|trial| trial.failures = 3).contains("failed"));
        assert_eq!(said(&|trial| (trial.stage, trial.agreement) = (Stage::Shadow, Some(-1.0))), "");
    }
}
