//! What was injected beside what was found.
//!
//! Found means: an incident opened between the fault's beginning and two minutes after its end, and
//! its first suspect is the service that owns the cause (or the address of a slow database). Every
//! incident that is no fault's is a false one, also a second one for a fault that was found.

use super::outsider::{Acted, Found};
use geophone_client::shop::{Fault, FaultKind, HarmlessKind, Schedule};
use geophone_proto::{UnixNanos, time::SECOND_NS};
use serde::Serialize;

/// An incident may open this long after its fault has ended.
const GRACE_NS: u64 = 120 * SECOND_NS;

/// One fault and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Which kind.
    pub kind: FaultKind,
    /// Who owns the cause.
    pub service: String,
    /// What carries it.
    pub operation: String,
    /// When it began.
    pub from: UnixNanos,
    /// When it would end by itself.
    pub to: UnixNanos,
    /// Whether an incident opened in time with the right first suspect.
    pub found: bool,
    /// The incident; of a fault not found, the first that opened in its time.
    pub incident_id: Option<String>,
    /// That incident's first suspect.
    pub top_suspect: Option<String>,
    /// From the beginning to the incident.
    pub seconds_to_incident: Option<f64>,
    /// Whether an action mended it.
    pub mended_by_action: bool,
}

/// One harmless event and whether it alerted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Harm {
    /// Which kind.
    pub kind: HarmlessKind,
    /// Whose.
    pub service: String,
    /// When it began.
    pub from: UnixNanos,
    /// When it was over.
    pub to: UnixNanos,
    /// Whether an incident that is no fault's opened in its time.
    pub alerted: bool,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which day.
    pub seed: u64,
    /// In order of time.
    pub faults: Vec<Outcome>,
    /// In order of time.
    pub harmless: Vec<Harm>,
    /// Incidents that are no fault's.
    pub false_incidents: u64,
    /// Ids of these.
    pub false_incident_ids: Vec<String>,
}

impl Report {
    /// Compares a schedule with what the API shows.
    pub fn compare(schedule: &Schedule, incidents: &[Found], actions: &[Acted]) -> Self {
        let mut taken = vec![false; incidents.len()];
        let mut matched: Vec<Option<usize>> = vec![None; schedule.faults.len()];
        // Right answers first, so that a wrong one is never charged to two faults.
        for right in [true, false] {
            for (fault, place) in schedule.faults.iter().zip(&mut matched) {
                let fits = |at: &usize| !taken[*at] && in_time(fault, &incidents[*at]) && (!right || is_right(fault, &incidents[*at]));
                if place.is_none() {
                    *place = (0..incidents.len()).find(fits);
                    place.iter().for_each(|at| taken[*at] = true);
                }
            }
        }
        let faults = schedule.faults.iter().zip(&matched);
        let faults = faults.map(|(fault, at)| outcome(fault, at.map(|at| &incidents[at]), actions)).collect();
        let loose: Vec<&Found> = incidents.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(incident, _)| incident).collect();
        let harmless = schedule.harmless.iter().map(|event| {
            let alerted = loose.iter().any(|found| found.opened_at >= event.from && found.opened_at <= event.to.plus(GRACE_NS));
            Harm { kind: event.kind, service: event.service.clone(), from: event.from, to: event.to, alerted }
        });
        Self {
            seed: schedule.seed,
            faults,
            harmless: harmless.collect(),
            false_incidents: loose.len() as u64,
            false_incident_ids: loose.iter().map(|found| found.id.clone()).collect(),
        }
    }

    /// Whether every fault was found, with the right first suspect, and nothing else opened.
    pub fn is_green(&self) -> bool {
        self.faults.iter().all(|fault| fault.found) && self.false_incidents == 0
    }

    /// Lines for a terminal.
    pub fn lines(&self) -> String {
        let mut lines = vec![format!("{:<16} {:<30} {:>9}   {}", "injected", "where", "seconds", "found")];
        for fault in &self.faults {
            let place = format!("{} {}", fault.service, fault.operation);
            let seconds = fault.seconds_to_incident.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0}"));
            let verdict = match (&fault.top_suspect, fault.found) {
                (Some(_), true) if fault.mended_by_action => "yes, and mended by an action".to_owned(),
                (Some(_), true) => "yes".to_owned(),
                (Some(suspect), false) => format!("NO: first suspect is {suspect}"),
                (None, _) => "NO: no incident".to_owned(),
            };
            lines.push(format!("{:<16} {place:<30} {seconds:>9}   {verdict}", word(&fault.kind)));
        }
        for event in &self.harmless {
            let verdict = if event.alerted { "ALERTED, and should not" } else { "quiet, as it should be" };
            lines.push(format!("{:<16} {:<30} {:>9}   {verdict}", word(&event.kind), event.service, ""));
        }
        lines.push(format!("{} of {} faults found, {} false incidents", self.found(), self.faults.len(), self.false_incidents));
        lines.join("\n")
    }

    fn found(&self) -> usize {
        self.faults.iter().filter(|fault| fault.found).count()
    }
}

