//! What goes wrong in the shop and when, and what only looks as if it did. Made from a seed before
//! the first request; the receiving side is never told.
//!
//! Invariant: nothing overlaps, and every fault hits something that gets enough traffic to be seen.

use super::{
    draw::Draw,
    floor::{FRONTEND, Floor, OPERATIONS, SERVICES, STATEMENTS, Step},
};
use geophone_proto::time::{SECOND_NS, UnixNanos};
use serde::Serialize;

/// Below this many requests a second an operation is too quiet to be chosen.
const RATE_MIN: f64 = 0.7;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// One operation or database statement takes three to six times as long.
    SlowDependency,
    /// One operation fails in 10 to 40 % of its calls.
    ErrorBurst,
    /// A service is hardly called any more.
    TrafficDrop,
    /// A service's memory grows until collecting garbage slows it.
    MemoryLeak,
    /// A service burns the processor of its host; those beside it become slow.
    NoisyNeighbour,
}

/// Kinds of events that must not alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HarmlessKind {
    /// A new version: another instance, counters from zero, slower first requests.
    Deploy,
    /// More customers, served as fast as ever.
    TrafficRamp,
}

/// What a fault acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Operation(usize),
    Statement(usize),
    Service(usize),
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// `service.name` that owns the cause.
    pub service: String,
    /// Operation, statement or metric that carries it.
    pub operation: String,
    /// When it begins.
    pub from: UnixNanos,
    /// When it ends by itself.
    pub to: UnixNanos,
    /// By kind: factor of slowness; share of failures; share of calls left; growth a minute as a share of
    /// normal memory; share of the host's processor burnt.
    pub strength: f64,
    /// First suspects that name the cause: the service, and the address of a slow database.
    pub right_suspects: Vec<String>,
    #[serde(skip)]
    pub(super) target: Target,
}

/// One event that must not alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Harmless {
    /// Which kind.
    pub kind: HarmlessKind,
    /// The service deployed; the entry for a ramp.
    pub service: String,
    /// When it begins.
    pub from: UnixNanos,
    /// When it is over.
    pub to: UnixNanos,
    /// Factor on traffic at its height, or on the first requests' duration.
    pub strength: f64,
    #[serde(skip)]
    pub(super) index: usize,
}

/// How long things last, in seconds of event time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Undisturbed traffic before the first fault.
    pub warm_up_s: f64,
    /// Shortest and longest fault.
    pub fault_s: (f64, f64),
    /// Shortest and longest calm after a fault.
    pub calm_s: (f64, f64),
}

impl Default for Pace {
    fn default() -> Self {
        Self { warm_up_s: 2700.0, fault_s: (180.0, 360.0), calm_s: (540.0, 660.0) }
    }
}

/// Everything that will happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// Where it comes from.
    pub seed: u64,
    /// First moment of traffic.
    pub start: UnixNanos,
    /// Last moment that belongs to it.
    pub end: UnixNanos,
    /// One fault of each kind, in order of time.
    pub faults: Vec<Fault>,
    /// Two deploys and a ramp, in order of time.
    pub harmless: Vec<Harmless>,
}

enum Slot {
    Fault(FaultKind),
    Harmless(HarmlessKind),
}

impl Schedule {
    /// The schedule of a seed: a fault first, then faults and harmless events in any order.
    pub fn seeded(seed: u64, start: UnixNanos, pace: &Pace) -> Self {
        Self::on_floor(&Floor::seeded(seed), seed, start, pace)
    }

    /// Another schedule for a shop that is open already; `seed` may differ from the shop's.
    pub fn on_floor(floor: &Floor, seed: u64, start: UnixNanos, pace: &Pace) -> Self {
        let mut draw = Draw::new(seed, 2);
        let mut at = start.plus(nanos(pace.warm_up_s + draw.between(0.0, 40.0)));
        let mut schedule = Self { seed, start, end: at, faults: Vec::new(), harmless: Vec::new() };
        for slot in order(&mut draw) {
            let calm = match slot {
                Slot::Fault(kind) => {
                    let to = at.plus(nanos(draw.between(pace.fault_s.0, pace.fault_s.1)));
                    let used: Vec<String> = schedule.faults.iter().map(|fault| fault.service.clone()).collect();
                    schedule.faults.push(fault(kind, (at, to), floor, &used, &mut draw));
                    at = to;
                    draw.between(pace.calm_s.0, pace.calm_s.1)
                }
                Slot::Harmless(kind) => {
                    let event = harmless(kind, at, &schedule.harmless, &mut draw);
                    at = event.to;
                    schedule.harmless.push(event);
                    draw.between(pace.calm_s.0, pace.calm_s.1) / 2.0
                }
            };
            at = at.plus(nanos(calm));
        }
        schedule.end = at;
        schedule
    }

