//! Folded stacks as pictures and as OTLP profiles.

mod flame;
mod otlp;

pub use flame::{difference, flame_graph};
pub use otlp::otlp;
