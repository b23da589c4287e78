//! The brain against the simulated shop, in one process: every fault found with its cause, nothing else.

#![allow(clippy::print_stdout, reason = "how fast each fault was found is worth reading")]

mod skew;

use geophone_client::shop::{Fault, Pace, Schedule, Shop};
use geophone_engine::Settings;
use geophone_proto::{UnixNanos, incident::Incident, time::SECOND_NS};
use geophone_tests::head::Head;
use std::sync::Arc;

const START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);
/// How long after a fault's end its incident may still open.
const GRACE_NS: u64 = 120 * SECOND_NS;

/// All incidents of one day at the shop.
fn day(schedule: &Schedule) -> Vec<Incident> {
    let model = geophone_models::shipped().expect("the shipped model loads");
    let mut head = Head::new(Settings::default(), model);
    let mut shop = Shop::new(schedule.seed, schedule.start, schedule);
    let mut now = schedule.start;
    while now < schedule.end {
        now = now.plus(SECOND_NS);
        for sent in shop.advance(now) {
            head.take(sent.at, &sent.request);
        }
        head.tick(now);
    }
    let mut incidents: Vec<Incident> = head.incidents.into_values().collect();
    incidents.sort_by_key(|incident| incident.opened_at);
    incidents
}

fn belongs(incident: &Incident, fault: &Fault) -> bool {
    incident.opened_at >= fault.from && incident.opened_at <= fault.to.plus(GRACE_NS)
}

/// What went wrong with one seed, in words; empty = nothing.
fn judge(seed: u64) -> Vec<String> {
    let schedule = Schedule::seeded(seed, START, &Pace::default());
    let incidents = day(&schedule);
    let mut wrong = Vec::new();
    for fault in &schedule.faults {
        let name = format!(
            "seed {seed} {:?} {} `{}` x{:.2} {}..{}",
            fault.kind, fault.service, fault.operation, fault.strength, fault.from, fault.to
        );
        let own: Vec<&Incident> = incidents.iter().filter(|incident| belongs(incident, fault)).collect();
        let right =
            |incident: &&&Incident| incident.suspects.first().is_some_and(|suspect| fault.right_suspects.contains(&suspect.service));
        match own.iter().find(right) {
            Some(incident) => println!("{name}: {} s, {}", incident.opened_at.since(fault.from) / SECOND_NS, incident.title),
            None if own.is_empty() => wrong.push(format!("{name}: MISSED")),
            None => wrong.push(format!(
                "{name}: WRONG CAUSE {:?}",
                own[0].suspects.iter().map(|suspect| (&suspect.service, &suspect.operation, suspect.confidence)).collect::<Vec<_>>()
            )),
        }
        for further in own.iter().filter(|incident| !right(incident)) {
            if own.iter().any(|incident| right(&incident)) {
                wrong.push(format!("{name}: A SECOND INCIDENT {} {}", further.opened_at, further.title));
            }
        }
    }
    for incident in incidents.iter().filter(|incident| !schedule.faults.iter().any(|fault| belongs(incident, fault))) {
        let near: Vec<String> = schedule
            .harmless
            .iter()
            .filter(|event| incident.opened_at >= event.from && incident.opened_at <= event.to.plus(GRACE_NS))
            .map(|event| format!("{:?} {}", event.kind, event.service))
            .collect();
        wrong.push(format!(
            "seed {seed} FALSE {} {} suspects {:?} near {near:?}; {}",
            incident.opened_at,
            incident.title,
            incident.suspects.first().map(|suspect| &suspect.service),
            incident.verdict
        ));
    }
    wrong
}

/// Scenario: a few hours of the shop with one fault of each kind, two deploys and a traffic ramp, for each
/// seed in `GEOPHONE_SEEDS` (`1` unless set).
/// Guarantees: every fault opens an incident whose first suspect owns the cause; nothing else opens one.
#[test]
fn every_fault_is_found_with_its_cause_and_nothing_else() {
    let seeds = std::env::var("GEOPHONE_SEEDS").unwrap_or_else(|_| "1".into());
    let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    let (first, last): (u64, u64) = (first.parse().expect("a number"), last.parse().expect("a number"));
    let wrong: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let next = std::sync::atomic::AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let found = judge(seed);
                    wrong.lock().expect("no judge panics").extend(found);
                }
            });
        }
    });
    let mut wrong = wrong.lock().expect("no judge panicked").clone();
    wrong.sort();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
