//! Rows left out because they break a rule: how many, why, and one to look at.

use super::check::Reason;

/// Rows left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which rule: a word fit for a metric label.
    pub reason: &'static str,
    /// How many spans, data points, log records or profiles.
    pub count: u64,
    /// How many rows: the same, but for profiles their samples.
    pub rows: u64,
    /// Name of the first such row, cut short.
    pub example: String,
}

/// Bytes of an example that are kept.
const EXAMPLE_BYTES: usize = 80;

/// Collects refused rows; few reasons exist, so a list does.
#[derive(Debug, Default)]
pub(crate) struct Refused(pub(crate) Vec<Rejected>);

impl Refused {
    /// Counts one row; `name` need not be UTF-8.
    pub(crate) fn note(&mut self, reason: Reason, name: &[u8]) {
        self.note_many(reason, name, 1);
    }

    /// Counts one profile of so many rows.
    pub(crate) fn note_many(&mut self, reason: Reason, name: &[u8], rows: usize) {
        let rows = rows as u64;
        match self.0.iter_mut().find(|rejected| rejected.reason == reason) {
            Some(rejected) => {
                rejected.count += 1;
                rejected.rows += rows;
            }
            None => {
                let name = name.get(..EXAMPLE_BYTES).unwrap_or(name);
                self.0.push(Rejected { reason, count: 1, rows, example: String::from_utf8_lossy(name).into_owned() });
            }
        }
    }
}
