//! Services, who calls whom, and how they are: read off the edge series and what is open.

use super::state::{Charts, State};
use geophone_proto::{SeriesKind, anomaly::State as Life, incident::Severity};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing is open.
    #[default]
    Ok,
    /// Part of an open incident.
    Affected,
    /// First suspect of an open incident.
    Suspect,
    /// First suspect of an open incident that users feel.
    Critical,
}

/// One service.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Node {
    /// `service.name`.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// Requests a second, all operations.
    pub requests_per_second: f64,
    /// Series watched.
    pub series: usize,
    /// Open incidents that it is part of.
    pub incidents: Vec<String>,
}

/// One service calls another.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edge {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// Calls a second in the newest window.
    pub calls_per_second: f64,
    /// Share of calls that fail in the newest window.
    pub error_ratio: f64,
}

/// The map.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Topology {
    /// Services by name.
    pub services: Vec<Node>,
    /// Calls by caller and callee.
    pub edges: Vec<Edge>,
}

pub(crate) fn of(state: &State, charts: &Charts) -> Topology {
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    let mut edges: BTreeMap<(&str, &str), Edge> = BTreeMap::new();
    for watched in charts.series.values() {
        let series = &*watched.series;
        let node = nodes.entry(&series.service).or_default();
        node.series += 1;
        let current = watched.ring.last().filter(|point| point.at == charts.window_end).and_then(|point| point.actual).unwrap_or(0.0);
        match series.kind {
            SeriesKind::RequestRate => node.requests_per_second += current,
            SeriesKind::EdgeRate | SeriesKind::EdgeErrorRatio => {
                let Some(caller) = series.labels.get("caller") else { continue };
                let edge = edges.entry((caller, &series.service)).or_default();
                if series.kind == SeriesKind::EdgeRate {
                    edge.calls_per_second += current;
                } else {
                    edge.error_ratio = edge.error_ratio.max(current);
                }
            }
            _ => {}
        }
    }
    for (caller, _) in edges.keys() {
        nodes.entry(caller).or_default();
    }
    for incident in state.incidents.newest_first(None).filter(|incident| incident.state == Life::Open) {
        let suspect = incident.suspects.first().map(|suspect| &*suspect.service);
        let services =
            incident.services.iter().map(|service| &**service).chain(suspect.filter(|name| !incident.services.iter().any(|s| s == name)));
        for service in services {
            let health = match (suspect == Some(service), incident.severity) {
                (true, Severity::Critical) => Health::Critical,
                (true, _) => Health::Suspect,
                (false, _) => Health::Affected,
            };
            if let Some(node) = nodes.get_mut(service) {
                node.health = node.health.max(health);
                node.incidents.push(incident.id.clone());
            }
        }
    }
    Topology {
        services: nodes.into_iter().map(|(service, node)| Node { name: service.to_owned(), ..node }).collect(),
        edges: edges
            .into_iter()
            .map(|((caller, callee), edge)| Edge { caller: caller.to_owned(), callee: callee.to_owned(), ..edge })
            .collect(),
    }
}
