//! Splits harm among services: whose own time, whose own failures, whose own lost traffic.
//!
//! Amounts of one kind of harm share one unit (seconds, failures or requests a second), so that
//! shares can be taken over services. Called by `suspects` only.

use super::{
    aspect::{Aspect, Harm},
    map::{Place, ServiceId},
    phrase,
    pulse::Pulse,
    suspects::Scene,
    weight::ramp,
};
use crate::window::SeriesIndex;
use geophone_proto::{Series, SeriesKind};
use std::collections::{BTreeMap, BTreeSet};

/// One service's own part of one kind of harm.
#[derive(Clone, Debug)]
pub struct Blame {
    /// Whose.
    pub service: ServiceId,
    /// In which operation, or empty.
    pub operation: String,
    /// What kind.
    pub harm: Harm,
    /// How much, in the kind's unit.
    pub amount: f64,
    /// How sure the rise (or fall) is, 0 to 1.
    pub sure: f64,
    /// Said with numbers.
    pub sentence: String,
}

impl Blame {
    /// What is shared out.
    pub fn harm_word(&self) -> &'static str {
        match self.harm {
            Harm::Latency => "added time",
            Harm::Errors => "added failures",
            Harm::Loss => "lost traffic",
            Harm::None | Harm::Hint | Harm::Saturation => "deviation",
        }
    }
}

/// A series' pulse counts from here (halves of its band) and fully from there.
const SURE: (f64, f64) = (0.6, 2.0);

