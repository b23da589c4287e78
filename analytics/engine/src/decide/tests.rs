//! Policies, gates, undo and escalation on hand-made incidents.

use super::{Decider, Move, Ward};
use crate::settings::{ActionMode, Policy, Settings, When};
use geophone_proto::{
    Tenant, UnixNanos,
    action::{ActionState, Decision, Operation, Outcome},
    anomaly::State,
    incident::{Incident, Severity, Suspect},
};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn exec(program: &str) -> Operation {
    Operation::Exec { command: vec![program.into()], timeout: Duration::from_secs(10) }
}

fn settings(mode: ActionMode) -> Settings {
    let policy = Policy {
        name: "restart-payment".into(),
        when: When { suspect: Some("payment".into()), min_confidence: 0.6, severity: vec![Severity::Critical], ..When::default() },
        operation: exec("/bin/restart"),
        undo: Some(exec("/bin/undo")),
        verify_within: Duration::from_secs(120),
        cooldown: Duration::from_secs(600),
        max_per_hour: 3,
    };
    Settings { action_mode: mode, policies: vec![policy], ..Settings::default() }
}

fn incident(id: &str) -> Incident {
    Incident {
        id: id.into(),
        tenant: Tenant::default(),
        state: State::Open,
        started_at: UnixNanos(0),
        opened_at: UnixNanos(0),
        closed_at: None,
        severity: Severity::Critical,
        title: String::new(),
        verdict: String::new(),
        suspects: vec![Suspect { service: "payment".into(), operation: "Charge".into(), confidence: 0.9, evidence: Vec::new() }],
        anomalies: Vec::new(),
        actions: Vec::new(),
        services: Vec::new(),
        attributes: Vec::new(),
        maturity: geophone_proto::anomaly::Maturity::Provisional,
        timeline: Vec::new(),
    }
}

fn window(decider: &mut Decider, settings: &Settings, seconds: u64, open: &[&str], ails: bool) -> Vec<Move> {
    let sick = |_: &str, _: &str| ails;
    decider.step(settings, &Ward { at: UnixNanos(seconds * SECOND), open: open.iter().map(|id| incident(id)).collect(), ails: &sick })
}

fn outcome(action: &str, is_undo: bool, succeeded: bool) -> Outcome {
    Outcome { action_id: action.into(), is_undo, succeeded: Some(succeeded), output: "said so".into() }
}

/// Runs the one policy on incident `in-1` and reports success at second 12.
fn acted(settings: &Settings) -> (Decider, String) {
    let mut decider = Decider::default();
    let moves = window(&mut decider, settings, 10, &["in-1"], true);
    assert_eq!(moves.len(), 1);
    assert!(moves[0].perform.as_ref().is_some_and(|request| request.service == "payment" && !request.is_undo));
    let id = moves[0].action.id.clone();
    let done = decider.outcome(settings, &outcome(&id, false, true), UnixNanos(12 * SECOND)).expect("it runs");
    assert_eq!(done.action.state, ActionState::Verifying);
    assert_eq!(done.action.verify_until, Some(UnixNanos(132 * SECOND)));
    (decider, id)
}

#[test]
fn dry_run_says_it_once_and_does_nothing() {
    let settings = settings(ActionMode::DryRun);
    let mut decider = Decider::default();
    let moves = window(&mut decider, &settings, 10, &["in-1"], true);
    assert_eq!((moves[0].action.state, &moves[0].perform), (ActionState::DryRun, &None));
    assert!(moves[0].action.reason.contains("confidence 0.90 >= 0.60"));
    assert!(window(&mut decider, &settings, 20, &["in-1"], true).is_empty());
}

#[test]
fn what_does_not_match_is_not_even_refused() {
    let mut settings = settings(ActionMode::Auto);
    settings.policies[0].when.min_confidence = 0.95;
    assert!(window(&mut Decider::default(), &settings, 10, &["in-1"], true).is_empty());
}

#[test]
fn a_deed_that_helps_ends_mended() {
    let settings = settings(ActionMode::Auto);
    let (mut decider, _) = acted(&settings);
    assert!(window(&mut decider, &settings, 12, &["in-1"], false).is_empty(), "a window from before the deed proves nothing");
    let moves = window(&mut decider, &settings, 20, &["in-1"], false);
    assert_eq!((moves[0].action.state, moves[0].event.0), (ActionState::Mended, "mended"));
    assert!(window(&mut decider, &settings, 30, &["in-1"], true).is_empty(), "one deed of a policy an incident");
}

#[test]
fn a_deed_that_does_not_help_is_undone_and_a_failed_undo_escalates() {
    let settings = settings(ActionMode::Auto);
    for (worked, end) in [(true, ActionState::Undone), (false, ActionState::Escalated)] {
        let (mut decider, id) = acted(&settings);
        assert!(window(&mut decider, &settings, 130, &["in-1"], true).is_empty());
        let moves = window(&mut decider, &settings, 140, &["in-1"], true);
        assert_eq!((moves[0].action.state, moves[0].event.0), (ActionState::Undoing, "not_mended"));
        assert!(moves[0].perform.as_ref().is_some_and(|request| request.is_undo && request.operation == exec("/bin/undo")));
        let last = decider.outcome(&settings, &outcome(&id, true, worked), UnixNanos(141 * SECOND)).expect("it undoes");
        assert_eq!(last.action.state, end);
        assert!(last.action.output.contains("said so"));
    }
}

