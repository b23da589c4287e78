//! The brain: features, detection, correlation, decision. Pure: no IO, no async, no clock.

pub mod brain;
pub mod budget;
pub mod cardinality;
pub mod correlate;
pub mod decide;
pub mod detect;
pub mod error;
pub mod features;
#[cfg(test)]
mod fixture;
pub mod flag;
pub mod hash;
mod line_up;
pub mod observe;
pub mod score;
pub mod settings;
pub mod time;
pub mod topology;
pub mod why;
pub mod window;

pub use brain::Brain;
pub use detect::{Detector, TrialBounds};
pub use error::EngineError;
pub use features::feature_schema;
pub use settings::Settings;
