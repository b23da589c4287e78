//! Who calls whom, learned from spans: joins of parents and children, the call graph, hosts.

pub mod graph;
mod habits;
pub mod hosts;
pub mod join;
pub mod names;

pub use graph::{Call, OperationCall, Topology};
pub use hosts::{Deploy, Placed};
