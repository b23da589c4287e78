//! OTLP from the sender's side: requests as values, a client that delivers them, and a simulated
//! shop that makes realistic ones.

pub mod json;
pub mod request;
pub mod shop;

pub use request::ExportRequest;
