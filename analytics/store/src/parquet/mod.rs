//! Columns as Parquet holds them and SQL shows them, and the files they are written to.

mod cells;
mod derived;
mod json_text;
mod press;
mod scored;
mod sealer;
mod tables;
mod writer;

pub(crate) use cells::Part;
pub(crate) use derived::{Derived, action_frame, anomaly_frame, incident_frame};
pub(crate) use json_text::attribute_of;
pub(crate) use scored::FrameRow;
pub(crate) use sealer::{Sealer, hour_name};
pub(crate) use tables::{Telemetry, Type};
pub(crate) use writer::{FilePlan, FileWriter};