    /// A schedule in which nothing happens for this long.
    pub fn quiet(seed: u64, start: UnixNanos, seconds: f64) -> Self {
        Self { seed, start, end: start.plus(nanos(seconds)), faults: Vec::new(), harmless: Vec::new() }
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64) as u64
}

fn order(draw: &mut Draw) -> Vec<Slot> {
    let mut kinds =
        [FaultKind::SlowDependency, FaultKind::ErrorBurst, FaultKind::TrafficDrop, FaultKind::MemoryLeak, FaultKind::NoisyNeighbour];
    draw.shuffle(&mut kinds);
    let mut slots: Vec<Slot> = kinds[1..].iter().map(|kind| Slot::Fault(*kind)).collect();
    slots.extend([HarmlessKind::Deploy, HarmlessKind::TrafficRamp, HarmlessKind::Deploy].map(Slot::Harmless));
    draw.shuffle(&mut slots);
    slots.insert(0, Slot::Fault(kinds[0]));
    slots
}

/// A fault of this kind on something busy enough, of a service not hit before where that is possible.
pub(super) fn fault(kind: FaultKind, span: (UnixNanos, UnixNanos), floor: &Floor, used: &[String], draw: &mut Draw) -> Fault {
    let mut targets = candidates(kind, floor, draw);
    draw.shuffle(&mut targets);
    let fresh = targets.iter().find(|target| !used.iter().any(|service| service == SERVICES[owner(**target)].name));
    let target = *fresh.or(targets.first()).expect("every kind has candidates on every floor: see the test over seeds");
    let service = SERVICES[owner(target)].name.to_owned();
    let mut right_suspects = vec![service.clone()];
    let operation = match (kind, target) {
        (_, Target::Operation(operation)) => OPERATIONS[operation].name.to_owned(),
        (_, Target::Statement(statement)) => {
            right_suspects.push(STATEMENTS[statement].address.to_owned());
            STATEMENTS[statement].name.to_owned()
        }
        (FaultKind::MemoryLeak, _) => "process.memory.usage".to_owned(),
        (FaultKind::NoisyNeighbour, _) => "process.cpu.utilization".to_owned(),
        (_, Target::Service(service)) => busiest(service, floor).0.to_owned(),
    };
    let strength = match kind {
        FaultKind::SlowDependency => draw.between(3.0, 6.0),
        FaultKind::ErrorBurst => draw.between(0.15, 0.4),
        FaultKind::TrafficDrop => draw.between(0.0, 0.04),
        FaultKind::MemoryLeak => draw.between(0.25, 0.5),
        FaultKind::NoisyNeighbour => draw.between(0.6, 0.75),
    };
    Fault { kind, service, operation, from: span.0, to: span.1, strength, right_suspects, target }
}

fn candidates(kind: FaultKind, floor: &Floor, draw: &mut Draw) -> Vec<Target> {
    let rates = floor.rates();
    let busy = (0..OPERATIONS.len()).filter(|operation| rates[*operation] >= RATE_MIN);
    let services = 0..SERVICES.len();
    match kind {
        FaultKind::SlowDependency if draw.chance(0.3) => busy.flat_map(slow_statements).map(Target::Statement).collect(),
        FaultKind::SlowDependency => busy.filter(|operation| OPERATIONS[*operation].service != FRONTEND).map(Target::Operation).collect(),
        FaultKind::ErrorBurst => busy.map(Target::Operation).collect(),
        FaultKind::TrafficDrop => {
            let names = ["frontend", "ads", "recommendation", "cart", "email", "shipping"];
            services.filter(|service| names.contains(&SERVICES[*service].name)).map(Target::Service).collect()
        }
        FaultKind::MemoryLeak => services.map(Target::Service).collect(),
        FaultKind::NoisyNeighbour => {
            let beside = |service: usize| -> f64 {
                let others = (0..SERVICES.len()).filter(|other| *other != service && floor.host[*other] == floor.host[service]);
                others.map(|other| busiest(other, floor).1).sum()
            };
            services.filter(|service| beside(*service) >= 3.0).map(Target::Service).collect()
        }
    }
}

