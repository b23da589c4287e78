//! A group of anomalies that belong together, before and while it is an incident. Opens once, closes
//! once, and writes down every change. Called by the correlator, once per window.

use super::{
    aspect::Harm,
    book::{Book, ClusterId, Live, short_id},
    map::ServiceId,
    phrase,
    suspects::{self, Looks, Scene},
    verdict,
    visits::Visits,
    weight::{BUDGET, Scales, ramp},
};
use crate::window::SeriesIndex;
use geophone_proto::{
    Series, Tenant, UnixNanos,
    anomaly::{Maturity, State},
    incident::{Incident, Severity, TimelineEvent},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Members that weigh at least this keep an incident open and date it.
pub const CORE: f64 = 0.15;
/// An incident is over after so long without an anomalous window, if its anomalies are closed ...
const CALM_NS: u64 = 60_000_000_000;
/// ... and after so long in any case.
const SILENT_NS: u64 = 150_000_000_000;
/// What opens so long after an incident may be of another fault: it must name the same cause to belong.
const LATE_NS: u64 = 90_000_000_000;
/// What stands out is taken to stand since before an onset that is at most so long ago.
const STANDING_NS: u64 = 60_000_000_000;
/// An incident that nothing of weight joins for so long is a standing state: what begins then is another.
const SETTLED_NS: u64 = 300_000_000_000;
/// Suspects that an incident has in view.
const LIKELY: usize = 2;
/// Evidence from which on an incident is beyond doubt, and no false alarm to count.
const FIRM: f64 = 2.0;
/// A confidence must move by this for a new version.
const MOVED: f64 = 0.05;

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its number.
    pub id: ClusterId,
    /// Whose.
    pub tenant: Tenant,
    /// Services with a member in it.
    pub services: BTreeSet<ServiceId>,
    /// Earliest onset of a member.
    pub since: UnixNanos,
    /// End of the last window with a member that weighs.
    pub last_at: UnixNanos,
    /// What the API shows, once it is an incident.
    pub incident: Option<Incident>,
    /// When a member of weight joined last.
    pub joined_at: UnixNanos,
    /// When each service was first among the likelier suspects.
    named: BTreeMap<String, UnixNanos>,
    /// Sum of looks at the suspects.
    looks: Looks,
    /// What stood out before it opened, by series.
    standing: BTreeMap<SeriesIndex, f64>,
    /// Most evidence there has been in one window: what is said is said of that.
    peak: f64,
    /// Whether anything of weight in it spoke of harm: requests or their durations, not only of what a service needs.
    is_harmful: bool,
    /// Whether it has been paid back to the budget.
    pub confirmed: bool,
    /// Changed since it was last shown.
    pub dirty: bool,
}

/// What stood out before an onset, by series; nothing where the onset is so long ago that what stands out
/// now is its own doing, and where kinds are set: those series are told from noise by their law.
fn standing_before(scales: Scales<'_>, services: &BTreeSet<ServiceId>, since: UnixNanos) -> BTreeMap<SeriesIndex, f64> {
    let is_young = scales.at.since(since) <= STANDING_NS;
    if is_young && scales.map.are_bare(services) { scales.pulses.standing() } else { BTreeMap::new() }
}

impl Cluster {
    /// A group of one.
    pub fn new(id: ClusterId, tenant: Tenant, first: &Live) -> Self {
        Self {
            id,
            tenant,
            services: BTreeSet::new(),
            since: first.anomaly.started_at,
            last_at: first.last_at,
            incident: None,
            joined_at: first.last_at,
            named: BTreeMap::new(),
            looks: Looks::default(),
            standing: BTreeMap::new(),
            peak: 0.0,
            is_harmful: false,
            confirmed: false,
            dirty: false,
        }
    }

    /// Whether it is an incident that is not over.
    pub fn is_open(&self) -> bool {
        self.incident.as_ref().is_some_and(|incident| incident.state == State::Open)
    }

    /// Whether it is an incident beyond doubt.
    pub fn is_firm(&self) -> bool {
        self.incident.is_some() && self.peak >= FIRM
    }

    /// The first suspect's service.
    pub fn top_suspect(&self) -> Option<&str> {
        self.incident.as_ref()?.suspects.first().map(|suspect| suspect.service.as_str())
    }

    /// Whom a group that is about to open would name first; `None` if it is not about to.
    pub fn would_name(&self, book: &Book, scales: Scales<'_>, names: &[Arc<Series>]) -> Option<String> {
        let members: Vec<&Live> = book.of_cluster(self.id).collect();
        if self.incident.is_some() || scales.evidence(members.iter().copied()) < BUDGET {
            return None;
        }
        let standing = standing_before(scales, &self.services, self.since);
        let scene = Scene { scales, names, since: self.since, standing: &standing };
        let accounts = Looks::default().add(&scene, &members, 1.0);
        suspects::rank(&scene, &accounts, &members).into_iter().next().map(|suspect| suspect.service)
    }

