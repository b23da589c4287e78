//! What became of requests and their items, so that at every moment
//! `received = acked + refused + open`, for both.
//!
//! Each change is one step under a lock, and a reader sees a line whole; so the sum holds in what
//! `/metrics` shows while requests come in, not only when all is quiet.

use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Items or requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Came in.
    pub received: u64,
    /// Are in the log.
    pub acked: u64,
    /// Were not taken.
    pub refused: u64,
    /// Of the refused, those that will not come again.
    pub dropped: u64,
    /// Neither yet.
    pub open: u64,
}

/// One line: a signal over a transport of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Spans, data points, log records or samples.
    pub items: Sums,
    /// Requests.
    pub requests: Sums,
    /// Bytes as sent.
    pub packed_bytes: u64,
    /// The same unpacked.
    pub bytes: u64,
    /// Refused items by reason.
    pub refused_items: Vec<(&'static str, u64)>,
    /// Dropped items by reason.
    pub dropped_items: Vec<(&'static str, u64)>,
    /// Refused requests by reason.
    pub refused_requests: Vec<(&'static str, u64)>,
}

/// A line and what of it has been published.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Entry>);

#[derive(Debug, Default)]
struct Entry {
    now: Counts,
    published: Counts,
}

/// Reasons are few: a list does.
fn add(list: &mut Vec<(&'static str, u64)>, reason: &'static str, by: u64) {
    match list.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, count)) => *count += by,
        None => list.push((reason, by)),
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Entry> {
        // Each change below is whole before the lock is given back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self) {
        let now = &mut self.lock().now;
        now.requests.received += 1;
        now.requests.open += 1;
    }

    pub(crate) fn request_acked(&self) {
        let now = &mut self.lock().now;
        now.requests.open -= 1;
        now.requests.acked += 1;
    }

    pub(crate) fn request_refused(&self, reason: &'static str, is_final: bool) {
        let now = &mut self.lock().now;
        now.requests.open -= 1;
        now.requests.refused += 1;
        now.requests.dropped += u64::from(is_final);
        add(&mut now.refused_requests, reason, 1);
    }

    pub(crate) fn unpacked(&self, packed: usize, unpacked: usize) {
        let now = &mut self.lock().now;
        now.packed_bytes += packed as u64;
        now.bytes += unpacked as u64;
    }

    pub(crate) fn items(&self, count: u64) {
        let now = &mut self.lock().now;
        now.items.received += count;
        now.items.open += count;
    }

    pub(crate) fn items_acked(&self, count: u64) {
        let now = &mut self.lock().now;
        now.items.open -= count;
        now.items.acked += count;
    }

    pub(crate) fn items_refused(&self, count: u64, reason: &'static str, is_final: bool) {
        if count == 0 {
            return;
        }
        let now = &mut self.lock().now;
        now.items.open -= count;
        now.items.refused += count;
        add(&mut now.refused_items, reason, count);
        if is_final {
            now.items.dropped += count;
            add(&mut now.dropped_items, reason, count);
        }
    }

    /// All of it at one moment.
    pub(crate) fn read(&self) -> Counts {
        self.lock().now.clone()
    }

    /// Hands on what has changed since the last time.
    pub(crate) fn publish(&self, labels: &[(&'static str, String)]) {
        let (old, new) = {
            let entry = &mut *self.lock();
            if entry.now == entry.published {
                return;
            }
            (std::mem::replace(&mut entry.published, entry.now.clone()), entry.now.clone())
        };
        let count = |name: &'static str, old: u64, new: u64| metrics::counter!(name, labels).increment(new.saturating_sub(old));
        let open = |name: &'static str, old: u64, new: u64| metrics::gauge!(name, labels).increment(new as f64 - old as f64);
        count("geophone_received_items_total", old.items.received, new.items.received);
        count("geophone_acked_items_total", old.items.acked, new.items.acked);
        open("geophone_open_items", old.items.open, new.items.open);
        count("geophone_received_requests_total", old.requests.received, new.requests.received);
        count("geophone_acked_requests_total", old.requests.acked, new.requests.acked);
        open("geophone_open_requests", old.requests.open, new.requests.open);
        count("geophone_request_packed_bytes_total", old.packed_bytes, new.packed_bytes);
        count("geophone_request_bytes_total", old.bytes, new.bytes);
        let by_reason = |name: &'static str, old: &[(&'static str, u64)], new: &[(&'static str, u64)]| {
            for (reason, count) in new {
                let before = old.iter().find(|(known, _)| known == reason).map_or(0, |(_, count)| *count);
                let labels: Vec<_> = labels.iter().cloned().chain([("reason", (*reason).to_owned())]).collect();
                metrics::counter!(name, &labels).increment(count.saturating_sub(before));
            }
        };
        by_reason("geophone_refused_items_total", &old.refused_items, &new.refused_items);
        by_reason("geophone_dropped_items_total", &old.dropped_items, &new.dropped_items);
        by_reason("geophone_refused_requests_total", &old.refused_requests, &new.refused_requests);
    }
}
