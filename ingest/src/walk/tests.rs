//! The walk against `prost`: same rows from the same bytes, same verdict on broken ones.

mod fuzz;
pub(crate) mod generate;
mod oracle;
mod profiles;
pub(crate) mod properties;
mod rules;
mod tables;
