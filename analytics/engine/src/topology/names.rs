//! Dense numbers for services and operations, so that the hot path compares integers.

use crate::hash::{FixedMap, of_parts};
use geophone_proto::ids::Tenant;
use serde::{Deserialize, Serialize};

/// Number of a service.
pub type ServiceIndex = u32;
/// Number of an operation: service, name and span kind.
pub type OperationIndex = u32;

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// `service.namespace`, or empty.
    pub namespace: Box<str>,
    /// `service.name`.
    pub name: Box<str>,
    /// Inferred from client spans: it sends nothing itself.
    pub inferred: bool,
    /// Newest event time it sent.
    pub clock: u64,
    /// Newest event time of its spans and logs.
    pub prompt_clock: u64,
    /// How late its spans and logs come at worst, fading.
    pub late_ns: u64,
}

impl Service {
    /// Takes the newest and the oldest time of a batch's spans or logs.
    pub fn hear(&mut self, newest_ns: u64, oldest_ns: u64, leader_ns: u64) {
        self.prompt_clock = self.prompt_clock.max(newest_ns);
        let late_ns = leader_ns.saturating_sub(oldest_ns);
        self.late_ns = if late_ns > self.late_ns { late_ns } else { self.late_ns - (self.late_ns - late_ns) / 16 };
    }

    /// Whether rows up to here may still come, judged by how late they came before.
    pub const fn is_expected(&self, until_ns: u64, leader_ns: u64) -> bool {
        self.prompt_clock > 0 && self.prompt_clock < until_ns && leader_ns < until_ns.saturating_add(self.late_ns)
    }
}

/// An operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Whose.
    pub service: ServiceIndex,
    /// `http.route`, else the span's name without ids.
    pub name: Box<str>,
    /// OTLP's span kind.
    pub kind: u8,
    /// Marks what exceeds the cap.
    pub overflow: bool,
    /// Source of its request series, once counted.
    pub requests: Option<u32>,
    /// Source of its exclusive time, once seen.
    pub exclusive: Option<u32>,
    /// Joined spans that were entries of the service, and those that were not.
    pub entries: (u32, u32),
}

/// All names. Numbers are never reused.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    services: Vec<Service>,
    service_keys: FixedMap<u128, ServiceIndex>,
    operations: Vec<Operation>,
    operation_keys: FixedMap<u128, OperationIndex>,
}

/// Key of an operation as it is spelt in a span.
pub fn operation_key(service: ServiceIndex, kind: u8, name: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(name.as_bytes(), u64::from(service) << 8 | u64::from(kind))
}

fn service_key(tenant: &Tenant, namespace: &str, name: &str) -> u128 {
    of_parts(3, [tenant.0.as_bytes(), namespace.as_bytes(), name.as_bytes()])
}

impl Names {
    /// The number of a known service.
    pub fn find(&self, tenant: &Tenant, namespace: &str, name: &str) -> Option<ServiceIndex> {
        self.service_keys.get(&service_key(tenant, namespace, name)).copied()
    }

    /// Services there are.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The number of a service, new if it must be.
    pub fn service(&mut self, tenant: &Tenant, namespace: &str, name: &str) -> ServiceIndex {
        let key = service_key(tenant, namespace, name);
        if let Some(index) = self.service_keys.get(&key) {
            return *index;
        }
        let index = u32::try_from(self.services.len()).unwrap_or(u32::MAX - 1);
        let (tenant, namespace, name) = (tenant.clone(), namespace.into(), name.into());
        self.services.push(Service { tenant, namespace, name, inferred: true, clock: 0, prompt_clock: 0, late_ns: 0 });
        self.service_keys.insert(key, index);
        index
    }

    /// The operation of this key.
    pub fn operation_of(&self, key: u128) -> Option<OperationIndex> {
        self.operation_keys.get(&key).copied()
    }

    /// Numbers an operation under this key.
    pub fn number(&mut self, key: u128, operation: Operation) -> OperationIndex {
        let index = u32::try_from(self.operations.len()).unwrap_or(u32::MAX - 1);
        self.operations.push(operation);
        self.operation_keys.insert(key, index);
        index
    }

    /// Forgets the key of an operation that expired.
    pub fn forget(&mut self, index: OperationIndex) {
        let operation = &self.operations[index as usize];
        let key = operation_key(operation.service, operation.kind, &operation.name);
        if self.operation_keys.get(&key) == Some(&index) {
            self.operation_keys.remove(&key);
        }
    }

    /// A service by number.
    pub fn get(&self, service: ServiceIndex) -> &Service {
        &self.services[service as usize]
    }

    /// A service by number.
    pub fn get_mut(&mut self, service: ServiceIndex) -> &mut Service {
        &mut self.services[service as usize]
    }

    /// An operation by number.
    pub fn operation(&self, operation: OperationIndex) -> &Operation {
        &self.operations[operation as usize]
    }

    /// An operation by number.
    pub fn operation_mut(&mut self, operation: OperationIndex) -> &mut Operation {
        &mut self.operations[operation as usize]
    }

    /// All services, in the order they were seen.
    pub fn services(&self) -> impl Iterator<Item = (ServiceIndex, &Service)> {
        (0u32..).zip(&self.services)
    }
}
