//! `score` for plain series of numbers: the live engine, each row one window.

mod entity;
#[cfg(test)]
mod tests;
mod univariate;

pub use entity::Entity;
pub use univariate::{Row, Univariate};
