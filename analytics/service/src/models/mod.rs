//! Models as files and as citizens: the registry below the data directory, the check of a folder in a
//! child process, the guard around a model that is not ours, and how the API shows them. Which model
//! scores is no business of this room: that is a fold of the log.

mod guarded;
mod load;
mod registry;
mod shown;
mod stopwatch;
#[cfg(test)]
mod tests;
mod trial_run;
mod upload;

pub use load::{find_checked, load_checked, start};
pub use registry::{Known, Registry};
pub use shown::{ModelShown, find_shown, meant, shown, state_of};
pub use stopwatch::{Latency, Stopwatch};
pub use trial_run::{in_child, in_process};
pub use upload::{ModelFiles, UPLOAD_BYTES_MAX};
