//! What is promised is what comes: the brain over telemetry in which nothing goes wrong.
//!
//! `GEOPHONE_BUDGET="N HOURS CHAINS SEED" cargo test --test budget -- --nocapture` plays a longer stretch
//! of any promise and prints what came, hour by hour.

#![allow(clippy::print_stdout, reason = "promised against real is worth reading")]

mod calm;
mod head;

use calm::{BEAT_NS, Calm};
use geophone_proto::{UnixNanos, anomaly::Maturity, time::SECOND_NS};
use head::{START, Watched};

const HOUR_NS: u64 = 3_600 * SECOND_NS;
const WEEK_H: f64 = 168.0;

/// Plays `hours` of an installation on; whatever `at_hour` does to it comes first.
fn play(head: &mut Watched, calm: &mut Calm, hours: f64) {
    for _ in 0..(hours * HOUR_NS as f64) as u64 / BEAT_NS {
        let (at, requests) = calm.beat();
        head.beat(UnixNanos(at), &requests);
    }
}

/// Incidents that opened within some hours of the start.
fn opened(head: &Watched, hours: std::ops::Range<f64>) -> usize {
    let hour = |at: UnixNanos| at.since(START) as f64 / HOUR_NS as f64;
    head.incidents().values().filter(|incident| hours.contains(&hour(incident.opened_at))).count()
}

fn say(head: &Watched, per_week: f64, hours: f64) {
    let promised = per_week * hours / WEEK_H;
    println!(
        "{per_week} a week: {} incidents in {hours} h, promised {promised:.1}; {} series, {:?}",
        head.incidents().len(),
        head.series.len(),
        head.budget
    );
}

/// Scenario: twelve services, from hardly any traffic to a busy one, on a quiet day; two promises. (Any other
/// by `GEOPHONE_BUDGET`.)
/// Guarantees: after the first hour the real rate of incidents is within 20 % of the promised.
#[test]
fn on_a_quiet_day_as_many_open_as_were_promised() {
    let given = std::env::var("GEOPHONE_BUDGET").ok();
    let numbers: Option<Vec<f64>> = given.map(|text| text.split_whitespace().map(|word| word.parse().expect("a number")).collect());
    let runs = numbers.map_or_else(|| vec![[1_000.0, 10.0, 6.0, 1.0], [300.0, 24.0, 3.0, 2.0]], |n| vec![[n[0], n[1], n[2], n[3]]]);
    for [per_week, hours, chains, seed] in runs {
        let (mut head, mut calm) = (Watched::new(per_week), Calm::new(seed as u64, chains as usize, START.0));
        play(&mut head, &mut calm, hours);
        say(&head, per_week, hours);
        let by_hour: Vec<usize> = (0..hours as usize).map(|hour| opened(&head, hour as f64..(hour + 1) as f64)).collect();
        println!("by hour {by_hour:?}");
        let (real, promised) = (opened(&head, 1.0..hours) as f64, per_week * (hours - 1.0) / WEEK_H);
        assert!((0.8..=1.2).contains(&(real / promised)), "{per_week} a week: {real} opened, {promised:.1} promised");
    }
}

/// Scenario: six installations start cold; the promise is ten incidents an hour.
/// Guarantees: in the first hour no more open than were promised.
#[test]
fn a_cold_start_is_no_reason_to_alert() {
    let mut all = 0;
    for seed in 20..26 {
        let (mut head, mut calm) = (Watched::new(10.0 * WEEK_H), Calm::new(seed, 6, START.0));
        play(&mut head, &mut calm, 1.0);
        all += head.incidents().len();
    }
    println!("{all} in six first hours, promised 60");
    assert!(all <= 66, "{all} in six first hours");
}

/// Scenario: an installation that has run for two hours; a new version of every other service, then three new
/// services. The promise is the default one, five a week.
/// Guarantees: a series of theirs has a score within a minute of its first row, provisional; nothing opens.
#[test]
fn who_joins_is_scored_within_a_minute_and_alerts_nobody() {
    let (mut head, mut calm) = (Watched::new(5.0), Calm::new(7, 6, START.0));
    play(&mut head, &mut calm, 2.0);
    let before = head.series.len();
    (0..calm.services()).step_by(2).for_each(|service| calm.release(service));
    play(&mut head, &mut calm, 0.5);
    (6..9).for_each(|chain| calm.join(chain + 9));
    play(&mut head, &mut calm, 0.5);
    let new: Vec<_> = head.series.values().filter(|known| known.index >= before).collect();
    assert!(new.len() > 30, "{} new series", new.len());
    for known in new {
        let (Some(first), Some(scored)) = (known.first_row, known.first_score) else { continue };
        assert!(scored.since(first) <= 60 * SECOND_NS, "{:?}: first row {first}, first score {scored}", known.series);
        assert_eq!(known.first_maturity, Maturity::Provisional, "{:?}", known.series);
    }
    assert!(head.incidents().is_empty(), "{:?}", head.incidents().values().map(|incident| &incident.title).collect::<Vec<_>>());
}

/// Scenario: two services that see a request every two minutes, one in five of which fails or takes long, and
/// nobody else, for a day; the promise is a thousand a week.
/// Guarantees: they never open an incident: so few events are no evidence.
#[test]
fn hardly_any_traffic_never_alerts() {
    let (mut head, mut calm) = (Watched::new(1_000.0), Calm::sparse(3, START.0));
    play(&mut head, &mut calm, 24.0);
    assert!(head.incidents().is_empty(), "{:?}", head.incidents().values().map(|incident| &incident.title).collect::<Vec<_>>());
}
