//! One tenant as the servers see it: budgets, the share of memory it holds, and the ledger.

use super::{
    ledger::{Counts, Line},
    meter::Meter,
    rules::Limits,
};
use geophone_proto::{Signal, Tenant, Transport, UnixNanos};
use serde::Serialize;
use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

/// What a line is about; no signal where the path named none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) signal: Option<Signal>,
    pub(crate) transport: Transport,
}

/// Signals that have lines, in their order.
const SIGNALS: [Option<Signal>; 5] = [Some(Signal::Traces), Some(Signal::Metrics), Some(Signal::Logs), Some(Signal::Profiles), None];
const TRANSPORTS: [Transport; 2] = [Transport::Grpc, Transport::Http];

/// One tenant.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) tenant: Tenant,
    /// Bytes that its open requests hold.
    pub(crate) held: AtomicUsize,
    meter: Mutex<Meter>,
    lines: [[Line; TRANSPORTS.len()]; SIGNALS.len()],
}

/// One line of the ledger, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    /// Whose.
    pub tenant: String,
    /// `traces`, `metrics`, `logs`, `profiles`, or `unknown`.
    pub signal: &'static str,
    /// `grpc` or `http`.
    pub transport: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub counts: Counts,
}

fn name_of(signal: Option<Signal>) -> &'static str {
    signal.map_or("unknown", Signal::as_str)
}

impl Account {
    pub(super) fn new(tenant: Tenant, limits: Limits) -> Self {
        let account = Self { tenant, held: AtomicUsize::new(0), meter: Mutex::default(), lines: Default::default() };
        account.limit(limits);
        account
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        // Numbers only: a panic in between leaves a bucket a little too full.
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self, limits: Limits) {
        self.meter().set(limits);
    }

    /// Lets a request in, or says which budget is used up and until when.
    pub(crate) fn enter(&self, now: UnixNanos) -> Result<(), (&'static str, Duration)> {
        self.meter().enter(now)
    }

    /// Charges what the request turned out to hold.
    pub(crate) fn charge(&self, items: u64, bytes: usize) {
        self.meter().charge(items, bytes);
    }

    /// The line of a signal over a transport.
    pub(crate) fn line(&self, place: Place) -> &Line {
        let signal = SIGNALS.iter().position(|signal| *signal == place.signal).unwrap_or(SIGNALS.len() - 1);
        let transport = usize::from(place.transport == Transport::Http);
        &self.lines[signal][transport]
    }

    fn each_line(&self) -> impl Iterator<Item = (&'static str, &'static str, &Line)> {
        let of_signal = |(signal, lines): (Option<Signal>, _)| {
            TRANSPORTS.into_iter().zip(lines).map(move |(transport, line): (Transport, &Line)| (name_of(signal), transport.as_str(), line))
        };
        SIGNALS.into_iter().zip(&self.lines).flat_map(of_signal)
    }

    pub(super) fn publish(&self) {
        for (signal, transport, line) in self.each_line() {
            let labels = [("signal", signal.to_owned()), ("transport", transport.to_owned()), ("tenant", self.tenant.0.to_string())];
            line.publish(&labels);
        }
    }

    pub(super) fn traffic(&self) -> impl Iterator<Item = Traffic> {
        self.each_line()
            .map(|(signal, transport, line)| Traffic { tenant: self.tenant.0.to_string(), signal, transport, counts: line.read() })
            .filter(|traffic| traffic.counts.requests.received > 0)
    }
}
