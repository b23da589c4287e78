//! What is remembered of one sender: its clock, when it was last heard, how late its rows come.

use super::lateness::Lateness;
use geophone_proto::time::SECOND_NS;
use serde::{Deserialize, Serialize};

/// Half-life of what is known of a sender's lateness.
const HALF_LIFE_NS: u64 = 30 * SECOND_NS;
/// A sender that was silent for so long no longer counts.
pub const ACTIVE_NS: u64 = 300 * SECOND_NS;

/// One sender of one group of signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sender {
    /// Newest event time it sent.
    pub clock: u64,
    /// Wall clock of its last batch.
    pub heard: u64,
    /// Whether it sends spans or logs: only these set the delay while there are any.
    pub prompt: bool,
    halved: u64,
    lateness: Lateness,
}

impl Sender {
    /// A sender heard for the first time.
    pub fn new(clock: u64, heard: u64, prompt: bool) -> Self {
        Self { clock, heard, prompt, halved: heard, lateness: Lateness::default() }
    }

    /// Takes the newest time of a batch.
    pub fn hear(&mut self, clock: u64, heard: u64) {
        self.clock = self.clock.max(clock);
        self.heard = self.heard.max(heard);
        if self.heard.saturating_sub(self.halved) >= HALF_LIFE_NS {
            self.halved = self.heard;
            self.lateness.halve();
        }
    }

    /// A row came so long after the leader.
    pub fn lag(&mut self, late_ns: u64) {
        self.lateness.add(late_ns);
    }

    /// Forgets how late its rows were.
    pub fn forget(&mut self) {
        self.lateness = Lateness::default();
    }

    /// Whether it still counts.
    pub const fn is_active(&self, now: u64) -> bool {
        now.saturating_sub(self.heard) <= ACTIVE_NS
    }

    /// How long to wait for its rows: the 99th percentile of lateness.
    pub fn delay_ns(&self) -> u64 {
        self.lateness.quantile_ns(0.99)
    }

    /// Median lateness: a sender that is always later than anybody waits for cannot be helped.
    pub fn usual_ns(&self) -> u64 {
        self.lateness.quantile_ns(0.5)
    }
}
