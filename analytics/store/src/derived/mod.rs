//! What the brain derived: windows until they are settled, and the newest version of every series,
//! anomaly, incident and action.

mod journal;
mod versions;
mod windows;

pub(crate) use versions::{Kind, Versions, hour_of};
pub(crate) use windows::{WindowParts, WindowRow, Windows, newest};
