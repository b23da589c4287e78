//! The gates a matching policy must pass before anything is done, in order. Pure.

use super::history::History;
use crate::settings::{ActionMode, Policy, Settings};
use geophone_proto::{UnixNanos, incident::Incident};

/// How a matching policy goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Only say it.
    Say,
    /// Ask a person.
    Ask,
    /// Do it.
    Act,
    /// Held back: short name of the gate, and why.
    Refuse(&'static str, String),
}

const HOUR_NS: u64 = 3_600_000_000_000;
/// Oscillation is looked for in this time ...
const OSCILLATION_NS: u64 = 1_800_000_000_000;
/// ... and is the same deed to the same service so often, or its opposite once.
const SAME_MAX: usize = 2;

/// Why a policy matches an incident, in words with the values; `None` if it does not.
pub fn matches(policy: &Policy, incident: &Incident) -> Option<String> {
    let suspect = incident.suspects.first()?;
    let when = &policy.when;
    let holds = when.suspect.as_ref().is_none_or(|wanted| *wanted == suspect.service)
        && when.operation.as_ref().is_none_or(|wanted| *wanted == suspect.operation)
        && suspect.confidence >= when.min_confidence
        && (when.severity.is_empty() || when.severity.contains(&incident.severity));
    holds.then(|| {
        format!(
            "policy {} matched: suspect {} with confidence {:.2} >= {:.2}, severity {}",
            policy.name,
            suspect.service,
            suspect.confidence,
            when.min_confidence,
            incident.severity.as_str()
        )
    })
}

/// A matching policy before the gates.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// First suspect's service.
    pub service: &'a str,
    /// Action of the same incident that is not finished.
    pub busy: Option<&'a str>,
}

/// The gates, in the order in which they are tried.
pub fn pass(settings: &Settings, candidate: Candidate<'_>, history: &History, at: UnixNanos) -> Verdict {
    let Candidate { policy, service, busy } = candidate;
    if settings.action_mode == ActionMode::DryRun {
        return Verdict::Say;
    }
    if let Some(other) = busy {
        return Verdict::Refuse("one_at_a_time", format!("action {other} of this incident is not finished"));
    }
    let cooldown = u64::try_from(policy.cooldown.as_nanos()).unwrap_or(u64::MAX);
    if let Some(last) = history.last_of(&policy.name).filter(|last| at.since(*last) < cooldown) {
        let ago = at.since(last) / 1_000_000_000;
        return Verdict::Refuse("cooldown", format!("done {ago} s ago, cooldown is {} s", policy.cooldown.as_secs()));
    }
    let count = history.count_of(&policy.name, at, HOUR_NS);
    if count >= policy.max_per_hour as usize {
        return Verdict::Refuse("max_per_hour", format!("done {count} times within an hour, limit is {}", policy.max_per_hour));
    }
    if let Some(reason) = oscillates(policy, service, history, at) {
        return Verdict::Refuse("oscillation", reason);
    }
    if settings.action_mode == ActionMode::Ask { Verdict::Ask } else { Verdict::Act }
}

fn oscillates(policy: &Policy, service: &str, history: &History, at: UnixNanos) -> Option<String> {
    let minutes = OSCILLATION_NS / 60_000_000_000;
    let same = history.to_service(service, at, OSCILLATION_NS).filter(|deed| deed.operation == policy.operation).count();
    if same >= SAME_MAX {
        return Some(format!("done {same} times to {service} within {minutes} min and it came back: a person must look"));
    }
    let undo = policy.undo.as_ref()?;
    let mut opposite = history.to_service(service, at, OSCILLATION_NS).filter(|deed| deed.policy != policy.name && deed.operation == *undo);
    opposite.next().map(|deed| format!("policy {} did the opposite to {service} within {minutes} min", deed.policy))
}
