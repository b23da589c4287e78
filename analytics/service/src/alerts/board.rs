//! What became of the alerts, for the API: one entry per incident and receiver.

use geophone_proto::UnixNanos;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Incidents remembered.
const KEPT_MAX: usize = 10_000;

/// One incident at one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// `alertmanager` or `webhook`.
    pub kind: String,
    /// The receiver's address, without credentials.
    pub receiver: String,
    /// `pending`, `firing`, `resolved` or `refused`.
    pub state: String,
    /// Last time the receiver took it.
    pub sent_at: Option<UnixNanos>,
    /// Why the last try failed; `None` after a success.
    pub error: Option<String>,
    /// Alertmanager's word: `active`, `suppressed`, `unprocessed`.
    pub receiver_state: Option<String>,
    /// Ids of silences that hide it.
    pub silenced_by: Vec<String>,
    /// Alerts that inhibit it.
    pub inhibited_by: Vec<String>,
}

/// Shared between couriers (writers) and the API (reader).
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<String, BTreeMap<String, Delivery>>>);

impl Board {
    /// Deliveries of an incident, by receiver.
    pub fn of(&self, incident: &str) -> Vec<Delivery> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.get(incident).map(|receivers| receivers.values().cloned().collect()).unwrap_or_default()
    }

    /// Changes the entry of an incident at a receiver.
    pub fn update(&self, incident: &str, receiver: &str, change: impl FnOnce(&mut Delivery)) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if board.len() >= KEPT_MAX && !board.contains_key(incident) {
            board.pop_first();
        }
        change(board.entry(incident.into()).or_default().entry(receiver.into()).or_default());
    }
}
