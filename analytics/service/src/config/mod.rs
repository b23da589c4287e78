//! Configuration: `Spec` (what the user wrote) -> `Config` (what is valid) -> `Plan` (the difference of two).
//!
//! One table (`fields`) says what may be set; checking, defaults, the reference page and the JSON schema
//! all come from it.

mod access;
mod build;
mod fields;
mod plan;
mod reference;
mod spec;
mod substitute;
mod units;

#[cfg(test)]
mod tests;

pub use access::{AccessConfig, Certificates};
pub use build::{Alerts, Api, Config, Detection, LogConfig, Profiler, Retention, Target};
pub use fields::{FIELDS, Field, Kind};
pub use plan::{Change, Plan};
pub use reference::{markdown, schema};
pub use spec::{Problem, Spec};
pub use substitute::expand;
pub use units::{parse_size, show_size};
