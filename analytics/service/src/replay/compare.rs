//! What two replays of the same telemetry say differently: incidents added, removed, moved.
//!
//! An incident of one matches one of the other where they overlap in time and share a series or the
//! first suspect; the pair with most in common first. Pure: equal input gives equal output.

use super::{fold::Outcome, window::Window};
use geophone_proto::{UnixNanos, incident::Incident};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Incidents this far apart are still about the same thing, if they share a series.
const APART_NS: u64 = 300_000_000_000;

/// The difference, ready to be printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Everything, as JSON shows it.
    pub whole: Value,
    /// One item per difference, for tables.
    pub items: Vec<Value>,
}

/// Compares `before` with `after` as far as they are in the window; `names` say what each was made with.
pub fn compare((before, after): (&Outcome, &Outcome), names: (Value, Value), window: Window) -> Comparison {
    // What one of them puts just outside is a pair all the same.
    let mut pairs = matched(before, after);
    let is_paired = |side: usize, at: usize| pairs.iter().any(|pair| [pair.0, pair.1][side] == at);
    let alone = |outcome: &Outcome, side: usize| -> Vec<Value> {
        let incidents = outcome.incidents.iter().enumerate().filter(|(at, it)| !is_paired(side, *at) && window.has(it));
        incidents.map(|(_, incident)| json!(incident)).collect()
    };
    let (removed, added) = (alone(before, 0), alone(after, 1));
    pairs.retain(|&(b, a)| window.has(&before.incidents[b]) || window.has(&after.incidents[a]));
    let moved: Vec<Value> = pairs.iter().filter_map(|&(b, a)| moved(&before.incidents[b], &after.incidents[a])).collect();
    let same = pairs.len() - moved.len();
    let item = |change: &str, shown: &Value, more: Value| json!({"change": change, "incident": shown, "moved": more});
    let items =
        removed.iter().map(|shown| item("removed", shown, Value::Null)).chain(added.iter().map(|shown| item("added", shown, Value::Null)));
    let items = items.chain(moved.iter().map(|shown| item("moved", &shown["after"], shown.clone()))).collect();
    let side = |name: Value, outcome: &Outcome| {
        let (incidents, anomalies) = (window.incidents(outcome).count(), window.anomalies(outcome).count());
        json!({"with": name, "incidents": incidents, "anomalies": anomalies})
    };
    let anomalies = anomalies((before, after), window);
    let whole = json!({
        "before": side(names.0, before),
        "after": side(names.1, after),
        "same": same,
        "added": added,
        "removed": removed,
        "moved": moved,
        "anomalies": anomalies,
    });
    Comparison { whole, items }
}

