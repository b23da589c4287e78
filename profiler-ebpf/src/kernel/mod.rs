//! The kernel's side: programs loaded and attached, events as they come out of the ring buffer, and what
//! this machine must have for it.

mod programs;
mod requirements;
mod types;
mod wire;

pub use programs::{Options, Programs};
pub use requirements::{Requirement, requirements};
pub use wire::{Event, Kind, Watch, flag, watch};
