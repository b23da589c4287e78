//! How much an anomaly counts towards an incident. 1 is enough to wake somebody; marginal ones need
//! company; what harms nobody counts nothing. No thresholds per installation.

use super::{
    aspect::{Aspect, Harm, is_waiting},
    book::Live,
    map::{ServiceId, ServiceMap},
    pulse::{Pulse, Pulses},
};
use geophone_proto::{SeriesKind, UnixNanos};
use std::collections::BTreeMap;

/// How much more a change weighs that is far beyond twice.
const FAR: f64 = 0.8;
/// Evidence an incident needs to open.
pub const BUDGET: f64 = 1.0;
/// Hints alone never reach the budget where better evidence could exist.
const HINTS_MAX: f64 = 0.7;
/// A lasting sign that reached the bar weighs at least this: its incident stays open while it lasts.
const PROMOTED: f64 = 0.2;
/// What is left of a lasting sign's strength where the change by itself would harm nobody.
const BEARING_MIN: f64 = 0.1;
/// Metrics of one service's durations from which on they must agree, and what is left of one that stands alone.
const AGREE_MIN: usize = 3;
const DISAGREED: f64 = 0.15;
/// Anomalous windows from which on a spell may be longer than what it is held against.
const OUTLASTING_MIN: u32 = 12;
/// A deploy is an excuse for what begins within this after it ...
const DEPLOY_BEFORE_NS: u64 = 90_000_000_000;
/// ... and is over within this.
const DEPLOY_BLIP_NS: u64 = 90_000_000_000;

/// 0 at `from`, 1 at `to`, straight between.
pub fn ramp(value: f64, from: f64, to: f64) -> f64 {
    if value.is_nan() { 0.0 } else { ((value - from) / (to - from)).clamp(0.0, 1.0) }
}

/// What the weighing looks at besides the anomaly.
#[derive(Clone, Copy)]
pub struct Scales<'a> {
    /// Services and edges.
    pub map: &'a ServiceMap,
    /// Soft evidence.
    pub pulses: &'a Pulses,
    /// End of the newest window.
    pub at: UnixNanos,
    /// Its length.
    pub window_ns: u64,
}

