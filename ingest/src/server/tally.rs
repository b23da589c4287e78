//! Books what becomes of a request and of its items, so that per signal, transport and tenant always
//! `received = acked + refused + open`, whatever happens to either.

use super::refusal::{Code, Refusal};
use crate::access::{Account, Place};
use std::sync::Arc;

/// A request between its head and its answer. Dropped without one, it counts as refused because the
/// sender went away.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) account: Arc<Account>,
    pub(crate) place: Place,
    is_open: bool,
}

impl Guest {
    /// Counts a request as received.
    pub(crate) fn received(account: Arc<Account>, place: Place) -> Self {
        account.line(place).request();
        Self { account, place, is_open: true }
    }

    /// It was answered with success.
    pub(crate) fn acked(mut self) {
        self.is_open = false;
        self.account.line(self.place).request_acked();
    }

    /// It was refused.
    pub(crate) fn refused(mut self, refusal: &Refusal) {
        tracing::debug!(reason = refusal.reason, message = refusal.message, "request refused");
        let is_final = refusal.retry_after.is_none() && refusal.code != Code::DeadlineExceeded;
        self.is_open = false;
        self.account.line(self.place).request_refused(refusal.reason, is_final);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_open {
            self.account.line(self.place).request_refused("sender_gone", false);
        }
    }
}

/// Items of one request between arrival and verdict. Dropped without one, they count as refused
/// because the sender went away.
#[derive(Debug)]
pub(crate) struct Tally {
    account: Arc<Account>,
    place: Place,
    open: u64,
}

impl Tally {
    /// Counts items as received.
    pub(crate) fn received(guest: &Guest, items: u64) -> Self {
        guest.account.line(guest.place).items(items);
        Self { account: Arc::clone(&guest.account), place: guest.place, open: items }
    }

    /// Counts all open items as acknowledged.
    pub(crate) fn acked(&mut self) {
        self.account.line(self.place).items_acked(std::mem::take(&mut self.open));
    }

    /// Counts all open items as refused; the sender will send them again.
    pub(crate) fn refused(&mut self, reason: &'static str) {
        self.account.line(self.place).items_refused(std::mem::take(&mut self.open), reason, false);
    }

    /// Counts `items` of the open ones as refused for good.
    pub(crate) fn dropped(&mut self, reason: &'static str, items: u64) {
        let items = items.min(self.open);
        self.open -= items;
        self.account.line(self.place).items_refused(items, reason, true);
    }

    /// Counts all open items as refused for good.
    pub(crate) fn dropped_all(&mut self, reason: &'static str) {
        self.dropped(reason, self.open);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.open > 0 {
            self.refused("sender_gone");
        }
    }
}
