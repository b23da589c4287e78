//! Whether incidents name the cause, without anybody having told the time: an incident that opens
//! within the fault's time is about it, an earlier one is a false alarm, none is wrong.

use super::Truth;
use geophone_proto::time::SECOND_NS;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _};

/// An incident, as far as it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it opened.
    pub opened_ns: u64,
    /// Services of its suspects, likeliest first.
    pub suspects: Vec<String>,
    /// Its title.
    pub title: String,
}

/// What `geophone replay --output json` printed.
pub fn seen(json: &Value) -> Vec<Seen> {
    let texts = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |incident: &Value| Seen {
        opened_ns: incident["opened_at"].as_str().and_then(geophone_proto::UnixNanos::from_rfc3339).map_or(0, |at| at.0),
        suspects: incident["suspects"].as_array().map(|list| list.iter().map(|one| texts(&one["service"])).collect()).unwrap_or_default(),
        title: texts(&incident["title"]),
    };
    json.as_array().map(|list| list.iter().map(one).collect()).unwrap_or_default()
}

/// How one case went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What is known of it.
    pub truth: Truth,
    /// Place of the cause among the suspects of the first incident within the fault's time, from 1.
    pub place: Option<usize>,
    /// First suspect.
    pub top: Option<String>,
    /// Seconds from the fault to the incident.
    pub after_s: Option<f64>,
    /// Incidents within the fault's time.
    pub incidents: usize,
    /// Incidents before it.
    pub false_alarms: usize,
    /// Place of the cause in the first incident from a minute before the time given for the fault: some effects are in the
    /// data earlier than that.
    pub place_early: Option<usize>,
}

/// So much earlier than it is noted down a fault may show.
const EARLY_NS: u64 = 60 * SECOND_NS;

/// Judges one case.
pub fn judge(truth: &Truth, incidents: &[Seen]) -> Outcome {
    let from = |from_ns: u64| {
        let mut within: Vec<&Seen> = incidents.iter().filter(|one| (from_ns..=truth.to_ns).contains(&one.opened_ns)).collect();
        within.sort_by_key(|one| one.opened_ns);
        within
    };
    let place = |one: &&Seen| one.suspects.iter().position(|service| *service == truth.cause).map(|at| at + 1);
    let within = from(truth.from_ns);
    let first = within.first();
    Outcome {
        truth: truth.clone(),
        place: first.and_then(place),
        place_early: from(truth.from_ns.saturating_sub(EARLY_NS)).first().and_then(place),
        top: first.and_then(|one| one.suspects.first().cloned()),
        after_s: first.map(|one| (one.opened_ns - truth.from_ns) as f64 * 1e-9),
        incidents: within.len(),
        false_alarms: incidents.iter().filter(|one| one.opened_ns < truth.from_ns).count(),
    }
}

/// Judges the cases of one recording, in order of time: an incident between two of them is false.
pub fn judge_day(truths: &[Truth], incidents: &[Seen]) -> Vec<Outcome> {
    let mut since = 0;
    let mut one = |truth: &Truth| {
        let own: Vec<Seen> = incidents.iter().filter(|one| one.opened_ns > since).cloned().collect();
        since = truth.to_ns;
        judge(truth, &own)
    };
    truths.iter().map(&mut one).collect()
}

/// A line a case.
pub fn lines(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for one in outcomes {
        let verdict = match (one.place, &one.top) {
            (Some(1), _) => "right".to_owned(),
            (Some(place), Some(top)) => format!("{place}., first {top}"),
            (None, Some(top)) => format!("wrong: {top}"),
            _ => "missed".to_owned(),
        };
        let after = one.after_s.map_or_else(String::new, |after| format!(" after {after:.0} s"));
        let _ = writeln!(
            text,
            "{:18} {:32} {:16} {verdict}{after}; {} incidents, {} before",
            one.truth.case, one.truth.cause, one.truth.fault, one.incidents, one.false_alarms
        );
    }
    text
}

/// A table with a line a system.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut systems: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for one in outcomes {
        systems.entry(&one.truth.system).or_default().push(one);
    }
    let mut text = String::from("| system | cases | found | top 1 | top 3 | top 1, a minute early | false alarms before the fault |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for (system, list) in systems {
        let share = |count: usize| count as f64 / list.len() as f64;
        let within = |most: usize| list.iter().filter(|one| one.place.is_some_and(|place| place <= most)).count();
        let found = list.iter().filter(|one| one.incidents > 0).count();
        let alarms: usize = list.iter().map(|one| one.false_alarms).sum();
        let early = share(list.iter().filter(|one| one.place_early == Some(1)).count());
        let (first, third) = (share(within(1)), share(within(3)));
        let _ = writeln!(text, "| {system} | {} | {found} | {first:.2} | {third:.2} | {early:.2} | {alarms} |", list.len());
    }
    text
}
