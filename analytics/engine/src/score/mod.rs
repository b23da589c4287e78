//! `score` for plain series of numbers: many simple voices, each calibrated to how rare its word is; a rule
//! makes them one level, and a small forest learnt from labelled series moves it.

mod alarm;
mod daily;
mod daytime;
mod entity;
mod evidence;
mod fading;
mod forest;
mod novelty;
mod recurrence;
mod scale;
mod sensor;
mod tail;
#[cfg(test)]
mod tests;
mod univariate;
mod voices;

pub use entity::Entity;
pub use evidence::names as evidence_names;
pub use univariate::{Judgement, Row, Univariate};
