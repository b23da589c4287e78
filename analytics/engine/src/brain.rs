//! The whole brain as one fold: a record in, effects out. Nothing here reads a clock or does IO.

use crate::settings::Settings;
use geophone_proto::{Effect, Record, Seq, seam::Model};

/// State = fold(log).
pub struct Brain {
    settings: Settings,
    model: Box<dyn Model>,
}

impl Brain {
    /// A brain that knows nothing yet.
    pub fn new(settings: Settings, model: Box<dyn Model>) -> Self {
        Self { settings, model }
    }

    /// Takes the next record of the log. A batch must come with `decoded` set.
    pub fn step(&mut self, seq: Seq, record: &Record) -> Vec<Effect> {
        let _ = (seq, record, &self.settings, &self.model);
        Vec::new()
    }

    /// No more records will come (end of a replay): closes what the data have completed.
    pub fn finish(&mut self) -> Vec<Effect> {
        Vec::new()
    }
}
