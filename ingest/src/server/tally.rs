//! Counts items so that, per signal, transport and tenant, always
//! `received = acked + refused + open`, whatever happens to a request.

use geophone_proto::{Signal, Tenant, Transport};
use metrics::Label;

/// Items of one request between arrival and verdict. Dropped without one, they count as refused
/// because the sender went away.
#[derive(Debug)]
pub(crate) struct Tally {
    labels: Vec<Label>,
    open: u64,
}

impl Tally {
    /// Counts items as received.
    pub(crate) fn received(signal: Signal, transport: Transport, tenant: &Tenant, items: u64) -> Self {
        let labels = vec![
            Label::new("signal", signal.as_str()),
            Label::new("transport", transport.as_str()),
            Label::new("tenant", metrics::SharedString::from(tenant.0.to_string())),
        ];
        metrics::counter!("geophone_received_items_total", labels.iter()).increment(items);
        metrics::gauge!("geophone_open_items", labels.iter()).increment(as_f64(items));
        Self { labels, open: items }
    }

    /// Counts all open items as acknowledged.
    pub(crate) fn acked(&mut self) {
        let items = self.close(self.open);
        metrics::counter!("geophone_acked_items_total", self.labels.iter()).increment(items);
    }

    /// Counts all open items as refused; the sender will send them again.
    pub(crate) fn refused(&mut self, reason: &'static str) {
        let items = self.open;
        self.refuse("geophone_refused_items_total", reason, items);
        self.close(items);
    }

    /// Counts `items` of the open ones as refused for good.
    pub(crate) fn dropped(&mut self, reason: &'static str, items: u64) {
        let items = self.close(items);
        self.refuse("geophone_refused_items_total", reason, items);
        self.refuse("geophone_dropped_items_total", reason, items);
    }

    /// Counts all open items as refused for good.
    pub(crate) fn dropped_all(&mut self, reason: &'static str) {
        self.dropped(reason, self.open);
    }

    fn refuse(&self, name: &'static str, reason: &'static str, items: u64) {
        if items > 0 {
            let mut labels = self.labels.clone();
            labels.push(Label::new("reason", reason));
            metrics::counter!(name, labels).increment(items);
        }
    }

    fn close(&mut self, items: u64) -> u64 {
        let items = items.min(self.open);
        self.open -= items;
        metrics::gauge!("geophone_open_items", self.labels.iter()).decrement(as_f64(items));
        items
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.open > 0 {
            self.refused("sender_gone");
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are f64")]
fn as_f64(items: u64) -> f64 {
    items as f64
}
