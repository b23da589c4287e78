//! The rest: the one set of series, marked `overflow`, that stands for whatever a tenant has no room for.
//!
//! It belongs to the service `(other)` of the tenant, and there is one for requests, one for calls and
//! one for log records. Values of different metrics have no sum: there is none for them. Used by the
//! intakes of spans and logs.

use crate::topology::names::{Names, Operation, OperationIndex, ServiceIndex, operation_key};

/// Name of what is folded. No span can be spelt like this: the name of a real one is cut before.
pub const OTHER: &str = "(other)";

/// The service that the rest of this service's tenant belongs to.
pub fn service(names: &mut Names, of: ServiceIndex) -> ServiceIndex {
    let tenant = names.get(of).tenant.clone();
    names.service(&tenant, "", OTHER)
}

/// The operation that the requests of this service's tenant are folded into.
pub fn operation(names: &mut Names, of: ServiceIndex) -> OperationIndex {
    let service = service(names, of);
    overflow(names, service, 0)
}

/// A service's marked operation of this kind, which stands for all that exceed a cap.
pub fn overflow(names: &mut Names, service: ServiceIndex, kind: u8) -> OperationIndex {
    let key = operation_key(service, kind, OTHER);
    let make = || Operation { service, name: OTHER.into(), kind, overflow: true, requests: None, exclusive: None, entries: (0, 0) };
    names.operation_of(key).unwrap_or_else(|| names.number(key, make()))
}

/// Whether an operation is its tenant's rest.
pub fn is_rest(names: &Names, operation: &Operation) -> bool {
    let service = names.get(operation.service);
    operation.overflow && operation.kind == 0 && &*service.name == OTHER && service.namespace.is_empty()
}
