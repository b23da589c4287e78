//! How faults and harmless events act on the shop at a moment: factors and shares, nothing else.

use super::{
    floor::{FRONTEND, OPERATIONS},
    schedule::{Fault, FaultKind, Harmless, HarmlessKind, Schedule, Target, nanos, owner},
};
use geophone_proto::time::{SECOND_NS, UnixNanos};

/// All trouble of a shop, with the ends that were brought forward by mending.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    faults: Vec<Fault>,
    harmless: Vec<Harmless>,
    /// Host of each service.
    host: Vec<usize>,
}

/// A leak at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leak {
    /// Memory above normal, as a share of the normal.
    pub(super) excess: f64,
}

impl Trouble {
    pub(super) fn new(schedule: &Schedule, host: Vec<usize>) -> Self {
        Self { faults: schedule.faults.clone(), harmless: schedule.harmless.clone(), host }
    }

    /// Adds a later schedule; forgets what has long ended.
    pub(super) fn add(&mut self, schedule: &Schedule) {
        let old = schedule.start.minus(nanos(3600.0));
        self.faults.retain(|fault| fault.to > old);
        self.harmless.retain(|event| event.to > old);
        self.faults.extend(schedule.faults.iter().cloned());
        self.harmless.extend(schedule.harmless.iter().cloned());
    }

    /// Ends a leak of this service now; false if it has none.
    pub(super) fn mend(&mut self, service: usize, now: u64) -> bool {
        let now = UnixNanos(now);
        let leaks = |fault: &&mut Fault| fault.kind == FaultKind::MemoryLeak && fault.target == Target::Service(service);
        let leak = self.faults.iter_mut().filter(leaks).find(|fault| fault.from <= now && now < fault.to);
        leak.map(|fault| fault.to = now).is_some()
    }

    fn active(&self, kind: FaultKind, at: u64) -> impl Iterator<Item = &Fault> {
        let at = UnixNanos(at);
        self.faults.iter().filter(move |fault| fault.kind == kind && fault.from <= at && at < fault.to)
    }

    /// Factor on the own time of an operation.
    pub(super) fn slowness(&self, operation: usize, at: u64) -> f64 {
        let service = OPERATIONS[operation].service;
        let mut factor = 1.0;
        for fault in self.active(FaultKind::SlowDependency, at) {
            if fault.target == Target::Operation(operation) {
                factor *= fault.strength;
            }
        }
        for fault in self.active(FaultKind::NoisyNeighbour, at) {
            let neighbour = owner(fault.target);
            if self.host[neighbour] == self.host[service] {
                factor *= if neighbour == service { 1.6 } else { 2.0 };
            }
        }
        for event in self.deploys(at) {
            if event.index == service {
                let age = at.saturating_sub(event.from.0) as f64 / SECOND_NS as f64;
                factor *= 1.0 + (event.strength - 1.0) * (-age / 4.0).exp();
            }
        }
        factor
    }

    /// Factor on the time of a database statement.
    pub(super) fn statement_slowness(&self, statement: usize, at: u64) -> f64 {
        let slow = self.active(FaultKind::SlowDependency, at).filter(|fault| fault.target == Target::Statement(statement));
        slow.map(|fault| fault.strength).product()
    }

    /// Share of an operation's calls that fail of themselves.
    pub(super) fn error_share(&self, operation: usize, at: u64) -> f64 {
        let burst = self.active(FaultKind::ErrorBurst, at).filter(|fault| fault.target == Target::Operation(operation));
        burst.fold(OPERATIONS[operation].error_share, |share, fault| share.max(fault.strength))
    }

    /// Share of the calls to a service that its callers still make.
    pub(super) fn calls_left(&self, service: usize, at: u64) -> f64 {
        let drop = self.active(FaultKind::TrafficDrop, at).filter(|fault| fault.target == Target::Service(service));
        drop.map(|fault| fault.strength).fold(1.0, f64::min)
    }

    /// Factor on the traffic at the entry: ramps and vanished customers.
    pub(super) fn entry_factor(&self, at: u64) -> f64 {
        let ramps = self.harmless.iter().filter(|event| event.kind == HarmlessKind::TrafficRamp);
        let up: f64 = ramps.map(|event| ramp(event, at)).product();
        up * self.calls_left(FRONTEND, at)
    }

    /// The leak of a service, if it has one.
    pub(super) fn leak(&self, service: usize, at: u64) -> Option<Leak> {
        let fault = self.active(FaultKind::MemoryLeak, at).find(|fault| fault.target == Target::Service(service))?;
        let minutes = at.saturating_sub(fault.from.0) as f64 / (60.0 * SECOND_NS as f64);
        Some(Leak { excess: fault.strength * minutes })
    }

    /// Share of its host's processor that a service burns beyond its work.
    pub(super) fn burn(&self, service: usize, at: u64) -> f64 {
        let noisy = self.active(FaultKind::NoisyNeighbour, at).filter(|fault| owner(fault.target) == service);
        noisy.map(|fault| fault.strength).sum()
    }

    fn deploys(&self, at: u64) -> impl Iterator<Item = &Harmless> {
        let at = UnixNanos(at);
        self.harmless.iter().filter(move |event| event.kind == HarmlessKind::Deploy && event.from <= at && at < event.to)
    }

    /// The first deploy of a service after `after` and up to `until`.
    pub(super) fn deploy_between(&self, service: usize, after: u64, until: u64) -> Option<u64> {
        let deploys = self.harmless.iter().filter(|event| event.kind == HarmlessKind::Deploy && event.index == service);
        deploys.map(|event| event.from.0).filter(|from| *from > after && *from <= until).min()
    }
}

/// A third of the time up, a third at the height, a third down.
fn ramp(event: &Harmless, at: u64) -> f64 {
    let length = event.to.since(event.from) as f64;
    let place = (at as f64 - event.from.0 as f64) / length;
    let height = (place.min(1.0 - place) * 3.0).clamp(0.0, 1.0);
    1.0 + (event.strength - 1.0) * height
}
