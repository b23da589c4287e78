//! An accepted request on its way to the log, and the open answer to its sender.

use super::{budget::Permit, pressure::Waiting, tally::Tally};
use geophone_proto::{Class, UnixNanos, record::Export};
use tokio::sync::oneshot;

/// An export request, decoded, whose sender waits.
#[derive(Debug)]
pub struct Arrival {
    /// When the request had been read.
    pub at: UnixNanos,
    /// The request; `decoded` is set.
    pub export: Export,
    /// The sender's open request.
    pub receipt: Receipt,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acked,
    Nacked { class: Class, message: String },
}

/// The sender's open request. Holds its share of the budget until answered; dropped, it is a nack.
#[derive(Debug)]
pub struct Receipt {
    sender: Option<oneshot::Sender<Verdict>>,
    tally: Tally,
    permit: Permit,
    _waiting: Waiting,
}

impl Receipt {
    pub(crate) fn new(tally: Tally, permit: Permit, waiting: Waiting) -> (Self, oneshot::Receiver<Verdict>) {
        let (sender, verdict) = oneshot::channel();
        (Self { sender: Some(sender), tally, permit, _waiting: waiting }, verdict)
    }

    /// Bytes of the budget that the request holds.
    pub const fn bytes(&self) -> usize {
        self.permit.bytes()
    }

    /// The request is safe: tells the sender.
    pub fn ack(mut self) {
        self.tally.acked();
        self.answer(Verdict::Acked);
    }

    /// The request is not taken: tells the sender why, and by the class whether to come again.
    pub fn nack(mut self, class: Class, message: String) {
        if class == Class::Reject {
            self.tally.dropped_all(class.as_str());
        } else {
            self.tally.refused(class.as_str());
        }
        self.answer(Verdict::Nacked { class, message });
    }

    fn answer(&mut self, verdict: Verdict) {
        if let Some(sender) = self.sender.take()
            && sender.send(verdict).is_err()
        {
            metrics::counter!("geophone_unheard_answers_total").increment(1);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.sender.is_some() {
            metrics::counter!("geophone_dropped_receipts_total").increment(1);
            self.tally.refused("receipt_dropped");
            let message = "the request was lost on its way to the log, send it again".into();
            self.answer(Verdict::Nacked { class: Class::Bug, message });
        }
    }
}
