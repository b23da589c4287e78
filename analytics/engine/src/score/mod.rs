//! `score` for plain series of numbers: many simple voices, each calibrated to how rare its word is.

mod alarm;
mod entity;
mod fading;
mod recurrence;
mod scale;
mod sensor;
mod tail;
#[cfg(test)]
mod tests;
mod univariate;
mod voices;

pub use entity::Entity;
pub use univariate::{Row, Univariate};
