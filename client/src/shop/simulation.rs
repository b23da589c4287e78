//! The shop itself: advances through event time and hands out what its services send.
//!
//! Invariant: requests come out in the order of their sending times, and one call `advance(b)`
//! gives the same requests as `advance(a)` and `advance(b)` for any `a <= b`.

use super::{
    draw::Draw,
    floor::{CORES, ENTRIES, Floor, HOSTS, SERVICES, index_of},
    meters::{Levels, Meters, gauge},
    outbox::{Outbox, resource},
    schedule::{Schedule, nanos},
    trouble::Trouble,
    words::line,
};
use crate::request::ExportRequest;
use geophone_proto::time::{SECOND_NS, UnixNanos};

/// The compressed day: traffic swings once in this time.
const DAY_S: f64 = 3.0 * 3600.0;

/// One request as a service sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// When it leaves (event time); all its rows are older.
    pub at: UnixNanos,
    /// `service.name` of the sender.
    pub service: &'static str,
    /// What it sends.
    pub request: ExportRequest,
}

/// One instance at work.
#[derive(Clone, Debug)]
pub(super) struct Staff {
    pub(super) outbox: Outbox,
    pub(super) meters: Meters,
    /// The current or next short pause.
    pub(super) pause: (u64, u64),
    version: [u32; 3],
    /// Until when deploys were looked for.
    deployed_ns: u64,
    /// Share of the host's processor at the last collection.
    cpu: f64,
}

/// The simulated shop.
#[derive(Clone, Debug)]
pub struct Shop {
    pub(super) floor: Floor,
    pub(super) trouble: Trouble,
    pub(super) draw: Draw,
    pub(super) staff: Vec<Staff>,
    /// One agent per host.
    agents: Vec<Outbox>,
    start: u64,
    now: u64,
    next_visit: u64,
}

impl Shop {
    /// Opens the shop: first traffic at `start`, trouble as scheduled.
    pub fn new(seed: u64, start: UnixNanos, schedule: &Schedule) -> Self {
        let floor = Floor::seeded(seed);
        let trouble = Trouble::new(schedule, floor.host.clone());
        let mut draw = Draw::new(seed, 3);
        let staff = (0..SERVICES.len()).map(|service| hire(service, &floor, start.0, &mut draw)).collect();
        let agents = (0..HOSTS.len()).map(|host| agent(host, start.0, &mut draw)).collect();
        Self { floor, trouble, draw, staff, agents, start: start.0, now: start.0, next_visit: start.0 }
    }

    /// The same shop with this share of its customers.
    #[must_use]
    pub fn with_traffic(mut self, share: f64) -> Self {
        self.floor.entry_rate *= share;
        self
    }

    /// Where the services run.
    pub const fn floor(&self) -> &Floor {
        &self.floor
    }

    /// How far it has come.
    pub const fn now(&self) -> UnixNanos {
        UnixNanos(self.now)
    }

    /// Adds a schedule that starts at or after now.
    pub fn add(&mut self, schedule: &Schedule) {
        self.trouble.add(schedule);
    }

    /// Recycles the worker processes of a service: memory falls back to normal. Says whether that
    /// ended a leak; a service without one serves on unharmed.
    pub fn recycle(&mut self, service: &str) -> bool {
        index_of(service).is_some_and(|service| self.trouble.mend(service, self.now))
    }

