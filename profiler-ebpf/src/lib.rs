//! Stacks for flagged spans: samples are kept for a while for everybody, and attached only to the
//! spans that the brain flags afterwards. Not here: deciding what is flagged (the brain's work).

mod archive;
pub mod attach;
mod calls;
mod culprit;
mod error;
mod kernel;
pub mod output;
mod process;
mod profile;
mod recorder;
pub mod replay;
mod ring;
pub mod sample;
mod symbols;

pub use archive::{Archive, Subject};
pub use calls::{Bucket, Calls};
pub use error::ProfilerError;
pub use kernel::{Requirement, requirements};
pub use process::{Facts, Identity};
pub use profile::{Probe, Profile, Wish, find_service, probe, profile, survey, survey_frames};
pub use recorder::{BURST_HZ, Recorder, Recording};
pub use replay::{ReplayError, ReplaySource};
pub use sample::{Frame, Sample};