    /// Whether an anomaly comes so late that it may be of another fault.
    pub fn is_old_for(&self, live: &Live) -> bool {
        let opened = self.incident.as_ref().filter(|_| self.is_open()).map(|incident| incident.opened_at);
        opened.is_some_and(|opened| live.anomaly.opened_at.since(opened) > LATE_NS && live.anomaly.started_at > opened)
    }

    /// Whether the incident names this service first, and had it in view before this. A second suspect may well be the
    /// first of another fault.
    pub fn suspected(&self, service: &str, before: UnixNanos) -> bool {
        self.top_suspect() == Some(service) && self.named.get(service).is_some_and(|at| *at < before)
    }

    /// Whether nothing of weight has joined for so long that it was a standing state by then.
    pub fn is_settled(&self, by: UnixNanos) -> bool {
        by.since(self.joined_at) > SETTLED_NS
    }

    /// Takes note of a member.
    pub fn join(&mut self, live: &Live, at: UnixNanos) {
        self.services.insert(live.place.service);
        if self.incident.is_none() {
            self.since = self.since.min(live.anomaly.started_at);
        }
        let detail = format!("{} {}", live.anomaly.series.service, phrase::deviation(live));
        if self.incident.is_some() {
            self.note(at, "anomaly_opened", detail);
        }
    }

    /// Writes an event.
    pub fn note(&mut self, at: UnixNanos, event: &str, detail: String) {
        if let Some(incident) = &mut self.incident {
            incident.timeline.push(TimelineEvent { at, event: event.to_owned(), detail });
            self.dirty = true;
        }
    }

    /// One window later: opens, re-ranks, closes.
    pub fn step(&mut self, book: &Book, scales: Scales<'_>, (names, visits): (&[Arc<Series>], &Visits)) {
        let members: Vec<&Live> = book.of_cluster(self.id).collect();
        let weighed: Vec<(&Live, f64)> = members.iter().map(|live| (*live, scales.weigh(live))).collect();
        let core = || weighed.iter().filter(|(_, weight)| *weight >= CORE);
        self.last_at = core().map(|(live, _)| live.last_at).max().unwrap_or(self.last_at).max(self.last_at);
        let calm = scales.at.since(self.last_at);
        self.is_harmful |= core().any(|(live, _)| matches!(live.harm, Harm::Latency | Harm::Errors | Harm::Loss));
        if self.incident.is_none() {
            let evidence = scales.evidence(members.iter().copied());
            if evidence < BUDGET || calm > 2 * scales.window_ns {
                return;
            }
            if self.only_service().is_some_and(|service| visits.is_familiar(service, scales.at, evidence)) {
                self.peak = self.peak.max(evidence);
                return;
            }
            // The typical onset: a single estimate may be far off.
            let mut onsets: Vec<UnixNanos> = core().map(|(live, _)| live.anomaly.started_at).collect();
            onsets.sort_unstable();
            self.since = onsets.get((onsets.len().max(1) - 1) / 2).copied().unwrap_or(self.since);
            self.standing = standing_before(scales, &self.services, self.since);
        } else if !self.is_open() {
            return;
        }
        let standing = std::mem::take(&mut self.standing);
        let scene = Scene { scales, names, since: self.since, standing: &standing };
        if calm <= scales.window_ns {
            self.look(&scene, book, &members);
        }
        self.standing = standing;
        if self.is_open() && (core().next().is_none() && calm >= CALM_NS || calm >= SILENT_NS) {
            self.close(scales.at);
        }
    }

    /// The one service that it is about, if it does no harm.
    fn only_service(&self) -> Option<ServiceId> {
        self.services.first().copied().filter(|_| self.services.len() == 1 && !self.is_harmful)
    }

    /// Whom it has visited without harm, and how much it said; for when it is over.
    pub fn visit(&self) -> Option<(ServiceId, f64)> {
        self.only_service().filter(|_| self.peak >= BUDGET).map(|service| (service, self.peak))
    }

