//! A few numbers that threads leave behind for the API: how far, how fast, how well.

use geophone_proto::{Seq, Signal};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Weight of the newest second in the shown rate.
const NEWEST: f64 = 0.2;

/// Shared counters; written by one thread each, read by anybody.
#[derive(Debug, Default)]
pub struct Pulse {
    items: [AtomicU64; Signal::ALL.len()],
    items_before: AtomicU64,
    rate: AtomicU64,
    head: AtomicU64,
    stepped: AtomicU64,
    step_at_ns: AtomicU64,
    head_at_ns: AtomicU64,
    brain_rebuilds: AtomicU64,
    skipped_records: AtomicU64,
    is_listening: AtomicBool,
    is_storage_fine: AtomicBool,
    is_standing: AtomicBool,
    is_caught_up: AtomicBool,
    is_brain_fine: AtomicBool,
}

impl Pulse {
    /// Rows accepted into the log.
    pub fn accepted(&self, signal: Signal, rows: usize) {
        self.items[place(signal)].fetch_add(rows as u64, Relaxed);
    }

    /// Rows of a signal accepted since the start.
    pub fn items(&self, signal: Signal) -> u64 {
        self.items[place(signal)].load(Relaxed)
    }

    /// The log's end and when its last record was appended.
    pub fn appended(&self, head: Seq, at_ns: u64) {
        self.head.store(head.0, Relaxed);
        self.head_at_ns.store(at_ns, Relaxed);
    }

    /// The brain has stepped everything before `next`.
    pub fn stepped(&self, next: Seq, at_ns: u64) {
        self.stepped.store(next.0, Relaxed);
        self.step_at_ns.store(at_ns, Relaxed);
    }

    /// Called once a second: smooths the shown rate.
    pub fn second(&self) {
        let total: u64 = self.items.iter().map(|count| count.load(Relaxed)).sum();
        let new = total.saturating_sub(self.items_before.swap(total, Relaxed));
        let old = f64::from_bits(self.rate.load(Relaxed));
        self.rate.store((old + NEWEST * (new as f64 - old)).to_bits(), Relaxed);
    }

    /// The brain panicked and was rebuilt.
    pub fn rebuilt(&self) {
        self.brain_rebuilds.fetch_add(1, Relaxed);
    }

    /// A record that the brain cannot take was left out.
    pub fn skipped(&self) {
        self.skipped_records.fetch_add(1, Relaxed);
    }

    /// Receivers are bound.
    pub fn set_listening(&self, fine: bool) {
        self.is_listening.store(fine, Relaxed);
    }

    /// The last append worked.
    pub fn set_storage(&self, fine: bool) {
        self.is_storage_fine.store(fine, Relaxed);
    }

    /// An append has been under way for too long.
    pub fn set_standing(&self, standing: bool) {
        self.is_standing.store(standing, Relaxed);
    }

    /// The brain has read what was in the log at the start.
    pub fn set_caught_up(&self, fine: bool) {
        self.is_caught_up.store(fine, Relaxed);
    }

    /// Whether the brain has read what was in the log at the start.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up.load(Relaxed)
    }

    /// A model is loaded and the brain runs.
    pub fn set_brain(&self, fine: bool) {
        self.is_brain_fine.store(fine, Relaxed);
    }

    /// What readiness needs.
    pub fn checks(&self) -> [(&'static str, bool); 4] {
        [
            ("receivers", self.is_listening.load(Relaxed)),
            ("storage", self.is_storage_fine.load(Relaxed) && !self.is_standing.load(Relaxed)),
            ("brain", self.is_brain_fine.load(Relaxed)),
            ("caught_up", self.is_caught_up.load(Relaxed)),
        ]
    }

    /// Records of the log that the brain has not seen.
    pub fn behind(&self) -> u64 {
        self.head.load(Relaxed).saturating_sub(self.stepped.load(Relaxed))
    }

    /// How far the brain is behind the newest record, in time.
    pub fn lag_seconds(&self) -> f64 {
        let lag_ns = self.head_at_ns.load(Relaxed).saturating_sub(self.step_at_ns.load(Relaxed));
        if self.behind() == 0 { 0.0 } else { lag_ns as f64 / 1e9 }
    }

    /// For `/api/v1/status`.
    pub fn status(&self) -> Value {
        let [traces, metrics, logs, profiles] = Signal::ALL.map(|signal| self.items[place(signal)].load(Relaxed));
        json!({
            "items_per_second": f64::from_bits(self.rate.load(Relaxed)),
            "items": {"traces": traces, "metrics": metrics, "logs": logs, "profiles": profiles},
            "lag_records": self.behind(),
            "lag_seconds": self.lag_seconds(),
            "brain_rebuilds": self.brain_rebuilds.load(Relaxed),
            "skipped_records": self.skipped_records.load(Relaxed),
            "ready": self.checks().iter().all(|(_, fine)| *fine),
        })
    }
}

const fn place(signal: Signal) -> usize {
    match signal {
        Signal::Traces => 0,
        Signal::Metrics => 1,
        Signal::Logs => 2,
        Signal::Profiles => 3,
    }
}
