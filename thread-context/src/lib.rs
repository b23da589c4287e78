//! Tells profilers which span each thread runs: the thread context of OpenTelemetry (OTEP 4947), written
//! in stable Rust without any dependency. A profiler interrupts a thread and reads its span; nothing is
//! sent, nothing is locked, and where no profiler looks it costs a few nanoseconds.
//!
//! ```
//! let ids = geophone_thread_context::Ids { trace_id: [1; 16], span_id: [2; 8], sampled: true };
//! {
//!     let _attached = geophone_thread_context::attach(ids);
//!     assert_eq!(geophone_thread_context::current(), Some(ids)); // the work of the span
//! }
//! assert_eq!(geophone_thread_context::current(), None);
//! ```
//!
//! Across `await`: [`InSpan`], or the `tracing` layer. A program that links this crate must export the
//! variable, by one line in its `build.rs`:
//!
//! ```
//! println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1");
//! ```

mod future;
#[cfg(feature = "tracing")]
mod layer;
mod process;
#[cfg(feature = "opentelemetry")]
mod processor;
mod record;
mod variable;

pub use future::InSpan;
#[cfg(feature = "tracing")]
pub use layer::ContextLayer;
pub use process::{PublishError, publish_process};
#[cfg(feature = "opentelemetry")]
pub use processor::{ContextProcessor, current_opentelemetry};
pub use record::{Attached, Ids, attach, current, replace};
