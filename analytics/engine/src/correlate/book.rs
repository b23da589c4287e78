//! Anomalies from their first flag to their last: opens and closes each once, keeps its worst
//! window. It does not judge; `weight` does. Called by the correlator, once per flag.

use super::{
    aspect::{Harm, harm},
    map::Place,
};
use crate::{
    flag::{Flag, Phase},
    window::SeriesIndex,
};
use geophone_proto::{
    Series, UnixNanos,
    anomaly::{Anomaly, State},
    incident::Carrier,
    model::ModelRef,
    stacks::Stacks,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use xxhash_rust::xxh3::Xxh3;

/// Number of a group of anomalies; never reused.
pub type ClusterId = u64;

/// An open anomaly and what is known of it beyond what the API shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Which series.
    pub series: SeriesIndex,
    /// Where it belongs.
    pub place: Place,
    /// What the API shows.
    pub anomaly: Anomaly,
    /// Above its band (in the worst window).
    pub up: bool,
    /// What that does.
    pub harm: Harm,
    /// Deviation in the worst window, in standard deviations, without sign.
    pub z: f64,
    /// Samples of the worst window.
    pub n: f64,
    /// End of the last anomalous window.
    pub last_at: UnixNanos,
    /// Anomalous windows so far.
    pub windows: u32,
    /// Its group.
    pub cluster: Option<ClusterId>,
    /// Whether stacks have been asked for.
    pub asked: bool,
    /// Opens an incident by itself: lasting, and as rare as the budget allows.
    pub promoted: bool,
    /// Changed since it was last shown.
    pub dirty: bool,
}

/// What a flag did to an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new anomaly.
    Opened,
    /// Went on.
    Went,
    /// Over.
    Closed,
    /// A close for what was never open.
    Nothing,
}

const CLOSED_KEPT: usize = 512;
/// The worst window must be exceeded by so much before a new version is shown.
const WORSE: f64 = 1.15;
const EXEMPLARS_MAX: usize = 5;
const CARRIERS_MAX: usize = 5;

/// All open anomalies, and the latest closed ones (stacks may come late).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    live: BTreeMap<SeriesIndex, Live>,
    closed: VecDeque<Live>,
}

/// Hash of a few texts and numbers as a short id.
pub fn short_id(prefix: &str, parts: &[&[u8]]) -> String {
    let mut hash = Xxh3::with_seed(0x6765_6f70_686f_6e65);
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{prefix}{:016x}", hash.digest())
}

impl Book {
    /// Takes one flag.
    pub fn take(&mut self, flag: &Flag, series: &Series, place: Place, model: &ModelRef) -> Change {
        match (flag.phase, self.live.contains_key(&flag.series)) {
            (Phase::Closed, true) => {
                self.close(flag.series);
                Change::Closed
            }
            (Phase::Closed, false) => Change::Nothing,
            (Phase::Opened | Phase::Continues, false) => {
                self.live.insert(flag.series, open(flag, series, place, model));
                Change::Opened
            }
            (Phase::Opened | Phase::Continues, true) => {
                if let Some(live) = self.live.get_mut(&flag.series) {
                    go_on(live, flag);
                }
                Change::Went
            }
        }
    }

    /// Whether this flag will be what its anomaly shows: it opens it, or is its worst window so far.
    pub fn shows(&self, flag: &Flag) -> bool {
        flag.phase != Phase::Closed && self.live.get(&flag.series).is_none_or(|live| is_worse(live, flag))
    }

    /// Onset and opening of a series' open anomaly.
    pub fn since(&self, series: SeriesIndex) -> Option<(UnixNanos, UnixNanos)> {
        self.live.get(&series).map(|live| (live.anomaly.started_at, live.anomaly.opened_at))
    }

    /// Closes an anomaly at the end of its last anomalous window.
    pub fn close(&mut self, series: SeriesIndex) {
        if let Some(mut live) = self.live.remove(&series) {
            live.anomaly.state = State::Closed;
            live.anomaly.closed_at = Some(live.last_at);
            live.dirty = true;
            self.closed.push_back(live);
            if self.closed.len() > CLOSED_KEPT {
                self.closed.pop_front();
            }
        }
    }

