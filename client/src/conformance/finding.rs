//! What came of one rule on one transport, and the judge's notebook that leads to it.

use super::{call::Speech, lab::Exchange};
use serde::Serialize;

/// How a rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is kept.
    Pass,
    /// It is broken.
    Fail,
    /// It could not be put to the server.
    Skipped,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its number, such as `OTLP-04`.
    pub rule: &'static str,
    /// `grpc` or `http`.
    pub transport: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was sent and got, or why nothing was.
    pub detail: String,
    /// The rule in a few words.
    pub about: &'static str,
}

/// Exchanges shown in the detail of one finding.
const SHOWN_MAX: usize = 3;

/// Notes of one rule.
#[derive(Debug, Default)]
pub(crate) struct Review {
    right: Vec<String>,
    wrong: Vec<String>,
    remarks: Vec<String>,
    why_skipped: Option<String>,
}

impl Review {
    /// Notes an exchange as right or wrong; `want` says what the rule asks for.
    pub(crate) fn expect(&mut self, exchange: &Exchange, is_right: bool, want: &str) {
        let shown = exchange.shown();
        if is_right {
            self.right.push(shown);
        } else {
            self.wrong.push(format!("{shown}; expected {want}"));
        }
    }

    /// Adds a remark that decides nothing.
    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// What to say if nothing could be judged.
    pub(crate) fn skip(&mut self, why: impl Into<String>) {
        self.why_skipped.get_or_insert(why.into());
    }

    /// Says that a way of writing requests was left out because the server does not understand it.
    pub(crate) fn left_out(&mut self, speech: Speech) {
        self.remark(format!("{} left out: the endpoint does not take it", speech.name()));
    }

    /// The outcome and its detail.
    pub(crate) fn finish(self) -> (Outcome, String) {
        let (outcome, mut parts) = if !self.wrong.is_empty() {
            (Outcome::Fail, listed(self.wrong))
        } else if self.right.is_empty() {
            (Outcome::Skipped, vec![self.why_skipped.unwrap_or_else(|| "nothing could be sent".into())])
        } else {
            (Outcome::Pass, listed(self.right))
        };
        parts.extend(self.remarks);
        (outcome, parts.join("; "))
    }
}

fn listed(mut parts: Vec<String>) -> Vec<String> {
    let more = parts.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        parts.truncate(SHOWN_MAX);
        parts.push(format!("and {more} more alike"));
    }
    parts
}
