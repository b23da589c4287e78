//! The detector as a whole: order of rows, explanations, snapshots, what it sees and what it leaves alone.

use super::{
    Detector,
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

/// Opens by operation, of 30 with the event and 30 without, after `warm` windows: found ones' delays in
/// windows, opened after the event's end, opened elsewhere.
fn found(event: Event, length: usize) -> (Vec<usize>, usize, usize) {
    const WARM: usize = 360;
    let mut operations: Vec<Operation> = (0..60).map(|seed| Operation::new(seed * 7 + 1)).collect();
    for operation in operations.iter_mut().take(30) {
        operation.event = Event { from: WARM, to: WARM + length, ..event };
    }
    let flags = opened(&mut operations, WARM + 100);
    let of = |op: u32| flags.iter().filter(move |(t, flag)| flag.series / 4 == op && *t >= WARM);
    let delays = (0..30).filter_map(|op| of(op).map(|(t, _)| t - WARM + 1).min()).collect();
    let late = (0..30).flat_map(of).filter(|(t, _)| *t >= WARM + length + 6).count();
    let elsewhere = flags.iter().filter(|(t, flag)| flag.series >= 120 || *t < WARM).count();
    (delays, late, elsewhere)
}

fn median(mut delays: Vec<usize>) -> usize {
    delays.sort_unstable();
    delays.get(delays.len() / 2).copied().unwrap_or(usize::MAX)
}

// Scenario: 30 of 60 operations with one to five spans a window get slow, fail, fall silent or leak.
// Guarantees: most are found, soon, and nothing opens elsewhere.
#[test]
fn faults_are_found_at_low_traffic() {
    for (name, event, found_min, median_max) in [
        ("slow x2", Event { slower: 2.0, ..Event::NONE }, 26, 9),
        ("slow x3", Event { slower: 3.0, ..Event::NONE }, 29, 6),
        ("slow x5", Event { slower: 5.0, ..Event::NONE }, 29, 6),
        ("errors 30 %", Event { errors: 0.3, ..Event::NONE }, 24, 9),
        ("silence", Event { rate: 0.0, ..Event::NONE }, 27, 9),
        ("memory grows fast", Event { drift: 1.0, ..Event::NONE }, 28, 11),
        ("memory grows slowly", Event { drift: 0.3, ..Event::NONE }, 27, 20),
    ] {
        let (delays, late, elsewhere) = found(event, 60);
        assert!(delays.len() >= found_min, "{name}: found {} of 30", delays.len());
        assert!(median(delays.clone()) <= median_max, "{name}: {delays:?}");
        assert_eq!((late, elsewhere), (0, 0), "{name}");
    }
}

// Scenario: a deploy slows and fails one window's calls; traffic doubles over five minutes and goes back.
// Guarantees: neither opens anything.
#[test]
fn harmless_events_stay_quiet() {
    for (name, event, length) in
        [("deploy", Event { slower: 2.0, errors: 0.05, ..Event::NONE }, 1), ("ramp", Event { rate: 2.0, ramp: 30, ..Event::NONE }, 90)]
    {
        let (delays, late, elsewhere) = found(event, length);
        assert_eq!((delays.len(), late, elsewhere), (0, 0, 0), "{name}");
    }
}

// Scenario: a new service sends 50 spans within one window, or within three, and is never heard of again.
// Guarantees: nothing opens; nobody knows its rate yet.
#[test]
fn a_burst_is_no_rate_that_fell() {
    for burst in [1, 3] {
        let mut operations = [Operation::new(3)];
        let mut detector = detector(1, &Settings::default());
        for t in 0..200 {
            let mut window = closed(&mut operations, t);
            let n = if t < burst { 50.0 } else { 0.0 };
            for row in &mut window.rows {
                row.stat = crate::window::Stat { n, s1: if row.series % 4 == 0 { n } else { 0.0 }, s2: 0.0 };
            }
            let opened = detector.window(&window).flags.into_iter().find(|flag| flag.phase == Phase::Opened);
            assert!(opened.is_none(), "a burst of {burst}, window {t}: {opened:?}");
        }
    }
}

// Scenario: 400 quiet series with a daily shape for four hours.
// Guarantees: at most one opens (the budget allows 5 a week).
#[test]
fn quiet_series_stay_quiet() {
    let mut operations: Vec<Operation> = (0..100).map(|seed| Operation::new(seed * 11 + 3)).collect();
    let flags = opened(&mut operations, 4 * 360);
    assert!(flags.len() <= 1, "{flags:#?}");
}

// Scenario: rows of random windows come late, in random order, within the lateness.
// Guarantees: features, raw and calibrated scores end as if every row had been on time.
#[test]
fn order_within_lateness_leaves_no_trace() {
    let make = || -> Vec<Operation> {
        (0..4).map(|seed| Operation { event: Event { from: 90, to: 120, slower: 4.0, ..Event::NONE }, ..Operation::new(seed) }).collect()
    };
    let windows = 160;
    let mut operations = make();
    let whole: Vec<ClosedWindow> = (0..windows).map(|t| closed(&mut operations, t)).collect();
    let mut on_time = detector(4, &Settings::default());
    let mut expected = BTreeMap::new();
    for window in &whole {
        let scored = on_time.window(window).window;
        expected.insert(scored.features.at, scored);
    }
    let mut late = detector(4, &Settings::default());
    let mut dice = Dice::new(5);
    let mut ended = BTreeMap::new();
    let mut owed: Vec<(usize, ClosedWindow)> = Vec::new();
    for (t, window) in whole.iter().enumerate() {
        let mut now = window.clone();
        for row in &mut now.rows {
            if t > 0 && dice.uniform() < 0.2 {
                let kept = if dice.uniform() < 0.5 {
                    Default::default()
                } else {
                    crate::window::Stat { n: row.stat.n * 0.5, s1: row.stat.s1 * 0.5, s2: row.stat.s2 * 0.5 }
                };
                let amended = ClosedWindow { amended: true, rows: vec![row.clone()], ..window.clone() };
                owed.push((t + 1 + (dice.uniform() * 5.0) as usize, amended));
                (row.stat, row.shown) = (kept, f64::NAN);
            }
        }
        let mut all = vec![late.window(&now)];
        let due: Vec<ClosedWindow> = owed.extract_if(.., |(at, _)| *at <= t || t + 1 == windows).map(|(_, amended)| amended).collect();
        all.extend(due.iter().map(|amended| late.window(amended)));
        for scored in all.into_iter().flat_map(|scored| std::iter::once(scored.window).chain(scored.later)) {
            for (place, key) in scored.features.keys.iter().enumerate() {
                ended.insert((scored.features.at, *key), (scored.features.row(place).to_vec(), scored.raw[place], scored.score[place]));
            }
        }
    }
    for (at, window) in expected {
        for (place, key) in window.features.keys.iter().enumerate() {
            let (x, raw, score) = &ended[&(at, *key)];
            assert_eq!(window.features.row(place), x, "{at} {key}");
            assert!(raw.total_cmp(&window.raw[place]).is_eq(), "{at} {key}");
            assert!(score.total_cmp(&window.score[place]).is_eq(), "{at} {key}: {score} {}", window.score[place]);
        }
    }
}

// Scenario: a fault opens; the state goes through bytes half way.
// Guarantees: parts add up to the raw score, values are in shown units, the restored detector goes on
// exactly as the first.
#[test]
fn flags_explain_themselves_and_snapshots_resume() {
    let slow = Event { from: 200, to: 260, slower: 5.0, ..Event::NONE };
    let mut operations: Vec<Operation> = (0..6).map(|seed| Operation { event: slow, rate: 4.0, ..Operation::new(seed) }).collect();
    let mut first = detector(6, &Settings::default());
    let mut seen = 0;
    let mut second: Option<Detector> = None;
    for t in 0..280 {
        let window = closed(&mut operations, t);
        if t == 203 {
            let bytes = postcard::to_allocvec(first.snapshot()).expect("plain data");
            let snapshot = postcard::from_bytes(&bytes).expect("what was written");
            second = Some(Detector::restore(&Settings::default(), snapshot, Box::new(LargestDeviation::default())));
        }
        let scored = first.window(&window);
        if let Some(second) = &mut second {
            let other = second.window(&window);
            assert_eq!(format!("{:?}", scored.flags), format!("{:?}", other.flags));
            assert_eq!(scored.window.score.len(), other.window.score.len());
        }
        for flag in &scored.flags {
            let place = flag.series as usize;
            let sum: f64 = flag.contributions.iter().map(|part| part.value).sum();
            assert!((sum - f64::from(scored.window.raw[place])).abs() < 1e-6, "{sum} {}", scored.window.raw[place]);
            assert!((sum - (flag.raw - flag.raw_baseline)).abs() < 1e-6, "{sum} {} {}", flag.raw, flag.raw_baseline);
            if flag.phase == Phase::Opened && place % 4 == 2 {
                seen += 1;
                assert!(flag.actual > 2.0 * flag.expected && flag.expected > flag.lower && flag.upper > flag.expected, "{flag:?}");
                assert!(flag.z > 3.5 && flag.onset <= flag.at && flag.at.since(flag.onset) <= 120_000_000_000, "{flag:?}");
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}

// Scenario: operations become slow for ten minutes; at every flag the detector is asked what the score
// would be with all, half, and none of the deviation left.
// Guarantees: with all of it, the score that was told; with less never more; with none a calm one. What
// comes after is scored as if nobody had asked.
#[test]
fn the_score_without_a_part_is_asked_of_the_same_detector() {
    let slow = Event { from: 200, to: 260, slower: 3.0, ..Event::NONE };
    let mut operations: Vec<Operation> = (0..4).map(|seed| Operation { event: slow, rate: 4.0, ..Operation::new(seed) }).collect();
    let (mut asked, mut silent) = (detector(4, &Settings::default()), detector(4, &Settings::default()));
    let mut seen = 0;
    for t in 0..270 {
        let window = closed(&mut operations, t);
        let scored = asked.window(&window);
        assert_eq!(format!("{:?}", scored.flags), format!("{:?}", silent.window(&window).flags), "{t}");
        for flag in scored.flags.iter().filter(|flag| flag.phase != Phase::Closed && (200..230).contains(&t)) {
            let left = [(1.0, 1.0), (0.8, 0.5), (0.8, 0.0)];
            let scores = asked.without(flag.series, (flag.onset, flag.at), flag.z >= 0.0, &left).expect("the window is the newest");
            assert!((scores[0] - flag.score).abs() < 1e-3, "{t} {scores:?} {flag:?}");
            assert!(scores[1] <= scores[0] + 1e-3 && scores[2] <= scores[1] + 1e-3, "{t} {scores:?} {flag:?}");
            assert!(scores[2] < 0.6, "{t} {scores:?} {flag:?}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

// Scenario: a service's rows always come two windows late, by amending; it becomes slow.
// Guarantees: it is never taken for silence, and found all the same.
#[test]
fn slow_senders_are_found_by_amending() {
    let slow = Event { from: 150, to: 200, slower: 5.0, ..Event::NONE };
    let mut operations: Vec<Operation> = (0..3).map(|seed| Operation { event: slow, rate: 4.0, ..Operation::new(seed) }).collect();
    let mut detector = detector(3, &Settings::default());
    let mut owed = std::collections::VecDeque::new();
    let mut opened = Vec::new();
    for t in 0..200 {
        let window = closed(&mut operations, t);
        let mut flags = detector.window(&ClosedWindow { rows: window.rows[..8].to_vec(), ..window.clone() }).flags;
        owed.push_back(ClosedWindow { rows: window.rows[8..].to_vec(), amended: true, ..window });
        if owed.len() > 2 {
            flags.extend(detector.window(&owed.pop_front().expect("three are owed")).flags);
        }
        opened.extend(flags.into_iter().filter(|flag| flag.phase == Phase::Opened).map(|flag| (t, flag.series)));
    }
    assert!(opened.iter().all(|(t, series)| *t >= 150 && series % 4 == 2), "{opened:?}");
    assert!(opened.iter().any(|(_, series)| *series == 10), "{opened:?}");
}

// Scenario: nothing, unknown series, a window that is too old, not a number, a model that fails.
// Guarantees: counted, never a panic, always a score.
#[test]
fn odd_input_is_counted() {
    let mut detector = detector(1, &Settings::default());
    let mut operations = vec![Operation::new(1)];
    assert_eq!(detector.window(&ClosedWindow::default()).window.raw.len(), 0);
    for t in 0..60 {
        detector.window(&closed(&mut operations, t));
    }
    let mut old = closed(&mut operations, 1);
    old.amended = true;
    assert_eq!(detector.window(&old).counts, vec![("geophone_engine_rows_ignored_total", "settled", 4)]);
    let mut odd = closed(&mut operations, 60);
    odd.rows[2].stat.s1 = f64::NAN;
    odd.rows[3].series = 99;
    let scored = detector.window(&odd);
    assert_eq!(scored.counts, vec![("geophone_engine_rows_ignored_total", "unknown_series", 1)]);
    assert_eq!(scored.window.raw.len(), 3);
    assert!(scored.window.raw.iter().all(|raw| raw.is_finite()));
}
