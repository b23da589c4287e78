//! Moves the shop's time on: a second at a time, everything sent and acknowledged before the next.

use super::{
    control::{SharedShop, open},
    outsider::{Found, Outsider},
    senders::Senders,
};
use crate::error::ServiceError;
use geophone_proto::{UnixNanos, seam::Clock, time::SECOND_NS};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// Acknowledged requests that may wait for the brain: a few seconds of the shop's time.
const BEHIND_MAX: u64 = 30;
/// The API is asked for news this often, in seconds of the shop's time.
const NEWS_EVERY: u64 = 20;

/// Called with each incident when it is first seen.
pub type Tell<'a> = &'a (dyn Fn(&Found) -> Result<(), ServiceError> + Send + Sync);

/// The running shop.
pub struct Drive {
    /// The shop.
    pub shop: SharedShop,
    /// Its services' clients.
    pub senders: Senders,
    /// How the service looks from outside.
    pub outsider: Outsider,
    known: BTreeSet<String>,
    steps: u64,
}

impl Drive {
    /// A shop that has not sent anything yet.
    pub fn new(shop: SharedShop, senders: Senders, outsider: Outsider) -> Self {
        Self { shop, senders, outsider, known: BTreeSet::new(), steps: 0 }
    }

    /// Goes on to `end`, at most `speed` times as fast as time passes here.
    pub async fn until(&mut self, end: UnixNanos, speed: f64, tell: Tell<'_>) -> Result<(), ServiceError> {
        let (begun, from) = (Instant::now(), open(&self.shop).now());
        loop {
            let now = open(&self.shop).now();
            if now >= end {
                return self.news(tell).await;
            }
            let here = now.since(from) as f64 / SECOND_NS as f64 / speed;
            tokio::time::sleep_until(begun + Duration::from_secs_f64(here)).await;
            self.step(now.plus(SECOND_NS).min(end), tell).await?;
        }
    }

    /// Goes on for ever, never ahead of the clock, and catching up at most at `speed`.
    pub async fn keep_up(&mut self, until: UnixNanos, speed: f64, clock: &dyn Clock, tell: Tell<'_>) -> Result<(), ServiceError> {
        loop {
            let next = open(&self.shop).now().plus(SECOND_NS);
            if next > until {
                return Ok(());
            }
            let early = next.since(clock.now());
            let pause = if early > 0 { Duration::from_nanos(early) } else { Duration::from_secs_f64(1.0 / speed) };
            tokio::time::sleep(pause).await;
            self.step(next, tell).await?;
        }
    }

    async fn step(&mut self, to: UnixNanos, tell: Tell<'_>) -> Result<(), ServiceError> {
        let sent = open(&self.shop).advance(to);
        self.senders.send(sent).await?;
        self.outsider.catch_up(BEHIND_MAX).await?;
        self.steps += 1;
        if self.steps.is_multiple_of(NEWS_EVERY) { self.news(tell).await } else { Ok(()) }
    }

    /// Tells of incidents not told yet.
    async fn news(&mut self, tell: Tell<'_>) -> Result<(), ServiceError> {
        for found in self.outsider.incidents().await? {
            if self.known.insert(found.id.clone()) {
                tell(&found)?;
            }
        }
        Ok(())
    }
}
