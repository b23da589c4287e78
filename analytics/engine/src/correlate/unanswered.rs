//! Calls into a service that has spans of its own, but of which nothing comes back: nobody listens there, or it is cut
//! off. Their callers' spans are all that tells of them, and the time and the failures of those are the callee's doing.
//! Called by `blame` only.

use super::{aspect::Aspect, map::ServiceId, phrase, pulse::Pulse, suspects::Scene, weight::ramp};
use geophone_proto::{Series, SeriesKind};
use std::collections::{BTreeMap, BTreeSet};

/// Such calls a window that count as some, and as enough.
const ENOUGH: (f64, f64) = (0.2, 1.0);

/// Failures a second that such calls have added, if the series is about them. They are rare, so that neither their
/// ratio of failures (always near 1) nor a band of their rate tells anything: held against what is usual.
pub fn failures(scene: &Scene<'_>, callee: ServiceId, name: &Series, pulse: &Pulse) -> Option<f64> {
    if !scene.scales.map.service(callee).has_spans || name.labels.get("inferred").is_none_or(|inferred| inferred != "true") {
        return None;
    }
    let share = if pulse.alive() { pulse.actual } else { pulse.usual };
    let added = share * pulse.count - pulse.usual * pulse.usual_count_since_ever();
    let a_second = 1e9 / scene.scales.window_ns as f64;
    Some(added.max(0.0) * a_second * ramp(pulse.count, ENOUGH.0, ENOUGH.1))
}

/// The same in words.
pub fn sentence(scene: &Scene<'_>, callee: ServiceId, name: &Series, pulse: &Pulse) -> Option<String> {
    let failures = failures(scene, callee, name, pulse).filter(|_| matches!(name.kind, SeriesKind::EdgeErrorRatio))?;
    let caller = name.labels.get("caller").unwrap_or_default();
    Some(format!("{} calls a second of `{}` from {caller} fail without a trace of it", phrase::number(failures), name.name))
}

/// The services that leave calls unanswered, by caller and the caller's operation.
pub fn callees<'a>(scene: &Scene<'a>, scope: &BTreeSet<ServiceId>) -> BTreeMap<(ServiceId, &'a str), ServiceId> {
    let mut found = BTreeMap::new();
    for id in scope {
        for (place, name, pulse) in scene.series_of(*id).filter(|(place, ..)| place.aspect == Aspect::EdgeErrors) {
            if let Some(caller) = place.caller
                && failures(scene, *id, name, &pulse).is_some_and(|failures| failures > 0.0)
            {
                found.insert((caller, name.name.as_str()), *id);
            }
        }
    }
    found
}