    /// Looks at the suspects again and renews what is said.
    fn look(&mut self, scene: &Scene<'_>, book: &Book, members: &[&Live]) {
        let evidence = scene.scales.evidence(members.iter().copied());
        let force = if self.peak > 0.0 { ramp(evidence / self.peak, 0.3, 0.8) } else { 1.0 };
        let accounts = self.looks.add(scene, members, force);
        let ranked = suspects::rank(scene, &accounts, members);
        let all: Vec<&Live> = book.all_of_cluster(self.id).collect();
        for suspect in ranked.iter().take(LIKELY) {
            self.named.entry(suspect.service.clone()).or_insert(scene.scales.at);
        }
        let Some(mut said) = verdict::verdict(scene, members, &ranked) else { return };
        let is_weak = scene.scales.sum(members.iter().copied()) < BUDGET;
        if is_weak && self.peak <= BUDGET {
            said.severity = said.severity.min(Severity::Warning);
        }
        let at = scene.scales.at;
        self.peak = self.peak.max(evidence);
        let opening = self.incident.is_none();
        let tenant = self.tenant.clone();
        let first = all.iter().min_by_key(|live| (live.anomaly.opened_at, live.anomaly.id.clone())).map_or("", |live| &live.anomaly.id);
        let id = short_id("in-", &[first.as_bytes()]);
        let incident = self.incident.get_or_insert_with(|| begun((id, tenant), (scene.since, at), said.severity));
        let mut events: Vec<(&str, String)> = Vec::new();
        if opening {
            events.push(("opened", said.sentence.clone()));
            if is_weak {
                events.push(("within_budget", "a weak but lasting sign, as rare as the promised false alarms".to_owned()));
            }
            events.extend(
                members.iter().map(|live| ("anomaly_opened", format!("{} {}", live.anomaly.series.service, phrase::deviation(live)))),
            );
        }
        let firsts = |list: &[geophone_proto::incident::Suspect]| list.first().map(|suspect| suspect.service.clone());
        if !opening && firsts(&incident.suspects) != firsts(&ranked) {
            let named = ranked.first().map(|suspect| format!("{} at {:.2}", suspect.service, suspect.confidence)).unwrap_or_default();
            events.push(("suspects_changed", format!("first suspect is now {named}")));
        }
        let moved = incident.suspects.len() != ranked.len()
            || incident
                .suspects
                .iter()
                .zip(&ranked)
                .any(|(old, new)| old.service != new.service || (old.confidence - new.confidence).abs() > MOVED);
        let severity = incident.severity.max(said.severity);
        if severity != incident.severity {
            events.push(("severity_changed", format!("{} -> {}", incident.severity.as_str(), severity.as_str())));
            incident.severity = severity;
        }
        let known: BTreeSet<String> = incident.anomalies.iter().cloned().collect();
        let mut fresh: Vec<&Live> = all.into_iter().filter(|live| !known.contains(&live.anomaly.id)).collect();
        fresh.sort_by_key(|live| (live.anomaly.opened_at, live.series));
        let grown = !fresh.is_empty();
        incident.anomalies.extend(fresh.into_iter().map(|live| live.anomaly.id.clone()));
        let stands_on = members.iter().filter(|live| scene.scales.weigh(live) >= CORE).map(|live| live.anomaly.maturity).min();
        incident.maturity = stands_on.unwrap_or(incident.maturity);
        if moved || grown || !events.is_empty() {
            incident.suspects = ranked;
            if evidence >= 0.8 * self.peak {
                incident.title = said.title;
                incident.verdict = said.sentence;
            }
            incident.services = self.services.iter().map(|id| scene.scales.map.service(*id).name.clone()).collect();
            incident.services.sort();
            self.dirty = true;
        }
        events.into_iter().for_each(|(event, detail)| self.note(at, event, detail));
    }

    /// Ends the incident at its last anomalous window.
    pub fn close(&mut self, at: UnixNanos) {
        if let Some(incident) = &mut self.incident {
            incident.state = State::Closed;
            incident.closed_at = Some(self.last_at.max(incident.opened_at));
        }
        let calm = at.since(self.last_at) / 1_000_000_000;
        self.note(at, "closed", format!("no anomalous window for {calm} s"));
    }

    /// Takes over another group that shows the same cause; the other ends as an incident, if it was one.
    pub fn absorb(&mut self, mut other: Self, at: UnixNanos) -> Option<Incident> {
        self.services.extend(&other.services);
        self.since = self.since.min(other.since);
        self.last_at = self.last_at.max(other.last_at);
        self.looks.absorb(std::mem::take(&mut other.looks));
        if let (Some(into), true) = (self.incident.as_ref().map(|incident| incident.id.clone()), other.is_open()) {
            let from = other.incident.as_ref().map(|incident| incident.id.clone()).unwrap_or_default();
            if let Some(incident) = &mut other.incident {
                incident.state = State::Closed;
                incident.closed_at = Some(other.last_at.max(incident.opened_at));
            }
            other.note(at, "closed", format!("same cause as {into}, merged into it"));
            self.note(at, "merged", format!("took over {from}: same cause"));
        }
        self.incident.as_ref()?;
        other.incident
    }
}

/// An incident of which nothing is said yet. `times` = estimated onset, and when it opens.
fn begun((id, tenant): (String, Tenant), times: (UnixNanos, UnixNanos), severity: Severity) -> Incident {
    Incident {
        id,
        tenant,
        state: State::Open,
        started_at: times.0,
        opened_at: times.1,
        closed_at: None,
        severity,
        title: String::new(),
        verdict: String::new(),
        suspects: Vec::new(),
        anomalies: Vec::new(),
        actions: Vec::new(),
        services: Vec::new(),
        attributes: Vec::new(),
        maturity: Maturity::Learning,
        timeline: Vec::new(),
    }
}
