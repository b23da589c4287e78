//! Event time: what of a row's time can be believed, who leads, and when a window is complete.

pub mod lateness;
pub mod sender;
pub mod validity;
pub mod watermark;

pub use validity::{Flaw, span_flaw, time_flaw};
pub use watermark::Watermark;
