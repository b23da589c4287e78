//! Flags to anomalies to incidents, in log order. One per brain; the only place that links series.

use super::{
    aspect::Harm,
    book::{Book, Change, ClusterId, Live},
    cluster::{CORE, Cluster},
    map::{ServiceId, ServiceMap},
    pulse::Pulses,
    visits::Visits,
    weight::Scales,
};
use crate::{budget::Ledger, detect::Candidate, flag::Flag, window::SeriesIndex};
use geophone_proto::{
    Effect, Series, UnixNanos,
    anomaly::{Anomaly, Contribution},
    effect::ScoredWindow,
    incident::{Incident, TimelineEvent},
    model::ModelRef,
    stacks::StackAnswer,
};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::Arc};

/// One scored window, as the correlator sees it.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Scores and bands.
    pub window: &'a ScoredWindow,
    /// The series of each row of `window`, and how many samples it has.
    pub rows: &'a [(SeriesIndex, f64)],
    /// What deserves attention.
    pub flags: &'a [Flag],
    /// What stands out lastingly, flagged or not.
    pub candidates: &'a [Candidate],
    /// Series scored.
    pub known: usize,
    /// Whether late rows changed a window that was closed before.
    pub amended: bool,
    /// Names of all series, by index.
    pub names: &'a [Arc<Series>],
}

/// What a window led to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// New versions of anomalies.
    pub anomalies: Vec<Anomaly>,
    /// New versions of incidents.
    pub incidents: Vec<Incident>,
    /// Newly opened anomalies of durations that show spans: their stacks are worth a look.
    pub wanted: Vec<(SeriesIndex, Anomaly)>,
}

/// Anomalies join a group whose last anomalous window is at most this far before their onset.
const JOIN_NS: u64 = 60_000_000_000;
/// An anomaly without any anomalous window for this long is closed.
const FORGOTTEN_NS: u64 = 150_000_000_000;
/// Anomalies that open within this after a change of ours are marked as self-caused.
const SELF_NS: u64 = 120_000_000_000;
/// A pulse beyond this carries an anomaly's effect through a service without an anomaly.
const WARM: f32 = 0.7;
const SELF_MARK: &str = "cause=self";

/// Correlation state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Correlator {
    map: ServiceMap,
    pulses: Pulses,
    /// What has come and gone without harm.
    visits: Visits,
    book: Book,
    clusters: Vec<Cluster>,
    next: ClusterId,
    swapped_at: Option<UnixNanos>,
    /// Lately closed incidents: outcomes of actions may still come.
    ended: VecDeque<Incident>,
    /// The false-alarm budget.
    pub(crate) ledger: Ledger,
}

const ENDED_KEPT: usize = 64;

fn has_id(cluster: &Cluster, incident_id: &str) -> bool {
    cluster.incident.as_ref().is_some_and(|incident| incident.id == incident_id)
}

impl Correlator {
    /// The service map, to be told of series, hosts and versions.
    pub fn map_mut(&mut self) -> &mut ServiceMap {
        &mut self.map
    }

    /// What is known of services.
    pub fn map(&self) -> &ServiceMap {
        &self.map
    }

    /// Whether a flag will be what its anomaly shows.
    pub fn shows(&self, flag: &Flag) -> bool {
        self.book.shows(flag)
    }

    /// Onset and opening of the anomaly that a flag belongs to, or opens.
    pub fn since(&self, flag: &Flag) -> (UnixNanos, UnixNanos) {
        self.book.since(flag.series).unwrap_or((flag.onset, flag.at))
    }

    /// Hears whether there are requests at all, where nothing else tells a gap in the recording from a loss.
    fn listen(&mut self, sight: &Sight<'_>) {
        if !self.map.has_spans() || self.map.has_clients() {
            return;
        }
        // Counts, so that their sum does not depend on its order.
        let counted =
            |series: SeriesIndex| sight.rows.binary_search_by_key(&series, |(series, _)| *series).map_or(0.0, |at| sight.rows[at].1);
        let requests = self.map.requests().map(counted).sum();
        self.pulses.hush.step(requests, sight.window.features.at, sight.window.window_ns);
    }