/// Pairs of places in the two lists, each place once.
fn matched(before: &Outcome, after: &Outcome) -> Vec<(usize, usize)> {
    let mut candidates = Vec::new();
    for (b, one) in before.incidents.iter().enumerate() {
        let series = before.series_of(one);
        for (a, other) in after.incidents.iter().enumerate() {
            let shared = series.intersection(&after.series_of(other)).count();
            let same_suspect =
                one.suspects.first().map(|suspect| &suspect.service) == other.suspects.first().map(|suspect| &suspect.service);
            let apart = apart(one, other);
            if one.tenant == other.tenant && ((shared > 0 && apart <= APART_NS) || (same_suspect && apart == 0)) {
                let between = one.opened_at.since(other.opened_at).max(other.opened_at.since(one.opened_at));
                candidates.push((std::cmp::Reverse(2 * shared + usize::from(same_suspect)), between, b, a));
            }
        }
    }
    candidates.sort_unstable();
    let (mut pairs, mut used): (Vec<(usize, usize)>, [BTreeSet<usize>; 2]) = (Vec::new(), Default::default());
    for (_, _, b, a) in candidates {
        if !used[0].contains(&b) && !used[1].contains(&a) {
            used[0].insert(b);
            used[1].insert(a);
            pairs.push((b, a));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Nanoseconds between the end of one and the start of the other; 0 where they overlap.
fn apart(one: &Incident, other: &Incident) -> u64 {
    let end = |incident: &Incident| incident.closed_at.unwrap_or(UnixNanos(u64::MAX));
    one.started_at.since(end(other)).max(other.started_at.since(end(one)))
}

/// How a matched pair differs, if it does.
fn moved(before: &Incident, after: &Incident) -> Option<Value> {
    let first = |incident: &Incident| incident.suspects.first().map(|suspect| (suspect.service.clone(), suspect.operation.clone()));
    let changes = [
        ("opened_at", before.opened_at != after.opened_at),
        ("started_at", before.started_at != after.started_at),
        ("closed_at", before.closed_at != after.closed_at),
        ("severity", before.severity != after.severity),
        ("suspect", first(before) != first(after)),
        ("title", before.title != after.title),
    ];
    let changed: Vec<&str> = changes.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    let later = (i128::from(after.opened_at.0) - i128::from(before.opened_at.0)) as f64 / 1e9;
    (!changed.is_empty()).then(|| json!({"changed": changed, "opened_later_s": later, "before": before, "after": after}))
}

/// Anomalies by series and opening, as numbers.
fn anomalies((before, after): (&Outcome, &Outcome), window: Window) -> Value {
    let keys = |outcome: &Outcome| -> BTreeSet<(u128, u64)> {
        window.anomalies(outcome).map(|anomaly| (anomaly.series.key.0, anomaly.opened_at.0)).collect()
    };
    let (before, after) = (keys(before), keys(after));
    let same = before.intersection(&after).count();
    json!({"same": same, "added": after.len() - same, "removed": before.len() - same})
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{
        Tenant,
        anomaly::State,
        incident::{Severity, Suspect},
    };

    fn incident(id: &str, service: &str, from: u64) -> Incident {
        let at = |seconds: u64| UnixNanos(seconds * 1_000_000_000);
        Incident {
            id: id.into(),
            tenant: Tenant::default(),
            state: State::Closed,
            started_at: at(from),
            opened_at: at(from + 20),
            closed_at: Some(at(from + 100)),
            severity: Severity::Warning,
            title: format!("{service} is slow"),
            verdict: String::new(),
            suspects: vec![Suspect { service: service.into(), operation: "op".into(), confidence: 0.9, evidence: Vec::new() }],
            anomalies: Vec::new(),
            actions: Vec::new(),
            services: Vec::new(),
            attributes: Vec::new(),
            maturity: geophone_proto::anomaly::Maturity::Provisional,
            timeline: Vec::new(),
        }
    }

    fn outcome(incidents: Vec<Incident>) -> Outcome {
        Outcome { incidents, ..Outcome::default() }
    }

    #[test]
    fn added_removed_and_moved_are_told_apart() {
        let before = outcome(vec![incident("a", "payment", 100), incident("b", "cart", 1_000), incident("c", "web", 2_000)]);
        let mut late = incident("z", "payment", 100);
        late.opened_at = late.opened_at.plus(10_000_000_000);
        let after = outcome(vec![late, incident("c", "web", 2_000), incident("d", "search", 5_000)]);
        let Comparison { whole, items } = compare((&before, &after), (json!("one"), json!("two")), Window::default());
        assert_eq!((&whole["same"], whole["added"].as_array().map(Vec::len)), (&json!(1), Some(1)));
        assert_eq!((&whole["removed"][0]["id"], &whole["added"][0]["id"]), (&json!("b"), &json!("d")));
        assert_eq!((&whole["moved"][0]["opened_later_s"], &whole["moved"][0]["changed"]), (&json!(10.0), &json!(["opened_at"])));
        assert_eq!(items.len(), 3);
        // The incident that moved lasts until 200 s, those that are alone come later.
        let early = Window::read(None, Some("900000000000")).expect("a window");
        let Comparison { whole, items } = compare((&before, &after), (json!("one"), json!("two")), early);
        assert_eq!((items.len(), &whole["moved"][0]["before"]["id"], &whole["same"]), (1, &json!("a"), &json!(0)));
        assert_eq!((&whole["before"]["incidents"], &whole["after"]["incidents"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn the_same_twice_differs_in_nothing() {
        let one = outcome(vec![incident("a", "payment", 100), incident("b", "payment", 150)]);
        let Comparison { whole, items } = compare((&one, &one.clone()), (json!(1), json!(1)), Window::default());
        assert_eq!((&whole["same"], items.len()), (&json!(2), 0));
    }
}
