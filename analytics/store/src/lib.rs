//! The log of hop 4, its sealing to Parquet, and SQL over both. What it is for and how it fits
//! together: `README.md`. The bytes of the log: `log/format.rs`.

mod blocks;
mod catalog;
mod derived;
mod durable;
mod error;
#[cfg(test)]
mod fixture;
mod floor;
mod log;
mod options;
mod parquet;
mod retain;
mod seal;
mod settle;
mod snapshot;
mod sql;
mod store;
#[cfg(test)]
mod tests;

pub use durable::Failpoint;
pub use error::StoreError;
pub use log::{Durability, Log, LogOptions, LogReader, Recording, Recovery};
pub use options::StoreOptions;
pub use store::{RetainReport, Rows, SealReport, Store};
