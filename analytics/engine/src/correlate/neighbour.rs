//! Noisy neighbours: services of one host that got slower by themselves, beside one that burns more
//! than its traffic explains. Moves the blame for their time to that one. Called by `suspects`.

use super::{aspect::Aspect, blame::Blame, map::ServiceId, phrase, suspects::Scene, weight::ramp};
use std::collections::{BTreeMap, BTreeSet};

/// How much of the victims' added time a fully convincing neighbour takes over.
const MOVED: f64 = 0.85;

/// A service's own use of a shared resource.
struct Burn {
    strength: f64,
    metric: String,
    sentence: String,
}

/// Rewrites `slow` where a neighbour explains it; returns who took over, how convincingly, and why.
pub fn blame(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>, slow: &mut Vec<Blame>) -> Vec<(ServiceId, f64, String)> {
    let map = scene.scales.map;
    let mut hosts: BTreeMap<&str, Vec<ServiceId>> = BTreeMap::new();
    for id in scope {
        map.service(*id).hosts.iter().for_each(|host| hosts.entry(host).or_default().push(*id));
    }
    let mut moved = Vec::new();
    for (host, residents) in hosts.into_iter().filter(|(_, residents)| residents.len() > 1) {
        let burns: BTreeMap<ServiceId, Burn> = residents.iter().filter_map(|id| Some((*id, burn(scene, *id)?))).collect();
        let Some((noisy, burn)) = burns.iter().max_by(|a, b| a.1.strength.total_cmp(&b.1.strength)) else { continue };
        let is_victim = |blame: &Blame| {
            blame.service != *noisy
                && residents.contains(&blame.service)
                && burns.get(&blame.service).is_none_or(|own| own.strength < 0.5 * burn.strength)
        };
        let victims: BTreeSet<ServiceId> = slow.iter().filter(|blame| is_victim(blame)).map(|blame| blame.service).collect();
        if victims.is_empty() {
            continue;
        }
        let share = MOVED * burn.strength * if victims.len() > 1 { 1.0 } else { 0.7 };
        let mut taken = 0.0;
        for blame in slow.iter_mut().filter(|blame| is_victim(blame)) {
            taken += blame.amount * share;
            blame.amount *= 1.0 - share;
        }
        let names: Vec<&str> = victims.iter().map(|id| map.service(*id).name.as_str()).collect();
        let sentence = format!("shares host {host} with {}, which got slower without doing more themselves", names.join(", "));
        slow.push(Blame {
            service: *noisy,
            operation: burn.metric.clone(),
            harm: super::aspect::Harm::Latency,
            amount: taken,
            sure: burn.strength,
            sentence: burn.sentence.clone(),
        });
        moved.push((*noisy, burn.strength, sentence));
    }
    moved
}

/// The strongest rise of a shared resource beyond the service's own traffic.
fn burn(scene: &Scene<'_>, service: ServiceId) -> Option<Burn> {
    let map = scene.scales.map;
    let traffic = scene.scales.traffic_ratio(service).max(1.0);
    let mut best: Option<Burn> = None;
    for series in &map.service(service).series {
        let (Some(place), Some(name)) = (map.place(*series), scene.names.get(*series as usize)) else { continue };
        let pulse = scene.pulse(*series);
        let part = match place.aspect {
            Aspect::Cpu => 1.0,
            Aspect::Resource => 0.5,
            _ => continue,
        };
        let strength = part * ramp(f64::from(pulse.deviation), 1.0, 3.0) * ramp(pulse.ratio() / traffic, 1.15, 1.6);
        if pulse.alive() && strength > best.as_ref().map_or(0.05, |best| best.strength) {
            let much = phrase::how_much(name.kind, pulse.actual, pulse.expected);
            let sentence = format!("{} is {much} ({})", phrase::what(name), phrase::value(name.kind, pulse.actual));
            best = Some(Burn { strength, metric: name.name.clone(), sentence });
        }
    }
    best
}
