//! The brain: features, detection, correlation, decision. Pure: no IO, no async, no clock.

pub mod brain;
pub mod correlate;
pub mod decide;
pub mod detect;
pub mod features;
pub mod flag;
pub mod score;
pub mod settings;
pub mod window;

pub use brain::Brain;
pub use detect::Detector;
pub use features::feature_schema;
pub use settings::Settings;
