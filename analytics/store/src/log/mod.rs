//! Hop 4: the log. Everything the service learns is appended here before it is acked, and read from
//! here by everybody else. The bytes are described in `format`.

mod append;
mod format;
#[cfg(test)]
mod fuzz;
mod options;
mod past;
mod reader;
mod recording;
mod recovery;
mod segment;
mod shared;
mod tail;
#[cfg(test)]
mod tests;

pub use options::{Durability, LogOptions};
pub use reader::LogReader;
pub use recording::Recording;
pub use recovery::Recovery;
pub use shared::Log;

pub(crate) use segment::{Cursor, Segment, lock};
