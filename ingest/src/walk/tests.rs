//! The walk against `prost`: same rows from the same bytes, same verdict on broken ones.

mod generate;
mod oracle;
mod profiles;
mod properties;
mod rules;
mod tables;
