//! Who caused it: candidates ranked by how much of the harm is theirs alone.
//!
//! Victims are explained by their callees. Added time is split into time spent in each service itself
//! (exclusive time) and between caller and callee; failures into those a callee explains and those it
//! does not; lost traffic into what callers stopped sending and what they did not. Each share belongs
//! to one service: the one farthest from the user that nothing below it explains. So neither the
//! largest deviation (it blames victims) nor the order of clocks of different hosts matters.

use super::{
    aspect::{Aspect, Harm},
    blame::{self, Blame},
    book::Live,
    map::ServiceId,
    phrase,
    pulse::Pulse,
    weight::{Scales, ramp},
};
use crate::window::SeriesIndex;
use geophone_proto::{Series, UnixNanos, incident::Suspect};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the ranking looks at.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Services, edges, soft evidence.
    pub scales: Scales<'a>,
    /// Names of all series, by index.
    pub names: &'a [Arc<Series>],
    /// Onset of the trouble.
    pub since: UnixNanos,
    /// What stood out before it, measured less expected by series: no part of it.
    pub standing: &'a BTreeMap<SeriesIndex, f64>,
}

impl Scene<'_> {
    /// The pulse of a series, less what stood out before.
    pub fn pulse(&self, series: SeriesIndex) -> Pulse {
        let pulse = self.scales.pulses.of(series);
        self.standing
            .get(&series)
            .filter(|standing| **standing * f64::from(pulse.deviation) > 0.0)
            .map_or(pulse, |standing| pulse.beyond(*standing))
    }
}

/// What speaks for one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Sum of evidence.
    pub score: f64,
    operation: (f64, String),
    evidence: Vec<(f64, String)>,
}

/// What many looks at the suspects have shown: scores add up and fade slowly; the words are those of
/// the look in which most spoke for the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looks(BTreeMap<ServiceId, (f64, Account)>);

/// How much earlier looks fade with each new one.
const FADE: f64 = 0.95;

impl Looks {
    /// Adds a look; the accounts so far. `force` = how much it is worth, 0 to 1: one at what has all but passed tells
    /// little, and takes nothing from what was seen at the worst. Where no look has shown anything (metrics only), the
    /// members themselves are all there is.
    pub fn add(&mut self, scene: &Scene<'_>, members: &[&Live], force: f64) -> Accounts {
        if !self.0.is_empty() && !scene.scales.map.has_clients() && is_silent(scene) {
            // Nothing is heard any more: nothing more is to be learnt.
            return self.sums();
        }
        let mut look = accounts(scene, members);
        if self.0.values().all(|(sum, _)| *sum <= 0.0) && look.values().all(|account| account.score <= 0.0) {
            by_members(scene, members, &mut look);
            return look;
        }
        self.0.values_mut().for_each(|(sum, _)| *sum *= FADE.powf(force));
        for (service, account) in look {
            let (sum, best) = self.0.entry(service).or_default();
            *sum += force * account.score;
            if account.score * force >= best.score {
                *best = account;
            }
        }
        self.sums()
    }

    fn sums(&self) -> Accounts {
        self.0.iter().map(|(service, (sum, best))| (*service, Account { score: *sum, ..best.clone() })).collect()
    }

    /// Takes over those of another group.
    pub fn absorb(&mut self, other: Self) {
        for (service, (sum, account)) in other.0 {
            let (own, best) = self.0.entry(service).or_default();
            *own += sum;
            if account.score > best.score {
                *best = account;
            }
        }
    }
}

/// Evidence of all services.
pub type Accounts = BTreeMap<ServiceId, Account>;

/// What it counts that users stop to come: it may be they, or only the telemetry of all that stopped.
const OUTSIDE: f64 = 0.2;
const SUSPECTS_MAX: usize = 5;
const EVIDENCE_MAX: usize = 6;
/// A candidate with less than this share of the first one's score is noise.
const SHARE_MIN: f64 = 0.04;
const RELEASE_WITHIN_NS: u64 = 300_000_000_000;

impl Account {
    fn add(&mut self, score: f64, operation: &str, sentence: String) {
        self.score += score;
        if score > self.operation.0 && !operation.is_empty() {
            self.operation = (score, operation.to_owned());
        }
        self.evidence.push((score, sentence));
    }
}

/// The services that may have caused what the members show: their own, all they call, and those
/// beside them on a host.
fn scope(scene: &Scene<'_>, members: &[&Live]) -> BTreeSet<ServiceId> {
    let map = scene.scales.map;
    let mut scope: BTreeSet<ServiceId> = BTreeSet::new();
    for live in members {
        scope.insert(live.place.service);
        scope.extend(live.place.caller);
    }
    let named: Vec<ServiceId> = scope.iter().copied().collect();
    for id in &named {
        scope.extend(map.reach(*id, false, 6, &|_| true));
    }
    let tenant = named.first().map(|id| map.service(*id).tenant.clone());
    let beside = (0..map.len() as ServiceId).filter(|id| Some(&map.service(*id).tenant) == tenant.as_ref());
    let beside: Vec<ServiceId> = beside.filter(|id| named.iter().any(|other| map.share_host(*id, *other))).collect();
    scope.extend(beside);
    scope
}