fn slow_statements(operation: usize) -> Vec<usize> {
    let statements = OPERATIONS[operation].steps.iter().filter_map(|step| match step {
        Step::Query { statement, .. } => Some(*statement),
        Step::Call { .. } => None,
    });
    statements.filter(|statement| STATEMENTS[*statement].median_ms >= 2.0).collect()
}

/// The service that owns a target; for a statement the one that runs it.
pub(super) fn owner(target: Target) -> usize {
    match target {
        Target::Operation(operation) => OPERATIONS[operation].service,
        Target::Service(service) => service,
        Target::Statement(wanted) => {
            let runs = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Query { statement, .. } if *statement == wanted));
            OPERATIONS.iter().find(|operation| runs(operation.steps)).map_or(FRONTEND, |operation| operation.service)
        }
    }
}

/// A service's most called operation and its rate.
fn busiest(service: usize, floor: &Floor) -> (&'static str, f64) {
    let rates = floor.rates();
    let own = OPERATIONS.iter().zip(rates).filter(|(operation, _)| operation.service == service);
    own.map(|(operation, rate)| (operation.name, rate)).fold(("", 0.0), |best, next| if next.1 > best.1 { next } else { best })
}

fn harmless(kind: HarmlessKind, from: UnixNanos, before: &[Harmless], draw: &mut Draw) -> Harmless {
    match kind {
        HarmlessKind::Deploy => {
            let used = |service: usize| before.iter().any(|event| event.kind == kind && event.index == service);
            let mut index = draw.below(SERVICES.len());
            while used(index) {
                index = (index + 1) % SERVICES.len();
            }
            let strength = draw.between(1.5, 2.2);
            Harmless { kind, service: SERVICES[index].name.to_owned(), from, to: from.plus(nanos(90.0)), strength, index }
        }
        HarmlessKind::TrafficRamp => {
            let to = from.plus(nanos(draw.between(540.0, 720.0)));
            let strength = draw.between(1.6, 2.0);
            Harmless { kind, service: SERVICES[FRONTEND].name.to_owned(), from, to, strength, index: FRONTEND }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_seeds_never_overlap_and_hit_what_is_busy() {
        let pace = Pace::default();
        for seed in 1..=200 {
            let schedule = Schedule::seeded(seed, UnixNanos(1_700_000_000 * SECOND_NS), &pace);
            let mut spans: Vec<_> = schedule.faults.iter().map(|fault| (fault.from, fault.to)).collect();
            spans.extend(schedule.harmless.iter().map(|event| (event.from, event.to)));
            spans.sort_unstable();
            assert_eq!(spans.len(), 8);
            assert!(spans.windows(2).all(|pair| pair[1].0.since(pair[0].1) >= nanos(240.0)), "seed {seed}: {spans:?}");
            assert!(spans[0].0.since(schedule.start) >= nanos(pace.warm_up_s) && schedule.end > spans[7].1);
            let floor = Floor::seeded(seed);
            for fault in &schedule.faults {
                assert!(busiest(owner(fault.target), &floor).1 >= RATE_MIN, "seed {seed}: {fault:?}");
            }
            let services: std::collections::BTreeSet<_> = schedule.faults.iter().map(|fault| &fault.service).collect();
            assert_eq!(services.len(), 5, "seed {seed}");
        }
    }

    #[test]
    fn another_seed_is_another_day() {
        let of = |seed| Schedule::seeded(seed, UnixNanos(0), &Pace::default());
        assert_eq!(of(3), of(3));
        assert_ne!(of(3).faults, of(4).faults);
    }
}