impl Scales<'_> {
    /// Weight of one anomaly, 0 to 1.
    pub fn weigh(&self, live: &Live) -> f64 {
        if self.is_outlasted(live) {
            return 0.0;
        }
        let sure = ramp(live.z, 3.0, 9.0).max(0.15);
        let weight = self.bearing(live) * sure;
        if live.promoted && live.harm != Harm::None { weight.max(PROMOTED) } else { weight }
    }

    /// Whether it has lasted longer than what it is held against was known: of two spells nobody can tell which is the
    /// usual one. A series' first minutes are often unlike what follows.
    fn is_outlasted(&self, live: &Live) -> bool {
        live.windows >= OUTLASTING_MIN && 2 * live.windows > u32::from(self.pulses.of(live.series).seen)
    }

    /// Strength of a lasting sign, on the scale of its heat: less of it where less harm is done.
    pub fn strength(&self, live: &Live, heat: f64) -> f64 {
        if live.harm == Harm::None {
            return 0.0;
        }
        heat * (BEARING_MIN + (1.0 - BEARING_MIN) * self.bearing(live).min(1.0))
    }

    /// How much harm an anomaly speaks of, however sure it is, 0 to 1.
    fn bearing(&self, live: &Live) -> f64 {
        let ratio = ratio_of(live);
        let base = match live.harm {
            Harm::None => return self.weigh_gain(live, ratio),
            Harm::Latency => {
                let much = ramp(ratio, 1.1, 1.7) * (1.0 + FAR * self.far(live, ratio));
                much * duration_part(live) * self.source_part(live)
            }
            Harm::Errors if live.place.aspect == Aspect::Availability => ramp(1.0 - ratio, 0.005, 0.06) * self.source_part(live),
            Harm::Errors => {
                let added = live.anomaly.actual.unwrap_or(0.0) - live.anomaly.expected.unwrap_or(0.0);
                let far = if self.map.is_bare(live.place.service) { ramp(added, 0.1, 0.5) } else { 0.0 };
                ramp(added, 0.005, 0.06) * samples_part(live.n, far)
            }
            Harm::Loss => self.weigh_loss(live, ratio),
            Harm::Saturation => self.weigh_saturation(live, ratio),
            Harm::Hint => return self.weigh_hint(live, ratio),
        };
        base * self.deploy_part(live)
    }

    /// Samples for spans. A bucketed quantile beside spans says again, and worse, what they say.
    fn source_part(&self, live: &Live) -> f64 {
        if !matches!(live.place.aspect, Aspect::MetricDuration | Aspect::Availability) {
            return samples_part(live.n, self.far(live, ratio_of(live)));
        }
        // The same of a service that sends none, where others do: it takes no part in what is traced.
        let beside = if self.map.has_clients() {
            return samples_part(live.n, 0.0);
        } else if self.map.service(live.place.service).has_spans {
            0.25
        } else if self.map.has_spans() {
            0.5
        } else {
            let requests = self.requests_metered(live.place.service);
            self.agreed_part(live) * requests.map_or(1.0, |requests| samples_part(requests, 0.0))
        };
        // Whoever waits long is a witness; the fault is with those it waits for, whom only spans would name.
        let is_waiting = !self.map.service(live.place.service).has_spans && is_waiting(&live.anomaly.series);
        let waiting = if is_waiting { 0.3 } else { 1.0 };
        // One reading is one sample: a hint, until the next says the same, where that does not take many minutes.
        let pulse = self.pulses.of(live.series);
        let lasting = if pulse.apart() > 0 || pulse.again(live.up) { self.lasting(live, 60.0, 150.0) } else { 0.0 };
        beside * waiting * (0.3 + 0.7 * lasting)
    }

    /// How far other metrics of the same durations agree: where only the last percents are slower, few requests are. Only
    /// tails say nothing of that.
    fn agreed_part(&self, live: &Live) -> f64 {
        if live.place.aspect != Aspect::MetricDuration {
            return 1.0;
        }
        let series = self.map.service(live.place.service).series.iter().copied();
        let alike = series
            .filter_map(|other| self.map.place(other).filter(|place| place.aspect == Aspect::MetricDuration).map(|place| (other, place)));
        let (mut ratios, mut has_body) = (Vec::new(), false);
        for (pulse, place) in alike.map(|(other, place)| (self.pulses.of(other), place)).filter(|(pulse, _)| pulse.alive()) {
            ratios.push(pulse.ratio());
            has_body |= place.is_body;
        }
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.len().checked_sub(1).map_or(1.0, |last| ratios[last / 2]);
        if has_body && ratios.len() >= AGREE_MIN { DISAGREED + (1.0 - DISAGREED) * ramp(middle, 1.05, 1.3) } else { 1.0 }
    }

    /// How far beyond a usual change it is, where spans are few and bare.
    fn far(&self, live: &Live, ratio: f64) -> f64 {
        if self.map.is_bare(live.place.service) { far_part(ratio) } else { 0.0 }
    }

    /// How long it lasts, between two numbers of seconds. A reading that comes seldom stands for all of the time since the
    /// one before.
    fn lasting(&self, live: &Live, from: f64, to: f64) -> f64 {
        let windows = live.windows.max(self.pulses.of(live.series).apart());
        ramp(f64::from(windows) * self.window_ns as f64 * 1e-9, from, to)
    }

    /// Requests between two readings, of a service that tells them as a metric.
    pub fn requests_metered(&self, service: ServiceId) -> Option<f64> {
        let series = self.map.service(service).series.iter().copied();
        let requests = series.filter(|series| self.map.place(*series).is_some_and(|place| place.aspect == Aspect::Requests));
        requests.map(|series| self.pulses.of(series)).filter(Pulse::alive).map(|pulse| pulse.actual).reduce(f64::max)
    }

    /// More traffic harms nobody, unless a callee gets more without its callers getting more.
    fn weigh_gain(&self, live: &Live, ratio: f64) -> f64 {
        let asked_more = matches!(live.place.aspect, Aspect::Rate | Aspect::EdgeRate) && live.up && ratio > 1.5;
        let callers = &self.map.service(live.place.service).callers;
        if !asked_more || callers.is_empty() {
            return 0.0;
        }
        let callers_ratio = callers.iter().map(|caller| self.traffic_ratio(*caller)).fold(0.0, f64::max);
        if callers_ratio > 0.0 && ratio > callers_ratio * 1.5 { 0.5 } else { 0.0 }
    }

    fn weigh_loss(&self, live: &Live, ratio: f64) -> f64 {
        if self.pulses.hush.explains(live.anomaly.opened_at, self.at) {
            return 0.0;
        }
        let pulse = self.pulses.of(live.series);
        let actual = live.anomaly.actual.unwrap_or(pulse.actual);
        // A band that followed a burst up must not call its end a loss.
        let against_usual = if pulse.usual > 0.0 { actual / pulse.usual } else { ratio };
        let lost = 1.0 - ratio.max(against_usual);
        let callers = &self.map.service(live.place.service).callers;
        let explained = live.place.aspect == Aspect::EdgeRate
            || live.place.outgoing
            || (!callers.is_empty() && callers.iter().all(|caller| self.traffic_ratio(*caller) < 0.5 * (1.0 + ratio)));
        // Where users stop to come, whoever brings them may have stopped, or only their telemetry.
        let outside =
            if callers.is_empty() && self.map.is_bare(live.place.service) { 0.5 + 0.5 * self.lasting(live, 20.0, 60.0) } else { 1.0 };
        ramp(lost, 0.2, 0.55) * if explained { 0.4 } else { outside }
    }

    fn weigh_saturation(&self, live: &Live, ratio: f64) -> f64 {
        let service = live.place.service;
        let traffic = self.traffic_ratio(service).max(1.0);
        // As of now: the worst window may be older than the traffic it is held against.
        let pulse = self.pulses.of(live.series);
        let now = if pulse.alive() { pulse.ratio() } else { ratio };
        let rise = if live.up { now / traffic } else { 1.0 / now.max(1e-3) };
        let lasting = self.lasting(live, 20.0, 100.0);
        let most = if live.place.aspect == Aspect::Cpu { 0.6 } else { 1.0 };
        ramp(rise, 1.1, 1.45) * (0.3 + 0.7 * lasting) * most
    }

    fn weigh_hint(&self, live: &Live, ratio: f64) -> f64 {
        let moved = ramp(ratio.max(1.0 / ratio.max(1e-3)), 1.2, 3.0);
        match live.place.aspect {
            Aspect::ErrorLog | Aspect::Failures => 0.5 * moved,
            Aspect::WarnLog => 0.3 * moved,
            Aspect::Plain => 1.0,
            Aspect::Level | Aspect::Throughput | Aspect::Requests if !self.map.service(live.place.service).has_spans => 0.4 * moved,
            _ => 0.15 * moved,
        }
    }

    /// Short blips right after a new version are what deploys look like.
    fn deploy_part(&self, live: &Live) -> f64 {
        let short = u64::from(live.windows) * self.window_ns < DEPLOY_BLIP_NS;
        if short && self.deployed_near(live.place.service, live.anomaly.started_at) { 0.35 } else { 1.0 }
    }

    /// Whether the service, or one it calls or is called by, got a new version just before.
    fn deployed_near(&self, service: ServiceId, at: UnixNanos) -> bool {
        let map = self.map;
        let near = map.service(service).callees.iter().chain(&map.service(service).callers).copied();
        std::iter::once(service).chain(near).any(|id| map.release_before(id, at, DEPLOY_BEFORE_NS).is_some())
    }

    /// Measured over expected request rate of a service, all its operations; 1 if unknown.
    pub fn traffic_ratio(&self, service: ServiceId) -> f64 {
        let (mut actual, mut expected) = (0.0, 0.0);
        for series in &self.map.service(service).series {
            if self.map.place(*series).is_some_and(|place| place.aspect == Aspect::Rate && !place.outgoing) {
                let pulse = self.pulses.of(*series);
                if pulse.alive() {
                    actual += pulse.actual;
                    expected += pulse.expected;
                }
            }
        }
        if expected > 1e-9 { actual / expected } else { 1.0 }
    }

    /// What tells the same as others of its service: an operation. Metrics of one resource, and quantiles of one
    /// distribution, come under different names; where nobody says whom they call, they are one witness.
    fn witness<'b>(&self, live: &'b Live) -> &'b str {
        match live.place.aspect {
            _ if self.map.has_clients() => &live.anomaly.series.name,
            Aspect::MetricDuration => "duration",
            Aspect::Cpu => "processor",
            Aspect::Resource | Aspect::Headroom => "resource",
            Aspect::Level | Aspect::Throughput | Aspect::Requests => "level",
            _ => &live.anomaly.series.name,
        }
    }

    /// Evidence of a group: series of one operation and harm say the same thing, so the strongest
    /// counts and the others only support it.
    /// A lasting sign that reached the bar of the budget is enough by itself.
    pub fn evidence<'b>(&self, members: impl Iterator<Item = &'b Live> + Clone) -> f64 {
        let promoted = members.clone().any(|live| live.promoted && live.harm != Harm::None);
        let sum = self.sum(members);
        if promoted { sum.max(BUDGET) } else { sum }
    }

    /// The same without what the budget allows.
    pub fn sum<'b>(&self, members: impl Iterator<Item = &'b Live>) -> f64 {
        let mut said: BTreeMap<(ServiceId, &str, Harm), (f64, u32)> = BTreeMap::new();
        for live in members {
            let weight = self.weigh(live);
            if weight > 0.0 {
                let name = self.witness(live);
                let entry = said.entry((live.place.service, name, live.harm)).or_default();
                *entry = (entry.0.max(weight), entry.1 + 1);
            }
        }
        let (mut firm, mut hints) = (0.0, 0.0);
        for ((_, _, harm), (weight, count)) in said {
            let weight = weight * (1.0 + 0.15 * f64::from((count - 1).min(2)));
            if matches!(harm, Harm::Hint | Harm::None) { hints += weight } else { firm += weight }
        }
        let spans = self.map.has_spans();
        firm + if spans { hints.min(HINTS_MAX) } else { hints }
    }
}

/// Measured over expected in the worst window; 1 if either is unknown.
pub fn ratio_of(live: &Live) -> f64 {
    match (live.anomaly.actual, live.anomaly.expected) {
        (Some(actual), Some(expected)) if expected.abs() > 1e-12 => actual / expected,
        (Some(actual), Some(_)) if actual > 0.0 => 10.0,
        _ => 1.0,
    }
}

fn duration_part(live: &Live) -> f64 {
    match live.anomaly.series.kind {
        SeriesKind::DurationP99 => 0.6,
        SeriesKind::DurationP50 | SeriesKind::DurationP95 => 1.0,
        _ => 0.85,
    }
}

/// The farther it is off, the fewer samples are needed.
fn samples_part(n: f64, far: f64) -> f64 {
    0.3 + 0.7 * ramp(n, 3.0 - far, 20.0 - 15.0 * far)
}

/// How far beyond a usual change a ratio is: nothing below 4, all of it from 30 on.
fn far_part(ratio: f64) -> f64 {
    ramp(ratio.max(1e-9).ln(), 1.4, 3.4)
}