    /// Takes a window. `window.features.at` is its end; windows come in order, amended ones in between.
    pub fn step(&mut self, sight: Sight<'_>) -> Findings {
        let (at, window_ns) = (sight.window.features.at, sight.window.window_ns);
        if !sight.amended {
            self.pulses.beat(sight.rows, sight.window);
            self.listen(&sight);
        }
        let mut findings = Findings::default();
        for flag in sight.flags {
            self.take(flag, &sight, &mut findings);
        }
        if sight.amended {
            findings.anomalies = self.book.versions();
            return findings;
        }
        for series in self.book.forgotten(at, FORGOTTEN_NS) {
            self.book.close(series);
        }
        self.promote(&sight);
        self.group(at, window_ns);
        findings.incidents.extend(self.join_same_cause(at, window_ns, sight.names));
        let scales = Scales { map: &self.map, pulses: &self.pulses, at, window_ns };
        for cluster in &mut self.clusters {
            let before = cluster.incident.is_some();
            cluster.step(&self.book, scales, (sight.names, &self.visits));
            if let Some(incident) = cluster.incident.as_ref().filter(|_| !before) {
                let id = incident.id.clone();
                self.book.assign(cluster.id, cluster.id, Some(&id));
                self.ledger.opened(at);
            }
            if cluster.is_firm() && !std::mem::replace(&mut cluster.confirmed, true) {
                self.ledger.confirmed();
            }
        }
        let faults =
            self.clusters.iter().filter(|cluster| cluster.confirmed).flat_map(|cluster| cluster.services.iter().copied()).collect();
        let is_open = self.clusters.iter().any(Cluster::is_open);
        self.ledger.close((at, window_ns), (sight.known, is_open), &faults);
        self.merge_same_cause(at, &mut findings.incidents);
        findings.anomalies = self.book.versions();
        findings.incidents.extend(self.versions());
        self.sweep(at);
        findings
    }

    fn take(&mut self, flag: &Flag, sight: &Sight<'_>, findings: &mut Findings) {
        let (Some(place), Some(series)) = (self.map.place(flag.series), sight.names.get(flag.series as usize)) else { return };
        match self.book.take(flag, series, place, speaker(sight.window, series)) {
            Change::Opened => {
                let self_caused = self.swapped_at.is_some_and(|swap| flag.at.since(swap) <= SELF_NS && flag.at >= swap);
                let lasting = u64::from(self.pulses.of(flag.series).lasting(flag.z >= 0.0));
                if let Some(live) = self.book.get_mut(flag.series) {
                    // The detector's change point may lie in old drift; the windows say how long it stands out.
                    let stands_out = flag.at.minus(lasting.max(1) * sight.window.window_ns);
                    if lasting < 32 {
                        live.anomaly.started_at = live.anomaly.started_at.max(stands_out);
                    }
                    if self_caused {
                        live.harm = Harm::None;
                        live.anomaly.contributions.push(Contribution { feature: SELF_MARK.into(), value: 0.0 });
                    }
                    if live.harm == Harm::Latency && !live.anomaly.exemplars.is_empty() {
                        live.asked = true;
                        findings.wanted.push((flag.series, live.anomaly.clone()));
                    }
                }
            }
            Change::Closed => {
                let detail = format!("{} {} is back in its band", series.service, super::phrase::what(series));
                let member = self.clusters.iter_mut().find(|cluster| cluster.is_open() && self.book.owns_closed(cluster.id, flag.series));
                if let Some(cluster) = member {
                    cluster.note(flag.at, "anomaly_closed", detail);
                }
            }
            Change::Went | Change::Nothing => {}
        }
    }

