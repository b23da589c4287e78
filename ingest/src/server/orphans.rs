//! Requests whose sender has gone before the answer: they may be in the log, or on their way to it, and the
//! sender will send them again. The second copy takes over the open answer of the first and is no row.
//!
//! Known by the hash of their bytes: senders repeat bytes. Bounded in number and time; what is forgotten may
//! be counted twice, as OTLP allows (OTLP-36).

use super::{receipt::Verdict, reception::Reception};
use bytes::Bytes;
use geophone_proto::{Signal, Tenant, UnixNanos};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

/// Requests remembered at most; the oldest are forgotten first.
const ORPHANS_MAX: usize = 16 << 10;
/// Remembered for so long: longer than senders try.
const KEPT_NS: u64 = 15 * 60 * 1_000_000_000;

/// Answers that nobody waits for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans {
    table: Arc<Mutex<Table>>,
    /// Spares lock and hash while there is none, which is nearly always.
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Table {
    answers: HashMap<u128, (u64, oneshot::Receiver<Verdict>)>,
    /// In the order of their coming; holds stale ones.
    order: VecDeque<(u64, UnixNanos, u128)>,
    next: u64,
}

/// A request whose sender waits for the answer. If the sender goes, the answer is kept for when it comes again.
pub(crate) struct Awaited<'r> {
    reception: &'r Reception,
    request: (Signal, Tenant, Bytes),
    answer: Option<oneshot::Receiver<Verdict>>,
}

impl<'r> Awaited<'r> {
    pub(crate) const fn new(reception: &'r Reception, request: (Signal, Tenant, Bytes), answer: oneshot::Receiver<Verdict>) -> Self {
        Self { reception, request, answer: Some(answer) }
    }

    /// Waits; `None` where nobody is left to answer.
    pub(crate) async fn verdict(mut self) -> Option<Verdict> {
        let verdict = self.answer.as_mut()?.await.ok();
        self.answer = None;
        verdict
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let (signal, tenant, wire) = &self.request;
            self.reception.orphans.keep((*signal, tenant, wire), answer, self.reception.clock.now());
        }
    }
}

/// What makes two requests the same.
fn key(signal: Signal, tenant: &Tenant, wire: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(signal.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(tenant.0.as_bytes());
    hash.update(&[0]);
    hash.update(wire);
    hash.digest128()
}

impl Orphans {
    /// Keeps the open answer of a request whose sender has gone.
    pub(crate) fn keep(&self, (signal, tenant, wire): (Signal, &Tenant, &[u8]), answer: oneshot::Receiver<Verdict>, now: UnixNanos) {
        let key = key(signal, tenant, wire);
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.answers.insert(key, (number, answer));
        table.order.push_back((number, now, key));
        table.forget(now);
        self.count.store(table.answers.len(), Ordering::Release);
    }

    /// The open answer of the same request, if its first sender has gone.
    pub(crate) fn adopt(&self, signal: Signal, tenant: &Tenant, wire: &[u8]) -> Option<oneshot::Receiver<Verdict>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let key = key(signal, tenant, wire);
        let mut table = self.lock();
        let (_, answer) = table.answers.remove(&key)?;
        self.count.store(table.answers.len(), Ordering::Release);
        Some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table stays whole whatever panics: each change is one call.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, now: UnixNanos) {
        while let Some((number, since, key)) = self.order.front().copied() {
            let is_known = self.answers.get(&key).is_some_and(|(known, _)| *known == number);
            if is_known && self.order.len() <= ORPHANS_MAX && now.0.saturating_sub(since.0) < KEPT_NS {
                return;
            }
            self.order.pop_front();
            if is_known {
                metrics::counter!("geophone_forgotten_requests_total").increment(1);
                self.answers.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> oneshot::Receiver<Verdict> {
        let (sender, receiver) = oneshot::channel();
        sender.send(Verdict::Acked).expect("it is open");
        receiver
    }

    #[test]
    fn the_same_bytes_of_the_same_sender_are_found_once() {
        let orphans = Orphans::default();
        let (tenant, other) = (Tenant::default(), Tenant("other".into()));
        assert!(orphans.adopt(Signal::Traces, &tenant, b"a").is_none());
        orphans.keep((Signal::Traces, &tenant, b"a"), answer(), UnixNanos(1));
        assert!(orphans.adopt(Signal::Logs, &tenant, b"a").is_none());
        assert!(orphans.adopt(Signal::Traces, &other, b"a").is_none());
        assert!(orphans.adopt(Signal::Traces, &tenant, b"b").is_none());
        assert!(orphans.adopt(Signal::Traces, &tenant, b"a").is_some());
        assert!(orphans.adopt(Signal::Traces, &tenant, b"a").is_none());
    }

    #[test]
    fn neither_number_nor_time_is_without_end() {
        let orphans = Orphans::default();
        let tenant = Tenant::default();
        for number in 0..ORPHANS_MAX + 10 {
            orphans.keep((Signal::Traces, &tenant, &number.to_le_bytes()), answer(), UnixNanos(1));
        }
        assert_eq!(orphans.lock().answers.len(), ORPHANS_MAX);
        assert!(orphans.adopt(Signal::Traces, &tenant, &0usize.to_le_bytes()).is_none(), "the oldest is forgotten");
        orphans.keep((Signal::Traces, &tenant, b"late"), answer(), UnixNanos(KEPT_NS + 1));
        assert_eq!(orphans.lock().answers.len(), 1);
    }
}
