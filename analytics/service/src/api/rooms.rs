//! What the API may touch: one value, made by the wiring, or by a test without any other room.

use crate::{
    alerts::Board,
    error::ServiceError,
    models::Registry,
    view::View,
    wiring::{Pulse, Submitter},
};
use geophone_ingest::Access;
use serde::Serialize;
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::sync::{Semaphore, mpsc};

/// Answer of a SQL query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows of plain values.
    pub rows: Vec<Vec<serde_json::Value>>,
}

impl Answer {
    /// Rows as objects, in the order of the columns.
    pub fn objects(self) -> Vec<serde_json::Value> {
        let object = |row: Vec<serde_json::Value>| serde_json::Value::Object(self.columns.iter().cloned().zip(row).collect());
        self.rows.into_iter().map(object).collect()
    }
}

/// Runs a SQL query; blocking.
pub type QueryFn = Arc<dyn Fn(&str) -> Result<Answer, ServiceError> + Send + Sync>;

/// Requests whose `Idempotency-Key` is remembered.
const KEYS_KEPT: usize = 1_000;
/// Open streams at most.
const LISTENERS_MAX: usize = 64;
/// Queries at a time.
const QUERIES_MAX: usize = 2;

/// Everything a route may touch.
pub struct Rooms {
    /// The read model.
    pub view: Arc<View>,
    /// The way into the log.
    pub submitter: Submitter,
    /// Runs SQL.
    pub query: QueryFn,
    /// Folded stacks; none where nothing is kept.
    pub stacks: Option<crate::stacks::Shelf>,
    /// Who answers for stacks of a span; none where nobody does.
    pub asked: Option<mpsc::Sender<crate::stacks::Asked>>,
    /// What the kernel's recorder keeps; none where there is none.
    pub archive: Option<Arc<geophone_profiler_ebpf::Archive>>,
    /// Why there is none.
    pub profiler_note: String,
    /// One profile by hand is recorded at a time; none where the profiler is switched off.
    pub recordings: Option<Arc<Semaphore>>,
    /// Counters of the wiring.
    pub pulse: Arc<Pulse>,
    /// What became of alerts.
    pub board: Arc<Board>,
    /// Known models.
    pub models: Arc<Registry>,
    /// Of a hundred series, those that a canary speaks for where nobody says otherwise.
    pub canary_percent: u32,
    /// Text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Values in force, for `/api/v1/status`.
    pub facts: serde_json::Value,
    /// Who may ask, and what every tenant sent.
    pub access: Access,
    /// Host names that browsers may use.
    pub allowed_hosts: Vec<String>,
    /// Places for listeners.
    pub listeners: Arc<Semaphore>,
    /// One model is checked at a time.
    pub adding: Arc<Semaphore>,
    /// Places for queries.
    pub queries: Arc<Semaphore>,
    /// Answers already given, by `Idempotency-Key`.
    pub answered: Mutex<VecDeque<(String, String)>>,
    /// Turned once, when the service stops.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

impl Rooms {
    /// Rooms with nothing but a view and a way into the log; the wiring adds the rest.
    pub fn new(view: Arc<View>, submitter: Submitter, stop: tokio::sync::watch::Receiver<bool>) -> Self {
        Self {
            view,
            submitter,
            query: Arc::new(|_| Err(ServiceError::Negative("there is no store to ask".into()))),
            stacks: None,
            archive: None,
            asked: None,
            profiler_note: "no profiler was started".into(),
            recordings: None,
            pulse: Arc::default(),
            board: Arc::default(),
            models: Arc::new(Registry::empty(Path::new("."), 0)),
            canary_percent: 10,
            metrics: Arc::new(String::new),
            facts: serde_json::Value::Null,
            access: Access::default(),
            allowed_hosts: Vec::new(),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            adding: Arc::new(Semaphore::new(1)),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            answered: Mutex::default(),
            stop,
        }
    }

    /// What was asked for under this key before.
    pub fn recall(&self, key: &str) -> Option<String> {
        let answered = self.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        answered.iter().find(|(known, _)| known == key).map(|(_, what)| what.clone())
    }

    /// Remembers what was asked for under a key.
    pub fn remember(&self, key: String, what: String) {
        let mut answered = self.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        answered.push_back((key, what));
        if answered.len() > KEYS_KEPT {
            answered.pop_front();
        }
    }
}
