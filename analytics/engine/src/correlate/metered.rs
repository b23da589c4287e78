//! Blame where nobody sends spans: what metrics of durations and availability say of each component, and
//! the graph of calls. Called by `blame` only.
//!
//! A component is explained by a callee that lost as much: seconds, or answers, of all its requests, as far as a metric
//! tells how many those are. Quantiles of one distribution are one witness, which says what the middle one of them says;
//! where there is a mean, it is the mean that speaks, since means are what adds up along calls.

use super::{
    aspect::{Aspect, Harm, is_mean, is_waiting},
    blame::{Blame, fall, rise, sentence},
    map::ServiceId,
    suspects::Scene,
};
use std::collections::{BTreeMap, BTreeSet};

/// A callee explains its caller if it gained this share of what the caller did.
const EXPLAINS: f64 = 0.9;
/// Durations that rose by less than this factor are as they were.
const SLOWER: f64 = 1.1;
/// Whoever answers at least this share of what it usually does fails no more than usual.
const FAILING: f64 = 0.995;
/// A rise within what is usual still tells more than the caller's that it explains.
const UNSURE: f64 = 0.1;
/// Metrics tell less surely than spans.
const SURE: f64 = 0.4;

/// How much worse a component got.
struct Rise {
    /// Seconds, or requests, that were lost between two readings: what its callers feel.
    amount: f64,
    sure: f64,
    operation: String,
    sentence: String,
}

/// Components whose own durations rose.
pub fn latency(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    blames(scene, &rises(scene, &widened(scene, scope), Harm::Latency), Harm::Latency)
}

/// Components that answer less often than they did.
pub fn errors(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> Vec<Blame> {
    blames(scene, &rises(scene, &widened(scene, scope), Harm::Errors), Harm::Errors)
}

/// With what stands beside an address: that is only how a caller calls one of them.
fn widened(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>) -> BTreeSet<ServiceId> {
    let map = scene.scales.map;
    let callers = scope.iter().filter(|id| is_address(&map.service(**id).name)).flat_map(|id| &map.service(*id).callers);
    scope.iter().copied().chain(callers.flat_map(|caller| map.service(*caller).callees.iter().copied())).collect()
}

fn rises(scene: &Scene<'_>, scope: &BTreeSet<ServiceId>, harm: Harm) -> BTreeMap<ServiceId, Rise> {
    let middle = |id: ServiceId| {
        let requests = scene.scales.requests_metered(id).unwrap_or(1.0);
        let mut all: Vec<Rise> = Vec::new();
        for (place, name, pulse) in scene.series_of(id).filter(|(.., pulse)| pulse.alive() && pulse.expected > 0.0) {
            let (added, sure) = match (place.aspect, harm) {
                (Aspect::MetricDuration, Harm::Latency) if !is_waiting(name) && pulse.ratio() > SLOWER => {
                    (pulse.actual - pulse.expected, rise(&pulse))
                }
                (Aspect::Availability, Harm::Errors) if pulse.ratio() < FAILING => (1.0 - pulse.ratio(), fall(&pulse)),
                _ => continue,
            };
            let rise =
                Rise { amount: added * requests, sure: sure.max(UNSURE), operation: name.name.clone(), sentence: sentence(name, &pulse) };
            if is_mean(name) {
                return Some(rise);
            }
            all.push(rise);
        }
        all.sort_by(|a, b| (a.amount * a.sure).total_cmp(&(b.amount * b.sure)));
        let at = all.len().checked_sub(1)? / 2;
        Some(all.swap_remove(at))
    };
    scope.iter().filter_map(|id| Some((*id, middle(*id)?))).collect()
}

fn blames(scene: &Scene<'_>, rises: &BTreeMap<ServiceId, Rise>, harm: Harm) -> Vec<Blame> {
    let map = scene.scales.map;
    let is_address = |id: ServiceId| is_address(&map.service(id).name);
    let explains = |rise: &Rise, id: &ServiceId| rises.get(id).is_some_and(|below| below.amount > EXPLAINS * rise.amount);
    // An address that a caller reports is the caller's sight of a component beside it that reports itself.
    let is_sight = |id: ServiceId| {
        let beside = || map.service(id).callers.iter().flat_map(|caller| &map.service(*caller).callees);
        is_address(id) && beside().any(|other| rises.contains_key(other) && !is_address(*other))
    };
    let own = rises.iter().filter(|(id, rise)| !map.service(**id).callees.iter().any(|callee| explains(rise, callee)) && !is_sight(**id));
    let blame = |(id, rise): (&ServiceId, &Rise)| {
        let (operation, sentence) = (rise.operation.clone(), rise.sentence.clone());
        Blame { service: *id, operation, harm, amount: rise.amount * rise.sure, sure: SURE, sentence }
    };
    own.map(blame).collect()
}

/// Whether a component is named by nothing but a host's name or number.
fn is_address(name: &str) -> bool {
    let host = name.split(['_', ':']).next().unwrap_or_default();
    host.matches('.').count() >= 2 && host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_and_components_are_not() {
        for name in ["search.internal.example.com_remote", "10.0.0.7:8080", "db.prod.local"] {
            assert!(is_address(name), "{name}");
        }
        for name in ["cart", "PetSearch_AWS::ECS::Fargate", "orders@db.example.com", "https://sqs.example.com/q", "v1.2"] {
            assert!(!is_address(name), "{name}");
        }
    }
}
