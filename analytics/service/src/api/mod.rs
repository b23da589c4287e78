//! The HTTP API: a table of routes over the read model. It holds no state of its own but open connections.

mod decide;
mod door;
mod guard;
mod lists;
mod models;
mod openapi;
mod params;
mod recording;
mod refusal;
mod rooms;
mod routes;
mod schemas;
mod service;
mod spans;
mod sql;
mod stacks;
mod stream;

#[cfg(test)]
mod tests;

pub use door::Door;
pub use openapi::document;
pub use refusal::Refusal;
pub use rooms::{Answer, QueryFn, Rooms};
pub use routes::{ROUTES, Route, router};
