//! What resources tell beside their name: on which machine a service runs, and in which version.

use crate::hash::FixedMap;
use geophone_proto::{attributes, ids::Tenant, otlp::common::v1::any_value::Value, time::UnixNanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hosts and services kept at most.
const PLACES_MAX: usize = 50_000;
/// Placements that were not seen for so long are over.
const PLACE_NS: u64 = 3_600_000_000_000;

const REREAD_NS: u64 = 600_000_000_000;

/// A service was seen in another version: a mark in time that explains changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// `service.name`.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// The version before.
    pub previous: String,
    /// First row of the new version (event time).
    pub at: UnixNanos,
}

/// A service was seen on a machine for the first time (in the last hour).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// `service.name`.
    pub service: String,
    /// `host.name`, else the Kubernetes node.
    pub host: String,
}

/// Places and versions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hosts {
    /// When a service was last seen on a host.
    places: BTreeMap<(String, u32), u64>,
    /// Newest versions of a service, oldest first, at most a handful.
    versions: BTreeMap<u32, Vec<String>>,
    deploys: Vec<Deploy>,
    fresh_deploys: Vec<Deploy>,
    fresh_places: Vec<Placed>,
    /// When each sender's attributes were last read.
    read: FixedMap<u64, u64>,
}

/// The machine that a resource's attributes name: `host.name`, else the Kubernetes node.
pub fn host_of(cell: &[u8]) -> Option<String> {
    let pairs = attributes::decode(cell);
    ["host.name", "k8s.node.name", "host.id"].iter().find_map(|wanted| {
        let value = pairs.iter().rev().find(|pair| pair.key == *wanted)?.value.as_ref()?.value.as_ref()?;
        match value {
            Value::StringValue(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    })
}

impl Hosts {
    /// Whether a sender's attributes should be read: they have not been for ten minutes.
    pub fn wants(&mut self, sender: u64, at_ns: u64) -> bool {
        let read = self.read.get(&sender).copied();
        if read.is_some_and(|read| at_ns.saturating_sub(read) < REREAD_NS) || read.is_none() && self.read.len() >= PLACES_MAX {
            return false;
        }
        self.read.insert(sender, at_ns);
        true
    }

    /// A service sends from this host.
    pub fn place(&mut self, host: &str, service: u32, name: (&Tenant, &str), at_ns: u64) {
        if let Some(seen) = self.places.get_mut(&(host.to_owned(), service)) {
            *seen = at_ns.max(*seen);
        } else if self.places.len() < PLACES_MAX {
            self.places.insert((host.to_owned(), service), at_ns);
            self.fresh_places.push(Placed { tenant: name.0.clone(), service: name.1.to_owned(), host: host.to_owned() });
        }
    }

    /// Placements seen for the first time since the last call.
    pub fn take_places(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.fresh_places)
    }

    /// Deploys since the last call.
    pub fn take_deploys(&mut self) -> Vec<Deploy> {
        std::mem::take(&mut self.fresh_deploys)
    }

    /// A service sends in this version.
    pub fn version(&mut self, service: u32, name: (&Tenant, &str), version: &str, at_ns: u64) {
        let known = self.versions.entry(service).or_default();
        if version.is_empty() || known.iter().any(|seen| seen == version) {
            return;
        }
        if let Some(previous) = known.last().cloned() {
            let (tenant, service, version) = (name.0.clone(), name.1.to_owned(), version.to_owned());
            let deploy = Deploy { tenant, service, version, previous, at: UnixNanos(at_ns) };
            self.fresh_deploys.push(deploy.clone());
            self.deploys.push(deploy);
            if self.deploys.len() > 1000 {
                self.deploys.remove(0);
            }
        }
        if known.len() >= 8 {
            known.remove(0);
        }
        known.push(version.to_owned());
    }

    /// Forgets placements not seen for an hour.
    pub fn forget(&mut self, now_ns: u64) {
        self.places.retain(|_, seen| now_ns.saturating_sub(*seen) <= PLACE_NS);
        self.read.retain(|_, read| now_ns.saturating_sub(*read) <= PLACE_NS);
    }

    /// Hosts of a service, sorted.
    pub fn hosts_of(&self, service: u32) -> Vec<&str> {
        self.places.keys().filter(|place| place.1 == service).map(|place| place.0.as_str()).collect()
    }

    /// Services on a host.
    pub fn services_on(&self, host: &str) -> Vec<u32> {
        let range = self.places.range((host.to_owned(), 0)..=(host.to_owned(), u32::MAX));
        range.map(|(place, _)| place.1).collect()
    }

    /// Marks in time, oldest first.
    pub fn deploys(&self) -> &[Deploy] {
        &self.deploys
    }
}