/// Whether the requests of all services have all but stopped.
fn is_silent(scene: &Scene<'_>) -> bool {
    let map = scene.scales.map;
    let (mut heard, mut usual) = (0.0, 0.0);
    for series in (0..map.len() as ServiceId).flat_map(|id| &map.service(id).series) {
        if map.place(*series).is_some_and(|place| place.aspect == Aspect::Rate) {
            let pulse = scene.scales.pulses.of(*series);
            (heard, usual) = (heard + pulse.actual, usual + pulse.usual);
        }
    }
    usual > 0.0 && heard < 0.05 * usual
}

/// The accounts of one look.
fn accounts(scene: &Scene<'_>, members: &[&Live]) -> Accounts {
    let scope = scope(scene, members);
    let mut accounts = Accounts::new();
    let strength = |harm: Harm| members.iter().filter(|live| live.harm == harm).map(|live| scene.scales.weigh(live)).fold(0.0, f64::max);
    let failing = blame::errors(scene, &scope);
    let mut slow = blame::latency(scene, &scope);
    let moved = super::neighbour::blame(scene, &scope, &mut slow);
    share_out(&mut accounts, strength(Harm::Latency), &slow);
    share_out(&mut accounts, strength(Harm::Errors), &failing);
    let lost = blame::loss(scene, &scope);
    let map = scene.scales.map;
    let outside = lost.iter().all(|blame| map.is_entry(blame.service) && map.is_bare(blame.service));
    share_out(&mut accounts, if outside { OUTSIDE } else { 0.8 } * strength(Harm::Loss), &lost);
    for (service, score, sentence) in moved {
        accounts.entry(service).or_default().add(0.02 * score, "", sentence);
    }
    companions(scene, &scope, &failing, &mut accounts);
    releases(scene, &mut accounts);
    accounts
}

/// Gives each service its share of one kind of harm.
fn share_out(accounts: &mut Accounts, strength: f64, blames: &[Blame]) {
    let total: f64 = blames.iter().map(|blame| blame.amount).sum();
    // A look at what has all but passed tells little.
    let strength = strength * blames.iter().map(|blame| blame.sure).fold(0.0, f64::max);
    if strength <= 0.0 || total <= 0.0 {
        return;
    }
    let mut by_service: BTreeMap<ServiceId, f64> = BTreeMap::new();
    for blame in blames {
        let share = blame.amount / total;
        *by_service.entry(blame.service).or_default() += share;
        accounts.entry(blame.service).or_default().add(strength * share, &blame.operation, blame.sentence.clone());
    }
    for (service, share) in by_service {
        if let Some(blame) = blames.iter().find(|blame| blame.service == service) {
            let text = format!("{} of the {} arises here and not below", phrase::percent(share), blame.harm_word());
            accounts.entry(service).or_default().evidence.push((strength * share * 0.5, text));
        }
    }
}

/// Resources that run full, failures that are written down and work that is left out support whoever
/// already has a part in the harm; alone they say little.
fn companions(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>, failing: &[Blame], accounts: &mut Accounts) {
    let map = scene.scales.map;
    let total: f64 = accounts.values().map(|account| account.score).sum();
    for id in scope {
        let is_bare = map.is_bare(*id);
        let part = accounts.get(id).map_or(0.0, |account| account.score / total.max(1e-9));
        let support = if total > 0.0 && is_bare { 0.15 + 0.85 * ramp(part, 0.0, 0.3) } else { 1.0 };
        let traffic = scene.scales.traffic_ratio(*id).max(1.0);
        let below = failing.iter().any(|blame| blame.service != *id && map.service(*id).callees.contains(&blame.service));
        let own = failing.iter().any(|blame| blame.service == *id);
        let mut best: BTreeMap<&str, (f64, String, String)> = BTreeMap::new();
        for series in &map.service(*id).series {
            let (Some(place), pulse) = (map.place(*series), scene.pulse(*series)) else { continue };
            let up = pulse.deviation > 0.0;
            let sure = ramp(f64::from(pulse.deviation.abs()), 1.0, 4.0);
            let ratio = pulse.ratio();
            let (kind, score) = match place.aspect {
                Aspect::Cpu if up => ("cpu", 0.35 * sure * ramp(ratio / traffic, 1.1, 1.8)),
                Aspect::Resource if up => ("resource", 0.35 * sure * ramp(ratio / traffic, 1.1, 1.8)),
                Aspect::Headroom if !up => ("headroom", 0.25 * sure * ramp(1.0 / ratio.max(1e-3), 1.1, 1.8)),
                Aspect::ErrorLog if is_bare && pulse.is_new() => {
                    ("new", 0.3 * ramp(pulse.count, 0.2, 2.0) * if below && !own { 0.2 } else { 1.0 })
                }
                Aspect::ErrorLog | Aspect::Failures if up => ("failures", 0.3 * sure * if below && !own { 0.2 } else { 1.0 }),
                Aspect::WarnLog if up => ("warnings", 0.15 * sure),
                Aspect::Exclusive if is_bare => ("left out", 0.3 * left_out(&pulse, scene.scales.traffic_ratio(*id))),
                _ => continue,
            };
            let Some(name) = scene.names.get(*series as usize).filter(|_| score > 0.01) else { continue };
            let said = || (score, name.name.clone(), companion_sentence(kind, name, &pulse, scene));
            if !is_bare {
                let (score, operation, sentence) = said();
                accounts.entry(*id).or_default().add(score, &operation, sentence);
            } else if score > best.get(kind).map_or(0.01, |best| best.0) {
                best.insert(kind, said());
            }
        }
        for (score, name, sentence) in best.into_values() {
            accounts.entry(*id).or_default().add(score * support, &name, sentence);
        }
    }
}

