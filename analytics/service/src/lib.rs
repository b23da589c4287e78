//! The roof: configuration, wiring, HTTP API and page, command line. The only crate that sees every room.

pub mod act;
pub mod alerts;
pub mod api;
pub mod commands;
pub mod config;
pub mod demo;
pub mod error;
pub mod r#gen;
mod metric_names;
pub mod models;
pub mod outgoing;
pub mod page;
pub mod replay;
pub mod stacks;
pub mod telemetry;
pub mod view;
pub mod wiring;

pub use error::ServiceError;
