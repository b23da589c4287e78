//! The whole brain on hand-made spans: frontend calls payment.

use super::*;
use crate::{
    detect::baseline::LargestDeviation,
    fixture::{EPOCH_NS, TestSpan, at, span, spans},
    settings::{ActionMode, Policy, When},
};
use geophone_proto::{
    Batch, Signal, Tenant, Transport,
    action::{ActionState, Operation, Outcome},
    incident::Severity,
    record::Export,
    stacks::{LinkClass, StackAnswer, Stacks},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const SICK_FROM: u64 = 1800;

/// A repeatable number from 0 to 1.
fn luck(number: u64) -> f64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03).rotate_left(31);
    (mixed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f64 / f64::from(1u32 << 24)
}

/// Five seconds of eight requests a second; payment takes five times as long while sick.
fn five_seconds(from: u64, sick: bool) -> Vec<TestSpan> {
    let mut rows = Vec::new();
    for number in 0..40u64 {
        let id = from * 1000 + number * 10 + 1;
        let end = from as f64 + 5.0 * luck(id);
        let own = 20.0 * (0.7 + 0.6 * luck(id + 1)) * if sick { 5.0 } else { 1.0 };
        let paid = (own as u64).max(1);
        let root = span("frontend", "GET /", id, end, paid + 10 + (10.0 * luck(id + 2)) as u64);
        let call = span("frontend", "Charge", id + 1, end - 0.002, paid + 2).under(&root).kind(3);
        let served = span("payment", "Charge", id + 2, end - 0.003, paid).under(&call);
        rows.extend([root, call, served]);
    }
    rows
}

fn record(batch: Batch) -> Record {
    let export = Export {
        tenant: Tenant::default(),
        signal: Signal::Traces,
        transport: Transport::File,
        wire: Default::default(),
        decoded: Some(Arc::new(batch.clone())),
    };
    Record { at: batch.arrived_at, body: RecordBody::Batch(export) }
}

/// Records of so many seconds; sick from `SICK_FROM` for five minutes.
pub(crate) fn log(seconds: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for from in (0..seconds).step_by(5) {
        let sick = (SICK_FROM..SICK_FROM + 300).contains(&from);
        let arrived = at(from as f64 + 5.5);
        records.push(record(spans(arrived, &five_seconds(from, sick))));
        records.push(Record { at: UnixNanos(arrived + 1_000_000), body: RecordBody::Tick });
    }
    records
}

fn brain(settings: Settings) -> Brain {
    Brain::new(settings, Box::new(LargestDeviation::default()))
}

pub(crate) fn run(brain: &mut Brain, records: &[Record], first: u64) -> Vec<Effect> {
    (first..).zip(records).flat_map(|(seq, record)| brain.step(Seq(seq), record)).collect()
}

fn incidents(effects: &[Effect]) -> Vec<Incident> {
    let mut newest: BTreeMap<String, Incident> = BTreeMap::new();
    for effect in effects {
        if let Effect::Incident(incident) = effect {
            newest.insert(incident.id.clone(), (**incident).clone());
        }
    }
    newest.into_values().collect()
}

fn said(effects: &[Effect]) -> String {
    effects.iter().map(|effect| format!("{effect:?}\n")).collect()
}

// Scenario: forty minutes of two services, five of them with a slow payment service.
// Guarantees: one incident within a minute, payment first, critical, closed; bands of p95 are durations.
#[test]
fn a_slow_service_is_found_and_named() {
    let mut brain = brain(Settings::default());
    let effects = run(&mut brain, &log(2700), 1);
    let found = incidents(&effects);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].suspects[0].service, "payment", "{found:#?}");
    assert_eq!(found[0].severity, Severity::Critical);
    assert!(found[0].opened_at.since(UnixNanos(at(SICK_FROM as f64))) <= 60_000_000_000, "{}", found[0].opened_at);
    assert!(found[0].closed_at.is_some());
    let began = found[0].started_at.0.abs_diff(at(SICK_FROM as f64));
    assert!(began <= 20_000_000_000, "{}", found[0].started_at);
    let tails = effects.iter().filter_map(|effect| match effect {
        Effect::Anomaly(anomaly) if anomaly.series.kind == geophone_proto::SeriesKind::DurationP95 => anomaly.expected,
        _ => None,
    });
    assert!(tails.clone().count() > 0 && tails.clone().all(|expected| (0.01..0.08).contains(&expected)));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::WantStacks(request) if !request.flagged.is_empty())));
}

// Scenario: a snapshot in the middle of the incident; original and copy take the rest.
// Guarantees: the same effects to the end.
#[test]
fn a_restored_brain_goes_on_alike() {
    let records = log(2400);
    let middle = records.len() * 1900 / 2400;
    let mut original = brain(Settings::default());
    run(&mut original, &records[..middle], 1);
    let model = Box::new(LargestDeviation::default());
    let mut copy = Brain::restore(Settings::default(), model, &original.snapshot()).expect("same settings");
    let rest = &records[middle..];
    assert_eq!(said(&run(&mut original, rest, middle as u64 + 1)), said(&run(&mut copy, rest, middle as u64 + 1)));
    assert_eq!(said(&original.finish()), said(&copy.finish()));
}