    /// Series whose anomaly has had no anomalous window for `silent_ns`: nobody will close them.
    pub fn forgotten(&self, at: UnixNanos, silent_ns: u64) -> Vec<SeriesIndex> {
        self.live.values().filter(|live| at.since(live.last_at) > silent_ns).map(|live| live.series).collect()
    }

    /// Open anomalies in series order.
    pub fn live(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    /// Open anomalies of one group.
    pub fn of_cluster(&self, cluster: ClusterId) -> impl Iterator<Item = &Live> {
        self.live.values().filter(move |live| live.cluster == Some(cluster))
    }

    /// Open and lately closed anomalies of one group.
    pub fn all_of_cluster(&self, cluster: ClusterId) -> impl Iterator<Item = &Live> {
        self.closed.iter().chain(self.live.values()).filter(move |live| live.cluster == Some(cluster))
    }

    /// The open anomaly of a series.
    pub fn get_mut(&mut self, series: SeriesIndex) -> Option<&mut Live> {
        self.live.get_mut(&series)
    }

    /// The strongest attribute value of each anomaly of a group, the most telling first; one row a value.
    pub fn carriers(&self, cluster: ClusterId) -> Vec<Carrier> {
        let strongest = |live: &Live| {
            let anomaly = &live.anomaly;
            let attribute = anomaly.attributes.first().filter(|attribute| !attribute.outcome)?.clone();
            Some(Carrier { anomaly_id: anomaly.id.clone(), score: f64::from(anomaly.score), attribute })
        };
        let mut carriers: Vec<Carrier> = self.all_of_cluster(cluster).filter_map(strongest).collect();
        let fall = |carrier: &Carrier| carrier.attribute.score_without - carrier.score;
        carriers.sort_by(|a, b| fall(a).total_cmp(&fall(b)).then_with(|| a.anomaly_id.cmp(&b.anomaly_id)));
        let mut told: Vec<Carrier> = Vec::new();
        for carrier in carriers {
            let is_same =
                |other: &Carrier| (&other.attribute.key, &other.attribute.value) == (&carrier.attribute.key, &carrier.attribute.value);
            if told.len() < CARRIERS_MAX && !told.iter().any(is_same) {
                told.push(carrier);
            }
        }
        told
    }

    /// Puts anomalies of one group, open or closed, under an incident and another group number.
    pub fn assign(&mut self, from: ClusterId, to: ClusterId, incident: Option<&str>) {
        for live in self.live.values_mut().chain(self.closed.iter_mut()).filter(|live| live.cluster == Some(from)) {
            live.cluster = Some(to);
            if live.anomaly.incident_id.as_deref() != incident {
                live.anomaly.incident_id = incident.map(str::to_owned);
                live.dirty = true;
            }
        }
    }

    /// Whether the last closed anomaly of a series belongs to a group.
    pub fn owns_closed(&self, cluster: ClusterId, series: SeriesIndex) -> bool {
        self.closed.iter().rev().find(|live| live.series == series).is_some_and(|live| live.cluster == Some(cluster))
    }

    /// Lets go of a group that is over.
    pub fn release(&mut self, cluster: ClusterId) {
        self.live.values_mut().filter(|live| live.cluster == Some(cluster)).for_each(|live| live.cluster = None);
    }

    /// Attaches stacks; the anomaly's new version, if it is still known.
    pub fn attach(&mut self, anomaly_id: &str, stacks: &Stacks) -> Option<Anomaly> {
        let mut all = self.live.values_mut().chain(self.closed.iter_mut());
        let live = all.find(|live| live.anomaly.id == anomaly_id)?;
        live.anomaly.stacks = Some(stacks.clone());
        Some(live.anomaly.clone())
    }

    /// New versions since the last call, closed ones first, in a fixed order.
    pub fn versions(&mut self) -> Vec<Anomaly> {
        let mut all: Vec<&mut Live> = self.closed.iter_mut().chain(self.live.values_mut()).filter(|live| live.dirty).collect();
        all.iter_mut().for_each(|live| live.dirty = false);
        all.into_iter().map(|live| live.anomaly.clone()).collect()
    }
}

/// What a flag would open, to be weighed only.
pub fn sketch(flag: &Flag, series: &Series, place: Place, windows: u32) -> Live {
    let mut live = open(flag, series, place, &ModelRef::default());
    live.windows = windows.max(1);
    live
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn open(flag: &Flag, series: &Series, place: Place, model: &ModelRef) -> Live {
    let anomaly = Anomaly {
        id: short_id("an-", &[&series.key.0.to_le_bytes(), &flag.at.0.to_le_bytes()]),
        incident_id: None,
        series: series.clone(),
        state: State::Open,
        opened_at: flag.at,
        started_at: flag.onset.min(flag.at),
        closed_at: None,
        actual: None,
        expected: None,
        lower: None,
        upper: None,
        score: 0.0,
        evidence_count: 0,
        maturity: flag.maturity,
        raw: None,
        raw_baseline: None,
        contributions: Vec::new(),
        attributes: Vec::new(),
        model: model.clone(),
        exemplars: Vec::new(),
        stacks: None,
    };
    let mut live = Live {
        series: flag.series,
        place,
        anomaly,
        up: flag.z >= 0.0,
        harm: Harm::None,
        z: 0.0,
        n: 0.0,
        last_at: flag.at,
        windows: 0,
        cluster: None,
        asked: false,
        promoted: false,
        dirty: true,
    };
    worsen(&mut live, flag);
    live.windows = 1;
    live
}

/// Whether a window is worse than the worst so far. What opened above its band is not made worse by
/// falling below it afterwards.
fn is_worse(live: &Live, flag: &Flag) -> bool {
    let far = |actual: f64, expected: f64| (actual - expected).abs();
    let known = live.anomaly.actual.zip(live.anomaly.expected).map_or(0.0, |(actual, expected)| far(actual, expected));
    (flag.z >= 0.0) == live.up && (flag.z.abs() > live.z * WORSE || far(flag.actual, flag.expected) > known * WORSE)
}

fn go_on(live: &mut Live, flag: &Flag) {
    live.windows = live.windows.saturating_add(1);
    live.last_at = live.last_at.max(flag.at);
    if is_worse(live, flag) {
        worsen(live, flag);
        live.dirty = true;
    }
    for exemplar in &flag.exemplars {
        if live.anomaly.exemplars.len() < EXEMPLARS_MAX && !live.anomaly.exemplars.contains(exemplar) {
            live.anomaly.exemplars.push(*exemplar);
        }
    }
}

/// Takes a window's values as the worst so far.
fn worsen(live: &mut Live, flag: &Flag) {
    live.up = flag.z >= 0.0;
    live.harm = harm(live.place.aspect, live.up);
    live.z = if flag.z.is_finite() { live.z.max(flag.z.abs()) } else { live.z };
    live.n = flag.n;
    let anomaly = &mut live.anomaly;
    anomaly.actual = finite(flag.actual);
    anomaly.expected = finite(flag.expected);
    anomaly.lower = finite(flag.lower);
    anomaly.upper = finite(flag.upper);
    anomaly.score = flag.score;
    anomaly.evidence_count = flag.n.max(0.0) as u64;
    anomaly.maturity = flag.maturity;
    (anomaly.raw, anomaly.raw_baseline) = (finite(flag.raw), finite(flag.raw_baseline));
    // All of them: they add up.
    anomaly.contributions = flag.contributions.clone();
    anomaly.contributions.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    anomaly.attributes = flag.attributes.clone();
    if !flag.exemplars.is_empty() {
        anomaly.exemplars = flag.exemplars.iter().take(EXEMPLARS_MAX).copied().collect();
    }
}
