//! Stacks of anomalies: who is asked for them, and what is kept of the answers: folded text as it was answered, and
//! pprof made from it.

mod asked;
mod form;
mod meaning;
mod pprof;
mod sent;
mod shelf;
mod sources;
mod state;
mod whereabouts;

pub use asked::{Asked, OF_TRACE_MAX, StoredSpan, of_span, of_trace, spans};
pub use form::{Form, emptiness, report};
pub use pprof::{encode, packed};
pub use sent::Sent;
pub use shelf::{Shelf, Side};
pub use sources::{Found, Own, Sources, rank};
pub use state::frame_of;