impl<'a> Scene<'a> {
    /// Series of a service with place, name and pulse; edges into it included.
    fn series_of(&self, service: ServiceId) -> impl Iterator<Item = (Place, &'a Series, Pulse)> + use<'a> {
        let scene = *self;
        let series: &'a [SeriesIndex] = &scene.scales.map.service(service).series;
        series
            .iter()
            .filter_map(move |index| Some((scene.scales.map.place(*index)?, scene.names.get(*index as usize)?, scene.pulse(*index))))
    }

    /// Requests a second of each operation of a service, and of what it calls.
    fn rates(&self, service: ServiceId) -> BTreeMap<(&'a str, bool), f64> {
        let mut rates = BTreeMap::new();
        for (place, name, pulse) in self.series_of(service) {
            if place.aspect == Aspect::Rate {
                let rate: &mut f64 = rates.entry((name.name.as_str(), place.outgoing)).or_default();
                *rate += pulse.expected.max(pulse.actual);
            }
        }
        rates
    }

    /// Calls a second over each edge into a service.
    fn edge_rates(&self, service: ServiceId) -> BTreeMap<(ServiceId, &'a str), f64> {
        let mut rates = BTreeMap::new();
        for (place, name, pulse) in self.series_of(service) {
            if let (Aspect::EdgeRate, Some(caller)) = (place.aspect, place.caller) {
                *rates.entry((caller, name.name.as_str())).or_default() += pulse.expected.max(pulse.actual);
            }
        }
        rates
    }
}

/// How sure a rise is, 0 to 1.
fn rise(pulse: &Pulse) -> f64 {
    if pulse.alive() { ramp(f64::from(pulse.deviation), SURE.0, SURE.1) } else { 0.0 }
}

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
    if blames.is_empty() { from_durations(scene, scope) } else { blames }
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

/// Without exclusive times: a service's added duration less that of its slowest callee.
fn from_durations(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let mut added: BTreeMap<ServiceId, (f64, String, String)> = BTreeMap::new();
    for id in scope {
        for (place, name, pulse) in scene.series_of(*id) {
            let wanted = match place.aspect {
                Aspect::Duration => name.kind == SeriesKind::DurationP50 && !place.outgoing,
                // Beside spans a bucketed quantile of few requests adds only noise.
                Aspect::MetricDuration => !scene.scales.map.service(*id).has_spans,
                _ => false,
            };
            let amount = rise(&pulse) * (pulse.actual - pulse.expected);
            if wanted && amount > added.get(id).map_or(0.0, |most| most.0) {
                added.insert(*id, (amount, name.name.clone(), sentence(name, &pulse)));
            }
        }
    }
    let mut blames = Vec::new();
    for (id, (amount, operation, sentence)) in &added {
        let callees = scene.scales.map.service(*id).callees.iter();
        let below = callees.filter_map(|callee| added.get(callee)).map(|callee| callee.0).fold(0.0, f64::max);
        if *amount > below * 1.1 {
            let amount = amount - below;
            // Durations hold what callees take too: a weaker proof than a service's own time.
            let (operation, sentence) = (operation.clone(), sentence.clone());
            blames.push(Blame { service: *id, operation, harm: Harm::Latency, amount, sure: 0.4, sentence });
        }
    }
    blames
}

fn sentence(name: &Series, pulse: &Pulse) -> String {
    let much = phrase::how_much(name.kind, pulse.actual, pulse.expected);
    let (actual, expected) = (phrase::value(name.kind, pulse.actual), phrase::value(name.kind, pulse.expected));
    match name.kind {
        SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio => format!("{} is {much}", phrase::what(name)),
        _ => format!("{} is {much} ({actual}, expected {expected})", phrase::what(name)),
    }
}

/// Failures a second that a service adds itself, and calls that fail before it answers.
pub fn errors(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let mut own: BTreeMap<ServiceId, f64> = BTreeMap::new();
    let mut words: BTreeMap<ServiceId, (f64, String, String)> = BTreeMap::new();
    let mut over: BTreeMap<(ServiceId, ServiceId), f64> = BTreeMap::new();
    for id in scope {
        let (rates, edge_rates) = (scene.rates(*id), scene.edge_rates(*id));
        for (place, name, pulse) in scene.series_of(*id) {
            let added = rise(&pulse) * (pulse.actual - pulse.expected);
            let amount = match (place.aspect, place.caller) {
                (Aspect::Errors, _) if !place.outgoing => {
                    let amount = added * rates.get(&(name.name.as_str(), false)).copied().unwrap_or(1.0);
                    *own.entry(*id).or_default() += amount.max(0.0);
                    amount
                }
                (Aspect::EdgeErrors, Some(caller)) => {
                    let amount = added * edge_rates.get(&(caller, name.name.as_str())).copied().unwrap_or(1.0);
                    *over.entry((caller, *id)).or_default() += amount.max(0.0);
                    amount * 0.5
                }
                _ => 0.0,
            };
            if amount > words.get(id).map_or(0.0, |most| most.0) {
                words.insert(*id, (amount, name.name.clone(), sentence(name, &pulse)));
            }
        }
    }
    let mut blames = Vec::new();
    for id in scope {
        let answered = own.get(id).copied().unwrap_or(0.0);
        let below: f64 = over.iter().filter(|((caller, _), _)| caller == id).map(|(_, amount)| amount).sum();
        let above: f64 = over.iter().filter(|((_, callee), _)| callee == id).map(|(_, amount)| amount).sum();
        // Whoever fails because its callees do is a victim; a remainder within noise is none.
        let itself = if answered - below > 0.2 * answered { answered - below } else { 0.0 };
        let unanswered = if above - answered > 0.2 * above { 0.7 * (above - answered) } else { 0.0 };
        if let Some((_, operation, sentence)) = words.get(id).filter(|_| itself + unanswered > 0.0) {
            let amount = itself + unanswered;
            let (operation, sentence) = (operation.clone(), sentence.clone());
            blames.push(Blame { service: *id, operation, harm: Harm::Errors, amount, sure: 1.0, sentence });
        }
    }
    blames
}

/// What one service's traffic was and is.
#[derive(Clone, Copy, Default)]
struct Traffic {
    actual: f64,
    expected: f64,
    failing: f64,
    /// How sure the fall of its surest operation is.
    sure: f64,
}

/// Requests a second that a service lost although its callers could have sent them.
pub fn loss(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let map = scene.scales.map;
    let mut all: BTreeSet<ServiceId> = scope.clone();
    scope.iter().for_each(|id| all.extend(&map.service(*id).callers));
    let mut traffic: BTreeMap<ServiceId, Traffic> = BTreeMap::new();
    for id in &all {
        let rates = scene.rates(*id);
        let entry = traffic.entry(*id).or_default();
        for (place, name, pulse) in scene.series_of(*id).filter(|(place, _, pulse)| !place.outgoing && pulse.alive()) {
            match place.aspect {
                Aspect::Rate => {
                    entry.actual += pulse.actual;
                    // An expectation that followed a burst up makes no loss of its end.
                    entry.expected += pulse.expected.min(pulse.usual);
                    entry.sure = entry.sure.max(ramp(-f64::from(pulse.deviation), SURE.0, SURE.1));
                }
                Aspect::Errors => {
                    entry.failing +=
                        rise(&pulse) * (pulse.actual - pulse.expected) * rates.get(&(name.name.as_str(), false)).copied().unwrap_or(0.0);
                }
                _ => {}
            }
        }
    }
    let left = |id: &ServiceId| traffic.get(id).filter(|t| t.expected > 1e-9).map(|t| (t.actual - t.failing).max(0.0) / t.expected);
    let mut blames = Vec::new();
    for id in scope {
        let Some(own) = traffic.get(id).filter(|own| own.expected > 1e-9) else { continue };
        let ratio = own.actual / own.expected;
        let mut callers: Vec<f64> = map.service(*id).callers.iter().filter_map(&left).collect();
        callers.sort_by(f64::total_cmp);
        let could = callers.last().copied().unwrap_or(1.0).min(1.0);
        if could - ratio < 0.15 {
            continue;
        }
        // Squared: one that lost nearly all tells more than a busy one that lost a little.
        let amount = own.sure * own.expected * (could - ratio).powi(2);
        let why = if callers.is_empty() {
            "nobody we see calls it".to_owned()
        } else {
            format!("its callers run at {} of theirs", phrase::percent(could))
        };
        let operation = lost_operation(scene, *id);
        let (actual, expected) = (phrase::number(own.actual), phrase::number(own.expected));
        let sentence = format!("gets {} of its expected requests ({actual}/s, expected {expected}/s); {why}", phrase::percent(ratio));
        blames.push(Blame { service: *id, operation, harm: Harm::Loss, amount, sure: own.sure * ramp(could - ratio, 0.1, 0.4), sentence });
    }
    let goes_on = |id: ServiceId| left(&id).is_some_and(|left| left > GOES_ON);
    callers_silence(scene, scope, &goes_on, &mut blames);
    blames
}

/// A service whose own traffic is above this share of what it should be goes on.
const GOES_ON: f64 = 0.7;

/// Several services that one caller has stopped to call, while it is called itself as ever: it is the
/// caller that gives up early, not all of them that are gone at once.
fn callers_silence(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>, goes_on: &dyn Fn(ServiceId) -> bool, blames: &mut Vec<Blame>) {
    let map = scene.scales.map;
    let mut moved = Vec::new();
    for caller in scope.iter().copied().filter(|caller| goes_on(*caller)) {
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
        if victims.len() < 2 {
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

/// The operation that lost most.
fn lost_operation(scene: &Scene<'_>, service: ServiceId) -> String {
    let lost = scene.series_of(service).filter(|(place, ..)| place.aspect == Aspect::Rate && !place.outgoing);
    let most = lost.max_by(|a, b| (a.2.expected - a.2.actual).total_cmp(&(b.2.expected - b.2.actual)));
    most.map(|(_, name, _)| name.name.clone()).unwrap_or_default()
}
