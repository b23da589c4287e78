//! The ground floor: every contract that two rooms share, and nothing that does work.
//!
//! Wire types (`otlp`), columns (`batch`), identities (`ids`, `series`), what the brain is told and
//! what it asks for (`record`, `effect`), and the five seams (`seam`). No IO, no clock, no threads.

pub mod action;
pub mod anomaly;
pub mod attributes;
pub mod batch;
pub mod columns;
pub mod effect;
pub mod error;
pub mod feature;
pub mod ids;
pub mod incident;
pub mod labels;
pub mod model;
pub mod record;
pub mod seam;
pub mod series;
pub mod signal;
pub mod stacks;
pub mod time;

/// OTLP's own message types (`prost`), for clients, tests and the rare paths. Never on the hot path.
pub use opentelemetry_proto::tonic as otlp;

pub use batch::{Batch, Columns};
pub use effect::Effect;
pub use error::Class;
pub use ids::{Seq, SpanId, Tenant, TraceId};
pub use labels::Labels;
pub use record::{Record, RecordBody, Transport};
pub use series::{Series, SeriesKey, SeriesKind};
pub use signal::Signal;
pub use time::UnixNanos;
