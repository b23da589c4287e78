//! Actions from their decision to their end. A fold like everything here: after a restart the log is
//! read again and the same `Perform` effects come out, so the roof must do each action id (and its
//! undo) once only.
//!
//! `Running -> Verifying -> Mended`, or `-> Undoing -> Undone | Escalated`, or `-> Failed`.

use super::{
    gates::{self, Candidate, Verdict},
    history::{Deed, History},
};
use crate::{
    correlate::short_id,
    settings::{Policy, Settings},
};
use geophone_proto::{
    UnixNanos,
    action::{Action, ActionRequest, ActionState, Decision, Outcome},
    incident::Incident,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How the reason of an action that waits begins.
const WAITS: &str = "waits for approval: ";

/// One step of an action: its new version, the event for the incident, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// New version.
    pub action: Action,
    /// Event name and detail for the incident's timeline.
    pub event: (&'static str, String),
    /// Do this now.
    pub perform: Option<ActionRequest>,
}

/// What the decider may know of the incidents in a window.
pub struct Ward<'a> {
    /// End of the window.
    pub at: UnixNanos,
    /// Incidents that are open.
    pub open: Vec<Incident>,
    /// Whether the detector still sees the incident's suspect ail.
    pub ails: &'a dyn Fn(&str, &str) -> bool,
}

/// An action and what the API does not show of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tracked {
    action: Action,
    service: String,
    done_at: Option<UnixNanos>,
    order: u64,
}

/// Decision state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decider {
    actions: BTreeMap<String, Tracked>,
    /// Gates that refused, per incident and policy: each is said once.
    refused: BTreeMap<(String, String), BTreeSet<String>>,
    /// Incident and policy that are through (said, asked or done).
    through: BTreeSet<(String, String)>,
    history: History,
    order: u64,
}

const OUTPUT_MAX: usize = 4096;
const FINISHED_KEPT: usize = 1024;

const fn in_flight(state: ActionState) -> bool {
    matches!(state, ActionState::AwaitingApproval | ActionState::Running | ActionState::Verifying | ActionState::Undoing)
}

impl Decider {
    /// One window later: verifies what was done, then looks at open incidents.
    pub fn step(&mut self, settings: &Settings, ward: &Ward<'_>) -> Vec<Move> {
        let mut moves = self.verify(ward);
        for incident in &ward.open {
            for policy in &settings.policies {
                moves.extend(self.consider(settings, policy, incident, ward.at));
            }
        }
        self.forget(ward);
        moves
    }

    fn consider(&mut self, settings: &Settings, policy: &Policy, incident: &Incident, at: UnixNanos) -> Option<Move> {
        let key = (incident.id.clone(), policy.name.clone());
        if self.through.contains(&key) {
            return None;
        }
        let reason = gates::matches(policy, incident)?;
        let service = incident.suspects.first()?.service.clone();
        let busy = self.actions.values().find(|tracked| tracked.action.incident_id == incident.id && in_flight(tracked.action.state));
        let busy = busy.map(|tracked| tracked.action.id.clone());
        let candidate = Candidate { policy, service: &service, busy: busy.as_deref() };
        let verdict = gates::pass(settings, candidate, &self.history, at);
        let (state, event, detail) = match &verdict {
            Verdict::Say => (ActionState::DryRun, "action_proposed", format!("dry run, would act: {reason}")),
            Verdict::Ask => (ActionState::AwaitingApproval, "action_proposed", format!("{WAITS}{reason}")),
            Verdict::Act => (ActionState::Running, "action_started", reason.clone()),
            Verdict::Refuse(gate, why) => {
                if !self.refused.entry(key.clone()).or_default().insert((*gate).to_owned()) {
                    return None;
                }
                (ActionState::Refused, "action_refused", format!("{gate}: {why}; {reason}"))
            }
        };
        if !matches!(verdict, Verdict::Refuse(..)) {
            self.through.insert(key);
        }
        let action = Action {
            id: short_id("ac-", &[incident.id.as_bytes(), policy.name.as_bytes(), &at.0.to_le_bytes()]),
            incident_id: incident.id.clone(),
            policy: policy.name.clone(),
            state,
            operation: policy.operation.clone(),
            undo: policy.undo.clone(),
            reason: detail.clone(),
            decided_at: at,
            verify_until: None,
            output: String::new(),
        };
        self.order += 1;
        let tracked = Tracked { action: action.clone(), service, done_at: None, order: self.order };
        let perform = (verdict == Verdict::Act).then(|| self.start(&tracked, at));
        self.actions.insert(action.id.clone(), tracked);
        Some(Move { action, event: (event, detail), perform })
    }

    /// Writes the deed down and asks for it.
    fn start(&mut self, tracked: &Tracked, at: UnixNanos) -> ActionRequest {
        let action = &tracked.action;
        self.history.push(Deed {
            at,
            policy: action.policy.clone(),
            service: tracked.service.clone(),
            operation: action.operation.clone(),
        });
        request(tracked, false)
    }

    /// A person's word. Anything but an action that waits for one is ignored.
    pub fn decided(&mut self, decision: &Decision, at: UnixNanos) -> Option<Move> {
        let mut tracked =
            self.actions.get(&decision.action_id).filter(|tracked| tracked.action.state == ActionState::AwaitingApproval)?.clone();
        let by = if decision.by.is_empty() { "somebody" } else { &decision.by };
        let (state, event, detail) = match decision.approved {
            true => (ActionState::Running, "action_approved", format!("approved by {by}")),
            false => (ActionState::Rejected, "action_rejected", format!("rejected by {by}")),
        };
        tracked.action.state = state;
        tracked.action.reason = format!("{detail}; {}", tracked.action.reason.trim_start_matches(WAITS));
        let perform = decision.approved.then(|| self.start(&tracked, at));
        let action = tracked.action.clone();
        self.actions.insert(action.id.clone(), tracked);
        Some(Move { action, event: (event, detail), perform })
    }