    /// Tells the budget what stands out; what reaches its bar opens an incident by itself.
    fn promote(&mut self, sight: &Sight<'_>) {
        let (at, window_ns) = (sight.window.features.at, sight.window.window_ns);
        let bar = self.ledger.bar();
        for Candidate { flag, heat } in sight.candidates {
            let (Some(place), Some(series)) = (self.map.place(flag.series), sight.names.get(flag.series as usize)) else { continue };
            let lasting = self.pulses.of(flag.series).lasting(flag.z >= 0.0);
            let live = super::book::sketch(flag, series, place, lasting);
            let strength = Scales { map: &self.map, pulses: &self.pulses, at, window_ns }.strength(&live, *heat);
            let reaches = strength >= bar && self.clusters.iter().any(Cluster::is_open);
            let joins = reaches && {
                let warm = self.warm();
                self.clusters.iter().any(|cluster| cluster.is_open() && self.linked(&live, 1.0, cluster, &warm))
            };
            self.ledger.hear(place.service, (strength, joins), at);
            if let Some(live) = self.book.get_mut(flag.series).filter(|_| strength >= bar) {
                live.promoted = true;
            }
        }
    }

    /// Finds a group for every open anomaly that has none.
    fn group(&mut self, at: UnixNanos, window_ns: u64) {
        let alone: Vec<SeriesIndex> = self.book.live().filter(|live| live.cluster.is_none()).map(|live| live.series).collect();
        if alone.is_empty() {
            return;
        }
        let warm = self.warm();
        for series in alone {
            let Some(live) = self.book.get_mut(series).map(|live| live.clone()) else { continue };
            let weight = Scales { map: &self.map, pulses: &self.pulses, at, window_ns }.weigh(&live);
            let mut linked: Vec<usize> =
                (0..self.clusters.len()).filter(|index| self.linked(&live, weight, &self.clusters[*index], &warm)).collect();
            // Incidents first, then older groups.
            linked.sort_by_key(|index| (!self.clusters[*index].is_open(), *index));
            let home = match linked.first() {
                Some(index) => *index,
                None if weight > 0.0 => {
                    let tenant = live.anomaly.series.tenant.clone();
                    self.clusters.push(Cluster::new(self.next, tenant, &live));
                    self.next += 1;
                    self.clusters.len() - 1
                }
                None => continue,
            };
            self.clusters[home].join(&live, at);
            if weight >= CORE {
                self.clusters[home].joined_at = at;
            }
            let (id, incident) = (self.clusters[home].id, self.clusters[home].incident.as_ref().map(|incident| incident.id.clone()));
            if let Some(live) = self.book.get_mut(series) {
                live.cluster = Some(id);
                if live.anomaly.incident_id != incident {
                    live.anomaly.incident_id = incident;
                    live.dirty = true;
                }
            }
            // Groups that are no incident yet and turn out to hang together become one.
            let mut rest: Vec<usize> =
                linked.into_iter().skip(1).filter(|index| !self.clusters[*index].is_open() && weight > 0.0).collect();
            rest.sort_unstable();
            let home_id = self.clusters[home].id;
            for index in rest.into_iter().rev() {
                self.absorb(home_id, index, at);
            }
        }
    }

    /// A late group that names the cause of an open incident belongs to it instead of opening another.
    fn join_same_cause(&mut self, at: UnixNanos, window_ns: u64, names: &[Arc<Series>]) -> Vec<Incident> {
        let mut ended = Vec::new();
        let mut index = 0;
        while index < self.clusters.len() {
            let scales = Scales { map: &self.map, pulses: &self.pulses, at, window_ns };
            let late = &self.clusters[index];
            let is_late = self.map.are_bare(&late.services) && self.clusters.iter().any(Cluster::is_open);
            let named = if is_late { late.would_name(&self.book, scales, names) } else { None };
            let home = named.and_then(|service| {
                self.clusters
                    .iter()
                    .find(|open| {
                        open.is_open() && open.tenant == late.tenant && open.suspected(&service, late.since) && !open.is_settled(late.since)
                    })
                    .map(|open| open.id)
            });
            match home {
                Some(into) => ended.extend(self.absorb(into, index, at)),
                None => index += 1,
            }
        }
        ended
    }

