//! Blame where spans do not say who calls and who serves (see `ServiceMap::is_bare`): read off the shape
//! of traces alone. Called by `blame` only.

use super::{
    aspect::{Aspect, Harm},
    blame::{Blame, rise, sentence},
    map::ServiceId,
    phrase,
    suspects::Scene,
};
use geophone_proto::SeriesKind;
use std::collections::{BTreeMap, BTreeSet};

/// So far down calls are followed.
const DEEP: usize = 6;

/// Added time of each service itself and between caller and callee.
///
/// A span's own time is its service's. The time between caller and callee is the callee's side (its
/// network, its queue), but for what all calls of that caller have gained alike: that is the caller's.
pub fn latency(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let mut blames = Vec::new();
    let mut gaps: BTreeMap<(ServiceId, ServiceId), Gap> = BTreeMap::new();
    for id in scope {
        for (place, name, pulse) in scene.series_of(*id) {
            if place.aspect != Aspect::Exclusive && (place.aspect != Aspect::EdgeGap || place.caller.is_none()) {
                continue;
            }
            let (sure, rate) = (rise(&pulse), (pulse.count * 1e9 / scene.scales.window_ns as f64).max(1e-3));
            let amount = (sure * (pulse.actual - pulse.expected) * rate).max(0.0);
            if let (Some(caller), true) = (place.caller, pulse.is_fresh()) {
                let gap = gaps.entry((caller, *id)).or_default();
                (gap.amount, gap.rate) = (gap.amount + amount, gap.rate + rate);
            }
            if amount > 0.0 {
                let (operation, sentence) = (name.name.clone(), sentence(name, &pulse));
                blames.push((place.caller, Blame { service: *id, operation, harm: Harm::Latency, amount, sure, sentence }));
            }
        }
    }
    let mut shared = Vec::new();
    for (caller, gained) in callers_own(&gaps) {
        let mut taken =
            Blame { service: caller, operation: String::new(), harm: Harm::Latency, amount: 0.0, sure: 0.0, sentence: String::new() };
        let mut callees: BTreeSet<ServiceId> = BTreeSet::new();
        for (_, blame) in blames.iter_mut().filter(|(of, blame)| *of == Some(caller) && blame.service != caller) {
            let Some(gap) = gaps.get(&(caller, blame.service)).filter(|gap| gap.amount > 0.0) else { continue };
            let part = (gained * gap.rate / gap.amount).min(1.0);
            taken.amount += blame.amount * part;
            taken.sure = taken.sure.max(blame.sure);
            blame.amount *= 1.0 - part;
            callees.insert(blame.service);
        }
        let names: Vec<&str> = callees.iter().map(|id| scene.scales.map.service(*id).name.as_str()).collect();
        let more = phrase::value(SeriesKind::EdgeGap, gained);
        taken.sentence = format!("each call it makes takes {more} longer than its callee does, whichever that is ({})", names.join(", "));
        shared.push(taken);
    }
    let mut blames: Vec<Blame> = blames.into_iter().map(|(_, blame)| blame).chain(shared).collect();
    blames.retain(|blame| blame.amount > 0.0);
    blames
}

/// Added seconds a second, and calls a second, between a caller and a callee.
#[derive(Clone, Copy, Default)]
struct Gap {
    amount: f64,
    rate: f64,
}

/// Seconds that the calls of a caller have gained whomever they go to: the lower median over callees.
fn callers_own(gaps: &BTreeMap<(ServiceId, ServiceId), Gap>) -> BTreeMap<ServiceId, f64> {
    let mut gained: BTreeMap<ServiceId, Vec<f64>> = BTreeMap::new();
    for ((caller, _), gap) in gaps.iter().filter(|((caller, callee), _)| caller != callee) {
        gained.entry(*caller).or_default().push(gap.amount / gap.rate);
    }
    let middle = |mut list: Vec<f64>| {
        list.sort_by(f64::total_cmp);
        if list.len() < 2 { 0.0 } else { list[(list.len() - 1) / 2] }
    };
    gained.into_iter().map(|(caller, list)| (caller, middle(list))).filter(|(_, gained)| *gained > 0.0).collect()
}

/// A service whose own traffic is above this share of what it should be goes on.
pub const GOES_ON: f64 = 0.7;

/// Several services that one caller has stopped to call, while it is called itself as ever: it is the
/// caller that gives up early, not all of them that are gone at once.
pub fn silence(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>, goes_on: &dyn Fn(ServiceId) -> bool, blames: &mut Vec<Blame>) {
    let map = scene.scales.map;
    let mut moved = Vec::new();
    for caller in scope.iter().copied().filter(|caller| map.is_bare(*caller) && goes_on(*caller)) {
        let calls_most = |callee: ServiceId| {
            let (mut own, mut all) = (0.0, 0.0);
            for (place, _, pulse) in scene.series_of(callee).filter(|(place, ..)| place.aspect == Aspect::EdgeRate) {
                all += pulse.usual;
                own += if place.caller == Some(caller) { pulse.usual } else { 0.0 };
            }
            own > 0.5 * all
        };
        let silent = |blame: &Blame| map.service(caller).callees.contains(&blame.service) && calls_most(blame.service);
        let victims: Vec<&Blame> = blames.iter().filter(|blame| silent(blame)).collect();
        // One that another of them calls is lost with that one.
        let is_below = |blame: &&&Blame| {
            let mut others = victims.iter().filter(|other| other.service != blame.service);
            others.any(|other| map.reach(other.service, false, DEEP, &|_| true).contains(&blame.service))
        };
        if victims.iter().filter(|blame| !is_below(blame)).count() < 2 {
            continue;
        }
        let names: Vec<&str> = victims.iter().map(|blame| map.service(blame.service).name.as_str()).collect();
        moved.push(Blame {
            service: caller,
            operation: String::new(),
            harm: Harm::Loss,
            amount: victims.iter().map(|blame| blame.amount).sum(),
            sure: victims.iter().map(|blame| blame.sure).fold(0.0, f64::max),
            sentence: format!("goes on itself, but calls {} much less", names.join(", ")),
        });
        let gone: BTreeSet<ServiceId> = victims.iter().map(|blame| blame.service).collect();
        blames.retain(|blame| !gone.contains(&blame.service));
    }
    blames.extend(moved);
}