/// How sure it is that an operation is left out which the service's requests otherwise bring about.
fn left_out(pulse: &Pulse, traffic: f64) -> f64 {
    let expected = pulse.usual_count * traffic.min(1.0);
    let share = pulse.count / expected.max(1e-9);
    // The last few windows count as about four.
    ramp(4.0 * expected, 8.0, 24.0) * ramp(1.0 - share, 0.5, 0.85)
}

fn companion_sentence(kind: &str, name: &Series, pulse: &Pulse, scene: &Scene<'_>) -> String {
    let a_second = |count: f64| phrase::number(count * 1e9 / scene.scales.window_ns as f64);
    match kind {
        "left out" => format!(
            "`{}` is all but left out ({}/s, usually {}/s) although requests go on",
            name.name,
            a_second(pulse.count),
            a_second(pulse.usual_count)
        ),
        "new" => format!("{} is new ({}/s)", phrase::what(name), a_second(pulse.count)),
        _ => {
            let much = phrase::how_much(name.kind, pulse.actual, pulse.expected);
            format!("{} is {much} ({})", phrase::what(name), phrase::value(name.kind, pulse.actual))
        }
    }
}

/// Where nothing better is known (metrics only), the members themselves.
fn by_members(scene: &Scene<'_>, members: &[&Live], accounts: &mut Accounts) {
    for live in members {
        let score = scene.scales.weigh(live).max(0.05) * 0.5;
        let account = accounts.entry(live.place.service).or_default();
        account.add(score, &live.anomaly.series.name, phrase::deviation(live));
    }
}

/// A version change just before is named, and counts for whoever already has evidence.
fn releases(scene: &Scene<'_>, accounts: &mut Accounts) {
    for (id, account) in accounts.iter_mut().filter(|(_, account)| account.score > 0.0) {
        if let Some(release) = scene.scales.map.release_before(*id, scene.since, RELEASE_WITHIN_NS) {
            let after = scene.since.since(release.at) / 1_000_000_000;
            let from = if release.from.is_empty() { "the version before" } else { &release.from };
            let sentence = format!("began {after} s after version {from} -> {}", release.to);
            account.evidence.push((account.score * 0.4, sentence));
            account.score *= 1.15;
        }
    }
}

/// Ranks; confidences add up to at most 1.
pub fn rank(scene: &Scene<'_>, accounts: &Accounts, members: &[&Live]) -> Vec<Suspect> {
    let map = scene.scales.map;
    let total: f64 = accounts.values().map(|account| account.score).sum();
    let mut order: Vec<(&ServiceId, &Account)> = accounts.iter().filter(|(_, account)| account.score > 0.0).collect();
    order.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then_with(|| map.service(*a.0).name.cmp(&map.service(*b.0).name)));
    let best = order.first().map_or(0.0, |(_, account)| account.score);
    // Little evidence in sum leaves room for a cause nobody sees.
    let unknown = 0.15;
    let mut suspects = Vec::new();
    for (id, account) in order.into_iter().take(SUSPECTS_MAX).filter(|(_, account)| account.score >= SHARE_MIN * best) {
        let mut evidence = account.evidence.clone();
        evidence.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut sentences: Vec<String> = Vec::new();
        for (_, sentence) in evidence {
            if sentences.len() < EVIDENCE_MAX && !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        if suspects.is_empty()
            && let Some(path) = path(scene, *id, members)
        {
            sentences.push(path);
        }
        let confidence = (account.score / (total + unknown * best) * 1000.0).round() / 1000.0;
        suspects.push(Suspect {
            service: map.service(*id).name.clone(),
            operation: account.operation.1.clone(),
            confidence,
            evidence: sentences,
        });
    }
    suspects
}

/// The way from the user to the cause, with a trace to look at.
fn path(scene: &Scene<'_>, to: ServiceId, members: &[&Live]) -> Option<String> {
    let map = scene.scales.map;
    let path = map.path_from_entry(to);
    if path.len() < 2 {
        return None;
    }
    let names: Vec<&str> = path.iter().map(|id| map.service(*id).name.as_str()).collect();
    let trace = members.iter().filter(|live| path.contains(&live.place.service)).flat_map(|live| live.anomaly.exemplars.first()).next();
    let trace = trace.map(|exemplar| format!(", e.g. trace {}", exemplar.trace_id)).unwrap_or_default();
    Some(format!("on the call path {}{trace}", names.join(" -> ")))
}
