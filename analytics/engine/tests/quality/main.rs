//! How good `score` is on the labelled public data sets, held against `baseline.csv`.
//!
//! The data lie beside the checkout (`../shared/datasets`) or where `GEOPHONE_DATASETS` says, and are no part of
//! the repository; without them the test says so and passes. A debug build takes every third machine and
//! few slope widths (seconds), a release build everything: `cargo xtask quality` prints the whole report.
//! `GEOPHONE_BLESS=1` writes the baseline anew: read the difference before you commit it.

#![allow(clippy::print_stdout, missing_docs, reason = "a report")]

mod judge;
mod labelled;

use geophone_engine::score::{Entity, Row, Univariate};
use judge::Judged;
use labelled::Labelled;
use std::{fs, time::Instant};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/quality/baseline.csv");
/// Figures may differ this much from one C library's logarithm to another's.
const SLACK: f64 = 0.01;

/// How much is looked at.
const WHOLE: bool = !cfg!(debug_assertions);
const EXTENT: &str = if WHOLE { "all" } else { "sample" };
const WIDTH_STEP: usize = if WHOLE { 1 } else { 50 };
const MACHINE_STEP: usize = if WHOLE { 1 } else { 3 };

/// One data set's figures; all but the last must not fall.
struct Figures {
    set: &'static str,
    nab: f64,
    vus: f64,
    f1: f64,
    false_alarms: f64,
}

impl Figures {
    fn line(&self) -> String {
        format!("{EXTENT},{},{:.2},{:.4},{:.4},{:.4}", self.set, self.nab, self.vus, self.f1, self.false_alarms)
    }
}

fn scored(data: &Labelled) -> Judged<'_> {
    let rows: Vec<Row> = if data.dimensions == 1 {
        let mut scorer = Univariate::default();
        data.seconds.iter().zip(&data.values).map(|(&seconds, &value)| scorer.row(seconds, value)).collect()
    } else {
        let mut scorer = Entity::new(data.dimensions);
        data.seconds.iter().zip(data.values.chunks_exact(data.dimensions)).map(|(&seconds, row)| scorer.row(seconds, row)).collect()
    };
    Judged { data, scores: rows.iter().map(|row| row.score).collect(), alerts: rows.iter().map(|row| row.alert).collect() }
}

fn judged(folder: &std::path::Path, set: &'static str) -> Figures {
    let all = labelled::read(folder, set, MACHINE_STEP);
    let start = Instant::now();
    let judged: Vec<Judged<'_>> = all.iter().map(scored).collect();
    let points: usize = all.iter().map(|data| data.values.len()).sum();
    let us = start.elapsed().as_secs_f64() * 1e6 / points as f64;
    let events = judge::events(&judged);
    let figures = Figures {
        set,
        nab: judge::nab(&judged),
        vus: judge::vus(&judged, WIDTH_STEP),
        f1: events.f1(),
        false_alarms: events.false_alarms_a_day(),
    };
    println!(
        "| {set} | {} | {:.1} | {:.3} | {:.3} | {} of {} | {:.3} | {us:.2} |",
        all.len(),
        figures.nab,
        figures.vus,
        figures.f1,
        events.found,
        events.windows,
        figures.false_alarms,
    );
    figures
}

// Scenario: public series with labels, thresholds as shipped.
// Guarantees: no figure is worse than the committed baseline.
#[test]
fn no_figure_falls() {
    let Some(folder) = labelled::folder() else {
        println!("skipped: no data sets at ../shared/datasets beside the checkout (or in $GEOPHONE_DATASETS)");
        return;
    };
    println!("| set | series | NAB standard | VUS-PR | event F1 | windows found | false alarms a day and series | us a point |");
    println!("|---|---|---|---|---|---|---|---|");
    let figures = ["nab", "kpi", "smd"].map(|set| judged(&folder, set));
    let committed = fs::read_to_string(BASELINE).expect("the baseline is committed");
    if std::env::var_os("GEOPHONE_BLESS").is_some() {
        let others = committed.lines().filter(|line| !line.starts_with(EXTENT)).map(str::to_owned);
        let lines: Vec<String> = others.chain(figures.iter().map(Figures::line)).collect();
        fs::write(BASELINE, lines.join("\n") + "\n").expect("the baseline can be written");
        return;
    }
    for now in &figures {
        let start = format!("{EXTENT},{},", now.set);
        let line = committed.lines().find(|line| line.starts_with(&start)).expect("each set has a baseline");
        let was: Vec<f64> = line.split(',').skip(2).map(|text| text.parse().expect("a number")).collect();
        let found = now.line();
        assert!(now.nab >= was[0] - 100.0 * SLACK, "NAB's score fell: {found}, was {line}");
        assert!(now.vus >= was[1] - SLACK, "VUS-PR fell: {found}, was {line}");
        assert!(now.f1 >= was[2] - SLACK, "event F1 fell: {found}, was {line}");
        assert!(now.false_alarms <= was[3] + SLACK, "false alarms rose: {found}, was {line}");
    }
}
