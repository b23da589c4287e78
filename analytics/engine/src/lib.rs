//! The brain: features, detection, correlation, decision. Pure: no IO, no async, no clock.

pub mod brain;
pub mod flag;
pub mod settings;
pub mod window;

pub use brain::Brain;
pub use settings::Settings;