fn in_time(fault: &Fault, incident: &Found) -> bool {
    incident.opened_at >= fault.from && incident.opened_at <= fault.to.plus(GRACE_NS)
}

fn is_right(fault: &Fault, incident: &Found) -> bool {
    incident.suspects.first().is_some_and(|first| fault.right_suspects.contains(&first.service))
}

fn outcome(fault: &Fault, incident: Option<&Found>, actions: &[Acted]) -> Outcome {
    let seconds = incident.map(|found| (found.opened_at.since(fault.from) as f64 / SECOND_NS as f64 * 10.0).round() / 10.0);
    let mended = |found: &Found| actions.iter().any(|action| action.incident_id == found.id && action.state == "mended");
    Outcome {
        kind: fault.kind,
        service: fault.service.clone(),
        operation: fault.operation.clone(),
        from: fault.from,
        to: fault.to,
        found: incident.is_some_and(|found| is_right(fault, found)),
        incident_id: incident.map(|found| found.id.clone()),
        top_suspect: incident.and_then(|found| found.suspects.first()).map(|first| first.service.clone()),
        seconds_to_incident: seconds,
        mended_by_action: fault.kind == FaultKind::MemoryLeak && incident.is_some_and(mended),
    }
}

/// The word of a kind, as in JSON, with spaces.
pub(super) fn word(kind: &impl Serialize) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(|word| word.replace('_', " "))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::outsider::Named, *};
    use geophone_client::shop::Pace;

    fn schedule() -> Schedule {
        Schedule::seeded(3, UnixNanos(1_700_000_000 * SECOND_NS), &Pace::default())
    }

    fn incident(id: &str, at: UnixNanos, suspect: &str) -> Found {
        let suspects = vec![Named { service: suspect.to_owned() }];
        Found { id: id.to_owned(), state: "closed".to_owned(), opened_at: at, title: String::new(), suspects }
    }

    fn all_found(schedule: &Schedule) -> Vec<Found> {
        let each = schedule.faults.iter().enumerate();
        each.map(|(at, fault)| incident(&at.to_string(), fault.from.plus(30 * SECOND_NS), &fault.service)).collect()
    }

    #[test]
    fn all_right_is_green() {
        let schedule = schedule();
        let report = Report::compare(&schedule, &all_found(&schedule), &[]);
        assert!(report.is_green(), "{report:?}");
        assert_eq!(report.faults[0].seconds_to_incident, Some(30.0));
        assert!(report.lines().contains("5 of 5 faults found, 0 false incidents"));
    }

    #[test]
    fn nothing_found_is_not_green() {
        let report = Report::compare(&schedule(), &[], &[]);
        assert!(!report.is_green() && report.faults.iter().all(|fault| !fault.found && fault.incident_id.is_none()));
    }

    #[test]
    fn a_wrong_first_suspect_is_not_found_and_named() {
        let schedule = schedule();
        let mut incidents = all_found(&schedule);
        incidents[2].suspects[0].service = "bystander".to_owned();
        let report = Report::compare(&schedule, &incidents, &[]);
        assert!(!report.is_green() && !report.faults[2].found);
        assert_eq!(report.faults[2].top_suspect.as_deref(), Some("bystander"));
        assert_eq!(report.false_incidents, 0);
    }

    #[test]
    fn a_second_incident_and_one_at_a_deploy_are_false() {
        let schedule = schedule();
        let mut incidents = all_found(&schedule);
        incidents.push(incident("twice", schedule.faults[0].from.plus(60 * SECOND_NS), &schedule.faults[0].service));
        incidents.push(incident("deploy", schedule.harmless[0].from.plus(SECOND_NS), "frontend"));
        let report = Report::compare(&schedule, &incidents, &[]);
        assert_eq!((report.false_incidents, report.is_green()), (2, false));
        assert_eq!(report.harmless.iter().map(|event| event.alerted).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn too_early_and_too_late_are_false() {
        let schedule = schedule();
        let fault = &schedule.faults[0];
        let early = incident("early", fault.from.minus(SECOND_NS), &fault.service);
        let late = incident("late", fault.to.plus(GRACE_NS + 1), &fault.service);
        let report = Report::compare(&schedule, &[early, late], &[]);
        assert_eq!((report.false_incidents, report.faults[0].found), (2, false));
    }

    #[test]
    fn only_a_mended_leak_is_mended() {
        let schedule = schedule();
        let incidents = all_found(&schedule);
        let act = |state: &str| -> Vec<Acted> {
            let each = incidents.iter();
            each.map(|of| Acted { incident_id: of.id.clone(), policy: "p".into(), state: state.into() }).collect()
        };
        let count = |actions: &[Acted]| {
            Report::compare(&schedule, &incidents, actions).faults.iter().filter(|fault| fault.mended_by_action).count()
        };
        assert_eq!((count(&act("mended")), count(&act("escalated"))), (1, 0));
    }
}
