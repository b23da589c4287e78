//! Splits harm among services: whose own time, whose own failures, whose own lost traffic.
//!
//! Amounts of one kind of harm share one unit (seconds, failures or requests a second), so that
//! shares can be taken over services. Called by `suspects` only.

use super::{
    aspect::{Aspect, Harm, is_waiting},
    bare,
    map::{Place, ServiceId},
    metered, phrase,
    pulse::Pulse,
    suspects::Scene,
    unanswered,
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
    pub(super) fn series_of(&self, service: ServiceId) -> impl Iterator<Item = (Place, &'a Series, Pulse)> + use<'a> {
        let scene = *self;
        let series: &'a [SeriesIndex] = &scene.scales.map.service(service).series;
        series
            .iter()
            .filter_map(move |index| Some((scene.scales.map.place(*index)?, &**scene.names.get(*index as usize)?, scene.pulse(*index))))
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
pub(super) fn rise(pulse: &Pulse) -> f64 {
    if pulse.alive() { ramp(f64::from(pulse.deviation), SURE.0, SURE.1) } else { 0.0 }
}

/// How sure a fall is, 0 to 1.
pub(super) fn fall(pulse: &Pulse) -> f64 {
    if pulse.alive() { ramp(-f64::from(pulse.deviation), SURE.0, SURE.1) } else { 0.0 }
}

/// Added time of each service itself and between caller and callee.
pub fn latency(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let (bare, said) = scope.iter().partition(|id| scene.scales.map.is_bare(**id));
    let mut blames = said_latency(scene, &said);
    blames.extend(bare::latency(scene, &bare));
    match (blames.is_empty(), scene.scales.map.has_spans()) {
        (true, true) => from_durations(scene, scope),
        (true, false) => metered::latency(scene, scope),
        _ => blames,
    }
}

/// The same where kinds are set.
///
/// A client span's own time is the time between caller and callee where the callee has spans (the
/// gap, which is the callee's side), and the callee's whole time where it has none (the caller's).
fn said_latency(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let mut blames = Vec::new();
    let mut waits: BTreeMap<ServiceId, (f64, Vec<Blame>)> = BTreeMap::new();
    let mut gaps: BTreeMap<ServiceId, f64> = BTreeMap::new();
    let silent = unanswered::callees(scene, scope);
    for id in scope {
        let (rates, edge_rates) = (scene.rates(*id), scene.edge_rates(*id));
        for (place, name, pulse) in scene.series_of(*id) {
            let rate = match (place.aspect, place.caller) {
                (Aspect::Exclusive, _) => rates.get(&(name.name.as_str(), place.outgoing)).copied().unwrap_or(1.0),
                (Aspect::EdgeGap, Some(caller)) => edge_rates.get(&(caller, name.name.as_str())).copied().unwrap_or(1.0),
                _ => continue,
            };
            let sure = rise(&pulse);
            let amount = sure * (pulse.actual - pulse.expected) * rate.max(1e-3);
            if amount <= 0.0 {
                continue;
            }
            let (operation, sentence) = (name.name.clone(), sentence(name, &pulse));
            let blame = Blame { service: *id, operation, harm: Harm::Latency, amount, sure, sentence };
            match place.caller {
                Some(caller) => *gaps.entry(caller).or_default() += amount,
                None if place.outgoing => {
                    if let Some(callee) = silent.get(&(*id, name.name.as_str())) {
                        blames.push(Blame { service: *callee, ..blame });
                        continue;
                    }
                    let entry = waits.entry(*id).or_default();
                    entry.0 += amount;
                    entry.1.push(blame);
                    continue;
                }
                None => {}
            }
            blames.push(blame);
        }
    }
    for (id, (total, waiting)) in waits {
        let left = (total - 1.2 * gaps.get(&id).copied().unwrap_or(0.0)).max(0.0) / total;
        blames.extend(waiting.into_iter().map(|blame| Blame { amount: blame.amount * left, ..blame }).filter(|blame| blame.amount > 0.0));
    }
    blames
}

/// Without exclusive times: a service's added duration less that of its slowest callee.
fn from_durations(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    let map = scene.scales.map;
    let mut added: BTreeMap<ServiceId, (f64, String, String)> = BTreeMap::new();
    for id in scope {
        for (place, name, pulse) in scene.series_of(*id) {
            let wanted = match place.aspect {
                Aspect::Duration => name.kind == SeriesKind::DurationP50 && !place.outgoing,
                // Beside spans a bucketed quantile of few requests adds only noise.
                Aspect::MetricDuration => !map.service(*id).has_spans && (map.has_clients() || !is_waiting(name)),
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
        let callees = map.service(*id).callees.iter();
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

pub(super) fn sentence(name: &Series, pulse: &Pulse) -> String {
    let much = phrase::how_much(name.kind, pulse.actual, pulse.expected);
    let (actual, expected) = (phrase::value(name.kind, pulse.actual), phrase::value(name.kind, pulse.expected));
    match name.kind {
        SeriesKind::ErrorRatio | SeriesKind::EdgeErrorRatio => format!("{} is {much}", phrase::what(name)),
        _ => format!("{} is {much} ({actual}, expected {expected})", phrase::what(name)),
    }
}

/// Failures a second that a service adds itself, and calls that fail before it answers.
pub fn errors(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    if !scene.scales.map.has_spans() {
        return metered::errors(scene, scope);
    }
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
                    let unanswered = unanswered::failures(scene, *id, name, &pulse);
                    let rate = || edge_rates.get(&(caller, name.name.as_str())).copied().unwrap_or(1.0);
                    let amount = unanswered.unwrap_or_else(|| added * rate());
                    *over.entry((caller, *id)).or_default() += amount.max(0.0);
                    amount * 0.5
                }
                _ => 0.0,
            };
            if amount > words.get(id).map_or(0.0, |most| most.0) {
                let sentence = unanswered::sentence(scene, *id, name, &pulse).unwrap_or_else(|| sentence(name, &pulse));
                words.insert(*id, (amount, name.name.clone(), sentence));
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
    let goes_on = |id: ServiceId| left(&id).is_some_and(|left| left > bare::GOES_ON);
    bare::silence(scene, scope, &goes_on, &mut blames);
    blames
}

/// The operation that lost most.
fn lost_operation(scene: &Scene<'_>, service: ServiceId) -> String {
    let lost = scene.series_of(service).filter(|(place, ..)| place.aspect == Aspect::Rate && !place.outgoing);
    let most = lost.max_by(|a, b| (a.2.expected - a.2.actual).total_cmp(&(b.2.expected - b.2.actual)));
    most.map(|(_, name, _)| name.name.clone()).unwrap_or_default()
}
