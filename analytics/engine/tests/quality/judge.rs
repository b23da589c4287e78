//! The measures of the data sets' own `score.py`, in Rust: NAB's score and event counts of the alert stream,
//! VUS-PR of the score stream. The same numbers to the third digit where every slope width is taken.

use super::labelled::Labelled;

/// Rows before a window in which an alert counts as early, not as false.
const LEAD: usize = 5;
/// Widest slope of VUS-PR.
const WIDEST: usize = 100;
/// Thresholds of a precision-recall curve.
const THRESHOLDS: usize = 250;

/// One series' scores and alerts.
pub struct Judged<'a> {
    pub data: &'a Labelled,
    pub scores: Vec<f64>,
    pub alerts: Vec<bool>,
}

/// Labelled windows and what the alerts made of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    pub windows: f64,
    pub found: f64,
    pub false_alarms: f64,
    pub days: f64,
}

impl Events {
    pub fn f1(&self) -> f64 {
        2.0 * self.found / (self.windows + self.found + self.false_alarms).max(1.0)
    }

    pub fn false_alarms_a_day(&self) -> f64 {
        self.false_alarms / self.days.max(1e-9)
    }
}

fn sigmoid(x: f64) -> f64 {
    if x > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * x).exp()) - 1.0 }
}

/// NAB's standard profile at the alerts as they are, 0 to 100 (Lavin, Ahmad 2015).
pub fn nab(judged: &[Judged<'_>]) -> f64 {
    const FALSE_ALARM: f64 = 0.11;
    let (mut sum, mut none, mut windows) = (0.0, 0.0, 0.0);
    for one in judged {
        let mut last: Option<(usize, usize)> = None;
        let mut next = one.data.windows.iter().copied().peekable();
        for row in one.data.probation..one.alerts.len() {
            while next.peek().is_some_and(|window| window.1 < row) {
                last = next.next();
            }
            let is_inside = next.peek().is_some_and(|window| window.0 <= row);
            if one.alerts[row] && !is_inside {
                let width = |window: (usize, usize)| (window.1 - window.0).max(1) as f64;
                sum += FALSE_ALARM * last.map_or(-1.0, |window| sigmoid((row - window.1) as f64 / width(window)));
            }
        }
        for &(first, end) in &one.data.windows {
            windows += 1.0;
            if end < one.data.probation {
                continue;
            }
            none -= 1.0;
            let hit = (first.max(one.data.probation)..=end).find(|&row| one.alerts[row]);
            let place = |row: usize| -((end - row + 1) as f64) / (end - first + 1) as f64;
            sum += hit.map_or(-1.0, |row| sigmoid(place(row)) / sigmoid(-1.0));
        }
    }
    100.0 * (sum - none) / (windows - none)
}

/// A window with an alert inside is found; every stretch of alerts outside is a false alarm, plus one a
/// further day, but for the first rows before a window and the fading of a found one.
pub fn events(judged: &[Judged<'_>]) -> Events {
    let mut events = Events::default();
    for one in judged {
        let (rows, probation) = (one.alerts.len(), one.data.probation);
        let alert = |row: usize| row >= probation && one.alerts[row];
        let mut width = vec![0; rows];
        for &(first, end) in &one.data.windows {
            width[first..=end].fill(end - first + 1);
            if end >= probation {
                events.windows += 1.0;
                events.found += f64::from(u8::from((first..=end).any(alert)));
            }
        }
        events.days += (one.data.seconds[rows - 1] - one.data.seconds[probation.min(rows - 1)]) / 86_400.0;
        let outside = |row: usize| alert(row) && width[row] == 0;
        let mut row = 0;
        while row < rows {
            let first = row;
            while row < rows && outside(row) {
                row += 1;
            }
            if row > first {
                let (before, after, length) = (first.saturating_sub(1), row.min(rows - 1), row - first);
                let is_fading = width[before] > 0 && alert(before) && length <= width[before];
                let is_early = width[after] > 0 && alert(after) && length <= LEAD;
                if !is_fading && !is_early {
                    events.false_alarms += 1.0 + ((one.data.seconds[row - 1] - one.data.seconds[first]) / 86_400.0).floor();
                }
            }
            row += 1;
        }
    }
    events
}

/// Volume under the surface of precision and recall (Paparrizos et al. 2022), mean over series with
/// labels; every `step`th slope width.
pub fn vus(judged: &[Judged<'_>], step: usize) -> f64 {
    let of_each: Vec<f64> = judged.iter().filter_map(|one| vus_of(one, step)).collect();
    of_each.iter().sum::<f64>() / of_each.len().max(1) as f64
}

/// Rows by falling score, and how many each threshold predicts.
struct Ranked {
    order: Vec<usize>,
    cuts: Vec<f64>,
    predicted: Vec<usize>,
}

impl Ranked {
    fn of(scores: &[f64]) -> Self {
        let rows = scores.len();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let cuts: Vec<f64> = (0..THRESHOLDS).map(|at| scores[order[at * (rows - 1) / (THRESHOLDS - 1)]]).collect();
        let mut above = 0;
        let mut predicted = Vec::with_capacity(THRESHOLDS);
        for &cut in &cuts {
            while above < rows && scores[order[above]] >= cut {
                above += 1;
            }
            predicted.push(above);
        }
        Self { order, cuts, predicted }
    }

    /// Sum of labels among the rows that each threshold predicts.
    fn hits(&self, labels: &[f64]) -> Vec<f64> {
        let (mut sum, mut from) = (0.0, 0);
        let mut hits = Vec::with_capacity(THRESHOLDS);
        for &to in &self.predicted {
            sum += self.order[from..to].iter().map(|&row| labels[row]).sum::<f64>();
            from = to;
            hits.push(sum);
        }
        hits
    }
}

fn vus_of(one: &Judged<'_>, step: usize) -> Option<f64> {
    let probation = one.data.probation;
    let scores = &one.scores[probation..];
    let mut hard = vec![0.0; scores.len()];
    for &(first, end) in one.data.windows.iter().filter(|window| window.1 >= probation) {
        hard[first.max(probation) - probation..=end - probation].fill(1.0);
    }
    let runs = runs(&hard);
    if runs.is_empty() {
        return None;
    }
    let ranked = Ranked::of(scores);
    let (hard_hits, positives) = (ranked.hits(&hard), hard.iter().sum::<f64>());
    let widths: Vec<usize> = (0..=WIDEST).step_by(step).collect();
    let mut volume = 0.0;
    for &width in &widths {
        let (soft, reach) = slopes(&hard, &runs, width);
        let hits = ranked.hits(&soft);
        let highest: Vec<f64> = reach.iter().map(|&(a, b)| scores[a..=b].iter().copied().fold(f64::MIN, f64::max)).collect();
        let mut before = 0.0;
        for at in 0..THRESHOLDS {
            let found = highest.iter().filter(|&&top| top >= ranked.cuts[at]).count() as f64 / reach.len() as f64;
            let recall = (hits[at] / (positives + 0.5 * (hits[at] - hard_hits[at]))).min(1.0) * found;
            volume += (recall - before) * hits[at] / ranked.predicted[at] as f64;
            before = recall;
        }
    }
    Some(volume / widths.len() as f64)
}

/// Labels with soft slopes of this width around each run, and the runs so widened, joined where they meet.
fn slopes(hard: &[f64], runs: &[(usize, usize)], width: usize) -> (Vec<f64>, Vec<(usize, usize)>) {
    let (half, last) = (width / 2, hard.len() - 1);
    let mut soft = hard.to_vec();
    let mut reach: Vec<(usize, usize)> = Vec::new();
    for &(a, b) in runs {
        for away in 1..=half {
            let label = (1.0 - away as f64 / width as f64).sqrt();
            for row in [a.checked_sub(away), Some(b + away).filter(|row| *row <= last)].into_iter().flatten() {
                soft[row] = (soft[row] + label).min(1.0);
            }
        }
        let wide = (a.saturating_sub(half), (b + half).min(last));
        match reach.last_mut() {
            Some(previous) if wide.0 <= previous.1 => previous.1 = wide.1,
            _ => reach.push(wide),
        }
    }
    (soft, reach)
}

fn runs(labels: &[f64]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (row, _) in labels.iter().enumerate().filter(|(_, label)| **label > 0.0) {
        match runs.last_mut() {
            Some(last) if last.1 + 1 == row => last.1 = row,
            _ => runs.push((row, row)),
        }
    }
    runs
}