    /// Moves the group at `index` into another.
    fn absorb(&mut self, into: ClusterId, index: usize, at: UnixNanos) -> Option<Incident> {
        let other = self.clusters.remove(index);
        let other_id = other.id;
        let target = self.clusters.iter_mut().find(|cluster| cluster.id == into)?;
        let ended = target.absorb(other, at);
        let incident = target.incident.as_ref().map(|incident| incident.id.clone());
        self.book.assign(other_id, into, incident.as_deref());
        ended
    }

    /// Whether an anomaly belongs to a group: near in time, and near in the graph of calls or on the
    /// same host. What harms nobody joins only incidents of its own service.
    fn linked(&self, live: &Live, weight: f64, cluster: &Cluster, warm: &[bool]) -> bool {
        if cluster.tenant != live.anomaly.series.tenant || live.anomaly.started_at.since(cluster.last_at) > JOIN_NS {
            return false;
        }
        let is_bare = || self.map.are_bare(&cluster.services) && self.map.are_bare([&live.place.service]);
        if cluster.incident.is_some() && !cluster.is_open() || weight > 0.0 && cluster.is_old_for(live) && is_bare() {
            return false;
        }
        let own = live.place.service;
        let ends = std::iter::once(own).chain(live.place.caller);
        if weight <= 0.0 {
            return cluster.is_open() && cluster.services.contains(&own);
        }
        let through = |id: ServiceId| warm.get(id as usize).copied().unwrap_or(false) || cluster.services.contains(&id);
        for end in ends {
            if cluster.services.contains(&end) {
                return true;
            }
            for up in [false, true] {
                if !self.map.reach(end, up, 4, &through).is_disjoint(&cluster.services) {
                    return true;
                }
            }
        }
        matches!(live.harm, Harm::Latency | Harm::Saturation | Harm::Hint)
            && cluster.services.iter().any(|id| self.map.share_host(*id, own))
    }

    /// Services with a harmful pulse: an effect may pass through them without their own anomaly.
    fn warm(&self) -> Vec<bool> {
        let mut warm = vec![false; self.map.len()];
        for (id, warm) in warm.iter_mut().enumerate() {
            let series = &self.map.service(id as ServiceId).series;
            *warm = series.iter().any(|index| {
                self.map.place(*index).is_some_and(|place| {
                    let passes_on = |up| matches!(super::aspect::harm(place.aspect, up), Harm::Latency | Harm::Errors | Harm::Loss);
                    // Of most series, such as gauges, nothing passes on: their pulses are not even looked at.
                    (passes_on(true) || passes_on(false)) && {
                        let pulse = self.pulses.of(*index);
                        pulse.alive() && pulse.deviation.abs() > WARM && passes_on(pulse.deviation > 0.0)
                    }
                })
            });
        }
        warm
    }

    /// Two incidents of one tenant with the same first suspect at the same time are one.
    fn merge_same_cause(&mut self, at: UnixNanos, ended: &mut Vec<Incident>) {
        let mut index = 0;
        while index < self.clusters.len() {
            let later = &self.clusters[index];
            let twin = self.clusters[..index].iter().find(|earlier| {
                earlier.is_open()
                    && later.is_open()
                    && earlier.tenant == later.tenant
                    && earlier.top_suspect() == later.top_suspect()
                    && later.since.since(earlier.last_at) <= JOIN_NS
                    && !(earlier.is_settled(later.since) && self.map.are_bare(&earlier.services))
            });
            match twin.map(|twin| twin.id) {
                Some(into) => ended.extend(self.absorb(into, index, at)),
                None => index += 1,
            }
        }
    }

