//! The detector as a whole: order of rows, explanations, snapshots, what it sees and what it leaves alone.

use super::{
    Detector, Scored,
    baseline::LargestDeviation,
    simulated::{Dice, Event, KINDS, Operation, closed},
};
use crate::{
    Settings,
    flag::{Flag, Phase},
    window::{ClosedWindow, StatKind},
};
use geophone_proto::{Series, SeriesKind, Tenant};
use std::collections::BTreeMap;

fn kind_of(kind: StatKind) -> SeriesKind {
    match kind {
        StatKind::Count => SeriesKind::RequestRate,
        StatKind::Share => SeriesKind::ErrorRatio,
        StatKind::LogMean => SeriesKind::DurationP50,
        StatKind::Level => SeriesKind::MetricValue,
    }
}

fn detector(operations: usize, settings: &Settings) -> Detector {
    let mut detector = Detector::new(settings, Box::new(LargestDeviation::default()));
    for index in 0..operations * 4 {
        let kind = KINDS[index % 4];
        let series = Series::new(Tenant::default(), "shop", &format!("op{}", index / 4), kind_of(kind), BTreeMap::new());
        detector.series(index as u32, &series, kind);
    }
    detector
}

/// Runs and keeps the opened flags as (window, flag).
fn opened(operations: &mut [Operation], windows: usize) -> Vec<(usize, Flag)> {
    let mut detector = detector(operations.len(), &Settings::default());
    let mut flags = Vec::new();
    for t in 0..windows {
        let scored = detector.window(&closed(operations, t));
        flags.extend(scored.flags.into_iter().filter(|flag| flag.phase == Phase::Opened).map(|flag| (t, flag)));
    }
    flags
}

#[test]
fn measure() {
    if std::env::var("MEASURE").is_err() {
        return;
    }
    let events: Vec<(&str, Event)> = vec![
        ("slow x2", Event { slower: 2.0, ..Event::NONE }),
        ("slow x3", Event { slower: 3.0, ..Event::NONE }),
        ("slow x5", Event { slower: 5.0, ..Event::NONE }),
        ("errors 5%", Event { errors: 0.05, ..Event::NONE }),
        ("errors 10%", Event { errors: 0.1, ..Event::NONE }),
        ("errors 30%", Event { errors: 0.3, ..Event::NONE }),
        ("drop to 30%", Event { rate: 0.3, ..Event::NONE }),
        ("drop to 0", Event { rate: 0.0, ..Event::NONE }),
        ("gauge ramp .3sd", Event { drift: 0.3, ..Event::NONE }),
        ("gauge ramp 1sd", Event { drift: 1.0, ..Event::NONE }),
        ("gauge ramp .1sd", Event { drift: 0.1, ..Event::NONE }),
        ("traffic x2 ramp 5min", Event { rate: 2.0, ramp: 30, ..Event::NONE }),
        ("traffic x3 ramp 5min", Event { rate: 3.0, ramp: 30, ..Event::NONE }),
        ("traffic x3 ramp 1min", Event { rate: 3.0, ramp: 6, ..Event::NONE }),
        ("blip 10 s x3 10%", Event { slower: 3.0, errors: 0.1, ..Event::NONE }),
        ("blip 20 s x3 10%", Event { slower: 3.0, errors: 0.1, ..Event::NONE }),
        ("blip 30 s x3 10%", Event { slower: 3.0, errors: 0.1, ..Event::NONE }),
    ];
    for warm in [360usize, 60] {
        for (name, event) in events.iter().filter(|(name, _)| std::env::var("ONLY").map_or(true, |only| name.contains(&only))) {
            let length = match *name {
                name if name.starts_with("blip 10") => 1,
                name if name.starts_with("blip 20") => 2,
                name if name.starts_with("blip 30") => 3,
                _ => 60,
            };
            let mut operations: Vec<Operation> = (0..60).map(|seed| Operation::new(seed * 7 + 1)).collect();
            for operation in operations.iter_mut().take(30) {
                operation.event = Event { from: warm, to: warm + length, ..*event };
            }
            let flags = opened(&mut operations, warm + 120);
            let mut delays: Vec<usize> = (0..30u32)
                .filter_map(|op| {
                    flags.iter().filter(|(t, f)| f.series / 4 == op && *t >= warm && *t < warm + 60).map(|(t, _)| t - warm + 1).min()
                })
                .collect();
            let missed: Vec<(usize, f64, f64)> = (0..30usize).filter(|&op| !flags.iter().any(|(t, f)| f.series as usize / 4 == op && *t >= warm && *t < warm + 60)).map(|op| (op, operations[op].rate, operations[op].error_share)).collect();
            if std::env::var("ONLY").is_ok() { eprintln!("missed {missed:.4?}"); }
            delays.sort_unstable();
            let median = delays.get(delays.len() / 2);
            let minute = delays.iter().filter(|d| **d <= 6).count();
            let late = flags.iter().filter(|(t, f)| f.series < 120 && *t >= warm + length).count();
            let others = flags.iter().filter(|(t, f)| f.series >= 120 || *t < warm).count();
            eprintln!(
                "warm {warm:3} {name:22} found {:2}/30 in a minute {minute:2} median {median:?} after {late} false {others}",
                delays.len()
            );
        }
    }
    let mut operations: Vec<Operation> = (0..125).map(|seed| Operation::new(seed * 11 + 3)).collect();
    let windows = std::env::var("WINDOWS").ok().and_then(|w| w.parse().ok()).unwrap_or(8640);
    let flags = opened(&mut operations, windows);
    eprintln!("quiet: {} flags of 500 series in {} h", flags.len(), windows / 360);
    for (t, f) in flags.iter().take(40) {
        eprintln!(
            "  t {t} kind {:?} z {:.1} n {} score {:.3} actual {} expected {}",
            KINDS[f.series as usize % 4],
            f.z,
            f.n,
            f.score,
            f.actual,
            f.expected
        );
    }
}

#[test]
fn unused() {
    let _ = (Dice::new(1), Scored::default(), ClosedWindow::default());
}
