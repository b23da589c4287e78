//! A simulated shop that sends real OTLP to a running server until something goes wrong in it.
//!
//! Not the demo: one fault, fixed event time, and the caller says how far time goes.

use crate::server::{PATIENCE, Server};
use geophone_client::{
    Client, ClientConfig,
    shop::{Fault, Pace, Schedule, Shop},
};
use geophone_proto::time::{SECOND_NS, UnixNanos};
use std::{sync::Arc, time::Instant};
use tokio::{runtime::Runtime, task::JoinSet};

/// The shop opens at 2026-01-01 10:00:00 UTC.
const START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);
/// The first fault of this seed: the frontend fails in a third of one operation's calls.
const SEED: u64 = 1;
/// Undisturbed traffic first, then a fault that outlasts any test's questions.
const PACE: Pace = Pace { warm_up_s: 1_200.0, fault_s: (900.0, 900.0), calm_s: (600.0, 600.0) };

/// The shop and the way to the server.
pub struct Feed {
    shop: Shop,
    fault: Fault,
    client: Arc<Client>,
    runtime: Runtime,
    sent_at: Instant,
}

impl Feed {
    /// Opens the shop; nothing is sent yet.
    pub fn to(server: &Server) -> Self {
        let mut schedule = Schedule::seeded(SEED, START, &PACE);
        schedule.faults.truncate(1);
        schedule.harmless.clear();
        let config = ClientConfig { endpoint: server.grpc.clone(), timeout: PATIENCE, ..ClientConfig::default() };
        Self {
            shop: Shop::new(SEED, START, &schedule),
            fault: schedule.faults.remove(0),
            client: Arc::new(Client::new(config).expect("the server printed its address")),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs a few file handles"),
            sent_at: Instant::now(),
        }
    }

    /// What goes wrong.
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Sends everything up to this moment of event time; returns when all of it is acknowledged.
    pub fn until(&mut self, to: UnixNanos) {
        while self.shop.now() < to {
            let next = self.shop.now().plus(SECOND_NS).min(to);
            let sent = self.shop.advance(next);
            self.runtime.block_on(async {
                let mut under_way = JoinSet::new();
                for one in sent {
                    let client = self.client.clone();
                    under_way.spawn(async move { client.export(one.request).await });
                }
                while let Some(outcome) = under_way.join_next().await {
                    let exported = outcome.expect("no sender panics").expect("the server takes it");
                    assert_eq!(exported.rejected, 0, "{}", exported.message);
                }
            });
        }
        self.sent_at = Instant::now();
    }

    /// Sends until the fault has been there for this long.
    pub fn into_fault(&mut self, seconds: u64) {
        self.until(self.fault.from.plus(seconds * SECOND_NS));
    }

    /// Lets as much event time pass as time has passed here since the last call, so that the shop does not
    /// fall silent while a test waits.
    pub fn keep_up(&mut self) {
        let passed = u64::try_from(self.sent_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.until(self.shop.now().plus(passed));
    }

    /// Sends until the fault has been over for this long.
    pub fn past_fault(&mut self, seconds: u64) {
        self.until(self.fault.to.plus(seconds * SECOND_NS));
    }
}
