//! "Ask senders to slow down": exports of a service are let in once per delay and sender.
//!
//! Nothing is lost: an export in between is answered as retryable, with the time that is left.

use geophone_proto::{Batch, UnixNanos};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Senders of one throttled service that are told apart; the rest share one turn.
const SENDERS_MAX: usize = 1024;

/// Services whose senders are asked to slow down. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    services: Arc<Mutex<BTreeMap<String, Slowed>>>,
    /// Spares the lock while nobody is slowed, which is nearly always.
    any: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Slowed {
    delay: Duration,
    until: UnixNanos,
    /// When the next export of a sender (hash of its resource) may come.
    next: BTreeMap<u64, UnixNanos>,
}

impl Throttle {
    /// Lets each sender of `service` in once per `delay`, until `until`. A zero delay ends it.
    pub fn slow(&self, service: &str, delay: Duration, until: UnixNanos) {
        let mut services = self.lock();
        if delay.is_zero() {
            services.remove(service);
        } else {
            let slowed = services.entry(service.into()).or_insert_with(|| Slowed { delay, until, next: BTreeMap::new() });
            (slowed.delay, slowed.until) = (delay, until);
        }
        self.any.store(!services.is_empty(), Ordering::Release);
    }

    /// How long the sender of this batch must wait; `None` lets it in.
    pub(crate) fn wait(&self, batch: &Batch, now: UnixNanos) -> Option<Duration> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut services = self.lock();
        services.retain(|_, slowed| slowed.until > now);
        self.any.store(!services.is_empty(), Ordering::Release);
        let resources = &batch.resources;
        let senders = resources.service().iter().flatten().zip(resources.hash().values());
        let slow: Vec<_> = senders.filter(|(service, _)| services.contains_key(*service)).collect();
        let wait = slow.iter().filter_map(|(service, hash)| services.get_mut(*service)?.wait(**hash, now)).max();
        if wait.is_none() {
            for (service, hash) in slow {
                if let Some(slowed) = services.get_mut(service) {
                    slowed.let_in(*hash, now);
                }
            }
        }
        wait
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slowed>> {
        // The map stays whole whatever panics: each change is one call.
        self.services.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Slowed {
    fn sender(&self, hash: u64) -> u64 {
        if self.next.len() < SENDERS_MAX || self.next.contains_key(&hash) { hash } else { 0 }
    }

    fn due(&self, now: UnixNanos) -> UnixNanos {
        now.plus(u64::try_from(self.delay.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The first export of a sender waits too: that is how the sender learns of it.
    fn wait(&mut self, hash: u64, now: UnixNanos) -> Option<Duration> {
        let (sender, due) = (self.sender(hash), self.due(now));
        let next = *self.next.entry(sender).or_insert(due);
        if next > now { Some(Duration::from_nanos(next.since(now))) } else { None }
    }

    fn let_in(&mut self, hash: u64, now: UnixNanos) {
        let (sender, due) = (self.sender(hash), self.due(now));
        self.next.insert(sender, due);
    }
}
