//! The read model: the newest version of everything that the API, the page and the command line show.
//!
//! Fed by effects, bounded, rebuilt after a restart from the store and the brain's replay. It decides nothing.

mod keep;
mod ring;
mod state;
mod topology;

#[cfg(test)]
mod tests;

pub use keep::Limits;
pub(crate) use keep::Place;
pub use ring::Ring;
pub use state::{Event, Page, SeriesSeen, View};
pub use topology::{Edge, Health, Node, Topology};