    /// What became of a request. An outcome that fits no running action is ignored.
    pub fn outcome(&mut self, settings: &Settings, outcome: &Outcome, at: UnixNanos) -> Option<Move> {
        let tracked = self.actions.get_mut(&outcome.action_id)?;
        let action = &mut tracked.action;
        let wanted = if outcome.is_undo { ActionState::Undoing } else { ActionState::Running };
        if action.state != wanted {
            return None;
        }
        let output: String = outcome.output.chars().take(OUTPUT_MAX).collect();
        let said = if output.trim().is_empty() { String::new() } else { format!(": {}", output.trim().lines().next().unwrap_or_default()) };
        let event = match (outcome.is_undo, outcome.succeeded) {
            (_, None) => return None,
            (false, Some(true)) => {
                let policy = settings.policies.iter().find(|policy| policy.name == action.policy);
                let within = policy.map_or(120_000_000_000, |policy| u64::try_from(policy.verify_within.as_nanos()).unwrap_or(u64::MAX));
                action.state = ActionState::Verifying;
                action.verify_until = Some(at.plus(within));
                tracked.done_at = Some(at);
                ("action_succeeded", format!("done{said}; the detector must see it mended within {} s", within / 1_000_000_000))
            }
            (false, Some(false)) => {
                action.state = ActionState::Failed;
                ("action_failed", format!("could not be done{said}"))
            }
            (true, Some(true)) => {
                action.state = ActionState::Undone;
                ("action_undone", format!("undone{said}"))
            }
            (true, Some(false)) => {
                action.state = ActionState::Escalated;
                ("action_failed", format!("the undo failed{said}; a person must look"))
            }
        };
        if !output.is_empty() {
            action.output = if action.output.is_empty() { output } else { format!("{}\n{output}", action.output) };
        }
        Some(Move { action: action.clone(), event, perform: None })
    }

    /// Mended, not yet, or not in time.
    fn verify(&mut self, ward: &Ward<'_>) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut order: Vec<&mut Tracked> = self.actions.values_mut().collect();
        order.sort_by_key(|tracked| tracked.order);
        for tracked in order {
            let open = ward.open.iter().any(|incident| incident.id == tracked.action.incident_id);
            let step = match tracked.action.state {
                ActionState::AwaitingApproval if !open => {
                    let why = "the incident closed before anybody approved";
                    tracked.action.state = ActionState::Rejected;
                    tracked.action.reason = format!("{why}; {}", tracked.action.reason.trim_start_matches(WAITS));
                    Some((("action_rejected", why.to_owned()), None))
                }
                // A window that ended before the deed was done proves nothing.
                ActionState::Verifying if tracked.done_at.is_some_and(|done| ward.at > done) => verify_one(tracked, ward, open),
                _ => None,
            };
            if let Some((event, perform)) = step {
                moves.push(Move { action: tracked.action.clone(), event, perform });
            }
        }
        moves
    }

    /// Drops what belongs to incidents that are over, but for the latest.
    fn forget(&mut self, ward: &Ward<'_>) {
        let open: BTreeSet<&str> = ward.open.iter().map(|incident| incident.id.as_str()).collect();
        self.through.retain(|(incident, _)| open.contains(incident.as_str()));
        self.refused.retain(|(incident, _), _| open.contains(incident.as_str()));
        if self.actions.len() > FINISHED_KEPT {
            self.actions.retain(|_, tracked| in_flight(tracked.action.state) || open.contains(tracked.action.incident_id.as_str()));
        }
    }
}

type Step = ((&'static str, String), Option<ActionRequest>);

fn verify_one(tracked: &mut Tracked, ward: &Ward<'_>, open: bool) -> Option<Step> {
    let after = tracked.done_at.map_or(0, |done| ward.at.since(done)) / 1_000_000_000;
    if !open || !(ward.ails)(&tracked.action.incident_id, &tracked.service) {
        tracked.action.state = ActionState::Mended;
        return Some((("mended", format!("the detector sees {} mended {after} s after the action", tracked.service)), None));
    }
    if tracked.action.verify_until.is_none_or(|until| ward.at < until) {
        return None;
    }
    if tracked.action.undo.is_some() {
        tracked.action.state = ActionState::Undoing;
        let perform = request(tracked, true);
        return Some((("not_mended", format!("{} is not mended {after} s after the action: undoing it", tracked.service)), Some(perform)));
    }
    tracked.action.state = ActionState::Escalated;
    Some((
        ("not_mended", format!("{} is not mended {after} s after the action and there is no undo: a person must look", tracked.service)),
        None,
    ))
}

fn request(tracked: &Tracked, is_undo: bool) -> ActionRequest {
    let action = &tracked.action;
    let operation = if is_undo { action.undo.clone().unwrap_or_else(|| action.operation.clone()) } else { action.operation.clone() };
    ActionRequest {
        action_id: action.id.clone(),
        incident_id: action.incident_id.clone(),
        service: tracked.service.clone(),
        operation,
        is_undo,
    }
}
