//! Labelled cases of public data sets as OTLP, and how well `geophone replay` names their causes.
//!
//! `nezha` and `petshop` read the data sets beside the repository, `made` puts other faults into them, `otlp` writes them as files that
//! `geophone replay` reads, `judge` compares incidents with what is known. No part of the product.

pub mod judge;
pub mod made;
pub mod nezha;
pub mod otlp;
pub mod petshop;
pub mod table;

/// What is known of a case, and what the judge needs of its replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Name of the case.
    pub case: String,
    /// Group it is reported in.
    pub system: String,
    /// `service.name` that caused it.
    pub cause: String,
    /// What was done to it.
    pub fault: String,
    /// An incident that opens from here on ...
    pub from_ns: u64,
    /// ... until here is about the fault; an earlier one is a false alarm.
    pub to_ns: u64,
}

/// A case as OTLP requests in order of time.
#[derive(Clone, Debug)]
pub struct Story {
    /// What is known of it.
    pub truth: Truth,
    /// The requests.
    pub requests: Vec<otlp::Sent>,
    /// Seconds of it before the fault.
    pub quiet_s: f64,
}
