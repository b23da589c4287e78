//! `score` for plain series of numbers: the live engine, each row one window.

mod entity;
mod univariate;

pub use entity::Entity;
pub use univariate::{Row, Univariate};