#[test]
fn without_undo_it_escalates() {
    let mut settings = settings(ActionMode::Auto);
    settings.policies[0].undo = None;
    let (mut decider, _) = acted(&settings);
    let moves = window(&mut decider, &settings, 140, &["in-1"], true);
    assert_eq!((moves[0].action.state, &moves[0].perform), (ActionState::Escalated, &None));
}

#[test]
fn a_failed_deed_is_failed() {
    let settings = settings(ActionMode::Auto);
    let mut decider = Decider::default();
    let id = window(&mut decider, &settings, 10, &["in-1"], true)[0].action.id.clone();
    let failed = decider.outcome(&settings, &outcome(&id, false, false), UnixNanos(11 * SECOND)).expect("it runs");
    assert_eq!(failed.action.state, ActionState::Failed);
    assert_eq!(decider.outcome(&settings, &outcome(&id, false, true), UnixNanos(12 * SECOND)), None, "an outcome counts once");
    assert_eq!(decider.outcome(&settings, &outcome("ac-none", false, true), UnixNanos(12 * SECOND)), None);
}

#[test]
fn cooldown_and_hourly_limit_refuse_once_with_the_reason() {
    let mut settings = settings(ActionMode::Auto);
    let (mut decider, _) = acted(&settings);
    window(&mut decider, &settings, 20, &[], false);
    let moves = window(&mut decider, &settings, 100, &["in-2"], true);
    assert_eq!(moves[0].action.state, ActionState::Refused);
    assert!(moves[0].action.reason.starts_with("cooldown: done 90 s ago"), "{}", moves[0].action.reason);
    assert!(window(&mut decider, &settings, 110, &["in-2"], true).is_empty(), "said once");
    settings.policies[0].max_per_hour = 1;
    let moves = window(&mut decider, &settings, 700, &["in-2"], true);
    assert!(moves[0].action.reason.starts_with("max_per_hour"), "{}", moves[0].action.reason);
    settings.policies[0].max_per_hour = 3;
    let moves = window(&mut decider, &settings, 710, &["in-2"], true);
    assert_eq!(moves[0].action.state, ActionState::Running, "gates are tried again while the incident lasts");
}

#[test]
fn what_comes_back_again_and_again_is_left_to_a_person() {
    let settings = settings(ActionMode::Auto);
    let mut decider = Decider::default();
    let mut states = Vec::new();
    for round in 0..3u64 {
        let at = 10 + round * 610;
        let id = format!("in-{round}");
        let moves = window(&mut decider, &settings, at, &[&id], true);
        states.push(moves[0].action.state);
        decider.outcome(&settings, &outcome(&moves[0].action.id, false, true), UnixNanos((at + 1) * SECOND));
        window(&mut decider, &settings, at + 20, &[], false);
    }
    assert_eq!(states, [ActionState::Running, ActionState::Running, ActionState::Refused]);
}

#[test]
fn an_opposite_deed_trips_the_breaker() {
    let mut settings = settings(ActionMode::Auto);
    let mut opposite = settings.policies[0].clone();
    opposite.name = "opposite".into();
    opposite.operation = exec("/bin/undo");
    opposite.undo = Some(exec("/bin/restart"));
    settings.policies.push(opposite);
    let mut decider = Decider::default();
    let moves = window(&mut decider, &settings, 10, &["in-1"], true);
    assert!(moves[1].action.reason.starts_with("one_at_a_time"), "{}", moves[1].action.reason);
    decider.outcome(&settings, &outcome(&moves[0].action.id, false, true), UnixNanos(11 * SECOND));
    let moves = window(&mut decider, &settings, 20, &["in-1"], false);
    assert!(moves.iter().any(|step| step.action.reason.starts_with("oscillation")), "{moves:#?}");
}

#[test]
fn a_person_decides_once_and_not_after_the_incident() {
    let settings = settings(ActionMode::Ask);
    let say = |id: &str, approved| Decision { action_id: id.into(), approved, by: "ann".into() };
    let mut decider = Decider::default();
    let id = window(&mut decider, &settings, 10, &["in-1"], true)[0].action.id.clone();
    let yes = decider.decided(&say(&id, true), UnixNanos(15 * SECOND)).expect("it waits");
    assert!(yes.perform.is_some() && yes.event.1.contains("ann"));
    assert_eq!(decider.decided(&say(&id, true), UnixNanos(16 * SECOND)), None);
    let mut decider = Decider::default();
    let id = window(&mut decider, &settings, 10, &["in-1"], true)[0].action.id.clone();
    let moves = window(&mut decider, &settings, 20, &[], true);
    assert_eq!(moves[0].action.state, ActionState::Rejected);
    assert!(moves[0].action.reason.starts_with("the incident closed"), "{}", moves[0].action.reason);
    assert_eq!(decider.decided(&say(&id, true), UnixNanos(25 * SECOND)), None);
}

#[test]
fn a_snapshot_goes_on_alike() {
    let settings = settings(ActionMode::Auto);
    let (mut decider, _) = acted(&settings);
    let bytes = postcard::to_stdvec(&decider).expect("plain data");
    let mut copy: Decider = postcard::from_bytes(&bytes).expect("what was written");
    assert_eq!(window(&mut decider, &settings, 140, &["in-1"], true), window(&mut copy, &settings, 140, &["in-1"], true));
    assert_eq!(decider, copy);
}