// Scenario: other settings, a cut snapshot, no snapshot.
// Guarantees: refused with a class, no panic.
#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let bytes = brain(Settings::default()).snapshot();
    let restore = |settings, bytes: &[u8]| Brain::restore(settings, Box::new(LargestDeviation::default()), bytes).err();
    let other = Settings { window: Duration::from_secs(20), ..Settings::default() };
    assert!(matches!(restore(other, &bytes), Some(EngineError::Settings { .. })));
    assert!(matches!(restore(Settings::default(), &bytes[..bytes.len() / 2]), Some(EngineError::Unreadable(_))));
    assert!(restore(Settings::default(), &[]).is_some_and(|error| error.class() == geophone_proto::Class::Reject));
    assert!(matches!(restore(Settings::default(), &[1, 9, 9]), Some(EngineError::Layout { .. })));
}

// Scenario: the same log read twice.
// Guarantees: the same effects, one by one.
#[test]
fn the_same_log_gives_the_same_effects() {
    let records = log(2100);
    let effects = || said(&run(&mut brain(Settings::default()), &records, 1));
    assert!(effects() == effects());
}

// Scenario: every batch comes twice, and one comes again an hour later.
// Guarantees: the same incident.
#[test]
fn duplicates_and_late_rows_change_no_incident() {
    let records = log(2400);
    let mut twice: Vec<Record> = records.iter().flat_map(|record| [record.clone(), record.clone()]).collect();
    twice.push(records[0].clone());
    let (mut once, mut again) = (brain(Settings::default()), brain(Settings::default()));
    let (plain, doubled) = (incidents(&run(&mut once, &records, 1)), incidents(&run(&mut again, &twice, 1)));
    assert_eq!(plain.len(), 1);
    assert_eq!(plain[0].id, doubled[0].id);
    assert_eq!(plain[0].suspects[0].service, doubled[0].suspects[0].service);
}

// Scenario: a policy restarts payment; the effector says it worked; the fault ends. Then stacks come.
// Guarantees: Perform once, Verifying, Mended, all on the incident's timeline; stacks on the anomaly.
#[test]
fn an_action_is_asked_for_and_verified_by_the_same_detector() {
    let policy = Policy {
        name: "restart".into(),
        when: When { suspect: Some("payment".into()), min_confidence: 0.5, ..When::default() },
        operation: Operation::Exec { command: vec!["/bin/restart".into()], timeout: Duration::from_secs(5) },
        undo: None,
        verify_within: Duration::from_secs(600),
        cooldown: Duration::from_secs(600),
        max_per_hour: 3,
    };
    let mut brain = brain(Settings { action_mode: ActionMode::Auto, policies: vec![policy], ..Settings::default() });
    let mut effects = Vec::new();
    for (seq, record) in (1..).zip(log(2700)) {
        let mut new = brain.step(Seq(seq * 2), &record);
        let asked: Vec<String> = new
            .iter()
            .filter_map(|effect| if let Effect::Perform(request) = effect { Some(request.action_id.clone()) } else { None })
            .collect();
        for action_id in asked {
            let outcome = Outcome { action_id, is_undo: false, succeeded: Some(true), output: "ok".into() };
            new.extend(brain.step(Seq(seq * 2 + 1), &Record { at: record.at, body: RecordBody::Outcome(outcome) }));
        }
        effects.extend(new);
    }
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Perform(_))).count(), 1);
    let states: Vec<ActionState> =
        effects.iter().filter_map(|effect| if let Effect::Action(action) = effect { Some(action.state) } else { None }).collect();
    assert_eq!(states, [ActionState::Running, ActionState::Verifying, ActionState::Mended]);
    let incident = &incidents(&effects)[0];
    assert_eq!(incident.actions.len(), 1);
    for event in ["opened", "action_started", "action_succeeded", "mended", "closed"] {
        assert!(incident.timeline.iter().any(|line| line.event == event), "{event} is missing");
    }
    let asked =
        effects.iter().find_map(|effect| if let Effect::WantStacks(request) = effect { Some(request.anomaly_id.clone()) } else { None });
    let stacks = Stacks {
        link: LinkClass::Span,
        spans_flagged: 1,
        spans: 1,
        samples: 1,
        on_cpu_ns: 1,
        blocked_ns: 0,
        waiting_ns: 0,
        culprit: None,
        top: Vec::new(),
        folded: String::new(),
        pprof: String::new(),
    };
    let anomaly_id = asked.expect("durations opened");
    let answer = StackAnswer {
        anomaly_id: anomaly_id.clone(),
        stacks: Some(stacks),
        folded_text: String::new(),
        baseline_text: String::new(),
        note: String::new(),
    };
    let attached = brain.step(Seq(1_000_000), &Record { at: UnixNanos(EPOCH_NS), body: RecordBody::Stacks(Box::new(answer)) });
    assert!(matches!(&attached[..], [Effect::Anomaly(anomaly)] if anomaly.id == anomaly_id && anomaly.stacks.is_some()));
}