    /// Goes on to `to` and returns what was sent on the way, in order of time.
    pub fn advance(&mut self, to: UnixNanos) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let (at, what) = self.next();
            if at > to.0 {
                break;
            }
            self.now = at;
            match what {
                Due::Visit => self.arrive(),
                Due::Service(service) => self.collect(service, &mut sent),
                Due::Agent(host) => self.measure_host(host, &mut sent),
            }
        }
        self.now = self.now.max(to.0);
        sent
    }

    fn next(&self) -> (u64, Due) {
        let services = self.staff.iter().enumerate().map(|(service, staff)| (staff.due(), Due::Service(service)));
        let agents = self.agents.iter().enumerate().map(|(host, outbox)| (outbox.metrics_at, Due::Agent(host)));
        services.chain(agents).fold((self.next_visit, Due::Visit), |first, next| if next.0 < first.0 { next } else { first })
    }

    fn arrive(&mut self) {
        let at = self.now;
        let factor = self.day(at) * self.trouble.entry_factor(at);
        // Thinning: candidates come at the highest rate that occurs, and each is kept with its share of it.
        const FACTOR_MAX: f64 = 2.8;
        if self.draw.chance(factor / FACTOR_MAX) {
            let mut mark = self.draw.unit();
            let mut wanted = ENTRIES[0].0;
            for (entry, share) in ENTRIES {
                wanted = entry;
                mark -= share;
                if mark < 0.0 {
                    break;
                }
            }
            self.visit(wanted, at);
        }
        let gap = self.draw.exponential(1.0 / (self.floor.entry_rate * FACTOR_MAX));
        self.next_visit = at + nanos(gap).max(1);
    }

    /// The daily swing.
    fn day(&self, at: u64) -> f64 {
        let hours = at.saturating_sub(self.start) as f64 / SECOND_NS as f64 / DAY_S;
        1.0 + 0.22 * (std::f64::consts::TAU * (hours + 0.1)).sin()
    }

    /// A service's timers: whatever signal is due leaves.
    fn collect(&mut self, service: usize, sent: &mut Vec<Sent>) {
        let now = self.now;
        self.deploy_if_due(service);
        let mut requests = Vec::new();
        if self.staff[service].outbox.traces_at <= now {
            self.staff[service].outbox.traces_at = now + nanos(self.draw.between(4.5, 5.5));
            requests.extend(self.staff[service].outbox.take_traces(now));
        }
        if self.staff[service].outbox.logs_at <= now {
            self.staff[service].outbox.logs_at = now + nanos(self.draw.between(4.5, 5.5));
            requests.extend(self.staff[service].outbox.take_logs(now));
        }
        if self.staff[service].outbox.metrics_at <= now {
            let levels = Levels {
                leak: self.trouble.leak(service, now).map_or(0.0, |leak| leak.excess),
                burn: self.trouble.burn(service, now),
                cores: CORES,
            };
            let staff = &mut self.staff[service];
            staff.outbox.metrics_at = now + nanos(self.draw.between(9.8, 10.4));
            let (metrics, cpu) = staff.meters.collect(now, levels, &mut self.draw);
            staff.cpu = cpu;
            requests.push(staff.outbox.wrap_metrics(metrics));
        }
        let at = UnixNanos(now);
        sent.extend(requests.into_iter().map(|request| Sent { at, service: SERVICES[service].name, request }));
    }

    fn deploy_if_due(&mut self, service: usize) {
        let now = self.now;
        if self.trouble.deploy_between(service, self.staff[service].deployed_ns, now).is_some() {
            let host = HOSTS[self.floor.host[service]];
            let instance = self.draw.bits();
            let staff = &mut self.staff[service];
            staff.version[1] += 1;
            staff.version[2] = 0;
            let spec = &SERVICES[service];
            staff.outbox.succeed(resource(spec.name, spec.language, staff.version, instance, host));
            staff.meters = Meters::new(service, now, now);
            let [major, minor, patch] = staff.version;
            staff.outbox.log(line(9, format!("started version {major}.{minor}.{patch} on {host}"), now));
        }
        self.staff[service].deployed_ns = now;
    }

    /// What the agent on a host reads: the whole host's processor and memory.
    fn measure_host(&mut self, host: usize, sent: &mut Vec<Sent>) {
        let now = self.now;
        let here = self.staff.iter().zip(&self.floor.host).filter(|(_, of)| **of == host);
        let services: f64 = here.map(|(staff, _)| staff.cpu).sum();
        let cpu = (0.06 + services + 0.01 * self.draw.normal()).clamp(0.01, 0.995);
        let memory = 0.52 + 0.02 * host as f64 + 0.004 * self.draw.normal();
        let metrics = vec![gauge("system.cpu.utilization", "1", now, cpu), gauge("system.memory.utilization", "1", now, memory)];
        let agent = &mut self.agents[host];
        agent.metrics_at = now + nanos(self.draw.between(9.9, 10.2));
        sent.push(Sent { at: UnixNanos(now), service: AGENT, request: agent.wrap_metrics(metrics) });
    }
}

/// `service.name` of the agents that read hosts.
const AGENT: &str = "node-agent";

enum Due {
    Visit,
    Service(usize),
    Agent(usize),
}

impl Staff {
    fn due(&self) -> u64 {
        self.outbox.traces_at.min(self.outbox.logs_at).min(self.outbox.metrics_at)
    }
}

fn hire(service: usize, floor: &Floor, start: u64, draw: &mut Draw) -> Staff {
    let spec = &SERVICES[service];
    let mut outbox =
        Outbox::new("shop.instrumentation", resource(spec.name, spec.language, spec.version, draw.bits(), HOSTS[floor.host[service]]));
    outbox.traces_at = start + nanos(draw.between(0.2, 5.0));
    outbox.logs_at = start + nanos(draw.between(0.2, 5.0));
    outbox.metrics_at = start + nanos(draw.between(0.2, 10.0));
    // The shop has run for a while: it is not the start of the processes that is watched.
    let meters = Meters::new(service, start.saturating_sub(nanos(draw.between(40_000.0, 90_000.0))), start);
    let pause = start + nanos(draw.between(30.0, 300.0));
    Staff { outbox, meters, pause: (pause, pause + 40_000_000), version: spec.version, deployed_ns: start, cpu: 0.03 }
}

fn agent(host: usize, start: u64, draw: &mut Draw) -> Outbox {
    let mut outbox = Outbox::new("shop.agent", resource(AGENT, "go", [0, 155, 0], draw.bits(), HOSTS[host]));
    outbox.metrics_at = start + nanos(draw.between(0.2, 10.0));
    outbox
}