    /// Newest versions of changed incidents.
    fn versions(&mut self) -> Vec<Incident> {
        let mut versions = Vec::new();
        for cluster in &mut self.clusters {
            let was_dirty = std::mem::take(&mut cluster.dirty);
            let Some(incident) = cluster.incident.as_mut().filter(|_| was_dirty) else { continue };
            incident.attributes = self.book.carriers(cluster.id);
            versions.push(incident.clone());
        }
        versions
    }

    /// Forgets groups that are over; what is still anomalous in them may start anew.
    fn sweep(&mut self, at: UnixNanos) {
        let (book, ended, visits) = (&mut self.book, &mut self.ended, &mut self.visits);
        self.clusters.retain(|cluster| {
            let over = if cluster.incident.is_some() {
                !cluster.is_open()
            } else {
                book.of_cluster(cluster.id).next().is_none() && at.since(cluster.last_at) > JOIN_NS
            };
            if over {
                if let Some((service, peak)) = cluster.visit() {
                    visits.learn(service, at, peak);
                }
                book.release(cluster.id);
                ended.extend(cluster.incident.clone());
            }
            !over
        });
        let excess = ended.len().saturating_sub(ENDED_KEPT);
        ended.drain(..excess);
    }

    /// Open incidents, oldest first.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.clusters.iter().filter(|cluster| cluster.is_open()).filter_map(|cluster| cluster.incident.as_ref())
    }

    /// Whether the detector still sees an incident: the suspect's anomalies are open, or, where it
    /// never had any, anything else of weight in the incident.
    pub fn ails(&self, incident_id: &str, service: &str, at: UnixNanos, window_ns: u64) -> bool {
        let scales = Scales { map: &self.map, pulses: &self.pulses, at, window_ns };
        let Some(cluster) = self.clusters.iter().find(|cluster| cluster.is_open() && has_id(cluster, incident_id)) else { return false };
        let of_suspect = |live: &Live| live.anomaly.series.service == service;
        let had = self.book.all_of_cluster(cluster.id).any(of_suspect);
        self.book.of_cluster(cluster.id).any(|live| scales.weigh(live) >= super::cluster::CORE && (!had || of_suspect(live)))
    }

    /// Adds an action and an event to an incident, open or lately closed; its new version.
    pub fn note(&mut self, incident_id: &str, at: UnixNanos, action_id: &str, event: (&str, String)) -> Option<Incident> {
        let open = self.clusters.iter_mut().find(|cluster| has_id(cluster, incident_id)).and_then(|cluster| cluster.incident.as_mut());
        let incident = open.or_else(|| self.ended.iter_mut().find(|incident| incident.id == incident_id))?;
        incident.timeline.push(TimelineEvent { at, event: event.0.to_owned(), detail: event.1 });
        if !action_id.is_empty() && !incident.actions.iter().any(|known| known == action_id) {
            incident.actions.push(action_id.to_owned());
        }
        Some(incident.clone())
    }

    /// Stacks have come; the anomaly's new version.
    pub fn attach(&mut self, answer: &StackAnswer) -> Option<Effect> {
        let anomaly = self.book.attach(&answer.anomaly_id, answer.stacks.as_ref()?)?;
        Some(Effect::Anomaly(Box::new(anomaly)))
    }

    /// Another model scores from now on: new flags may be our own doing.
    pub fn swapped(&mut self, at: UnixNanos, model: &ModelRef) -> Vec<Incident> {
        self.swapped_at = Some(at);
        let detail = format!("model {} {} scores from here on", model.name, model.version);
        self.clusters.iter_mut().filter(|cluster| cluster.is_open()).for_each(|cluster| cluster.note(at, "model_swapped", detail.clone()));
        self.versions()
    }
}

/// Who scored this series in this window.
fn speaker<'a>(window: &'a ScoredWindow, series: &Series) -> &'a ModelRef {
    if window.parts.is_empty() {
        return &window.model;
    }
    let row = window.features.keys.iter().position(|key| *key == series.key);
    row.map_or(&window.model, |row| window.speaker(row).0)
}
