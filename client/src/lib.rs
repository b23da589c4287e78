//! OTLP from the sender's side: requests as values, a client that delivers them, a check of servers, and
//! a simulated shop that makes realistic ones.

mod answer;
mod client;
mod config;
pub mod conformance;
mod error;
pub mod json;
mod profile_json;
mod queue;
pub mod request;
mod retry;
pub mod shop;
mod tls;
mod wire;

pub use client::{Client, Exported};
pub use config::{ClientConfig, Compression, Protocol};
pub use error::ClientError;
pub use queue::Queue;
pub use request::ExportRequest;
pub use retry::RetryPolicy;
pub use tls::Trust;
