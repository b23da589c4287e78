//! A bounded queue before a client: what does not fit is dropped and counted, never waited for.
//!
//! The owner runs `work` as often as requests may be under way at once; nothing is spawned here.

use crate::{
    client::{Client, count_dropped},
    request::ExportRequest,
};
use bytes::Bytes;
use geophone_proto::Signal;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

struct Waiting {
    signal: Signal,
    body: Bytes,
    items: u64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
}

/// See the module.
pub struct Queue {
    client: Arc<Client>,
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    /// An empty queue before this client, as large as its configuration says.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a request; false if there is no room, and then it is dropped and counted.
    pub fn push(&self, request: &ExportRequest) -> bool {
        let (signal, items, body) = (request.signal(), request.items(), request.encode());
        let mut state = self.state();
        let fits = !state.closed && state.bytes + body.len() <= self.client.config().queue_bytes;
        if fits {
            state.bytes += body.len();
            state.waiting.push_back(Waiting { signal, body, items });
            metrics::gauge!("otel.sdk.processor.queue.size").set(state.bytes as f64);
            drop(state);
            self.changed.notify_one();
        } else {
            drop(state);
            count_dropped(signal, "queue_full", items);
        }
        fits
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// No more requests are taken; `work` ends when the queue is empty.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    /// Delivers until the queue is closed and empty. Failures are counted by the client.
    pub async fn work(&self) {
        loop {
            let changed = self.changed.notified();
            let (next, closed) = {
                let mut state = self.state();
                let next = state.waiting.pop_front();
                state.bytes -= next.as_ref().map_or(0, |next| next.body.len());
                (next, state.closed)
            };
            match next {
                Some(next) => {
                    if let Err(error) = self.client.export_raw(next.signal, next.body, next.items).await {
                        tracing::warn!(%error, items = next.items, "request dropped");
                    }
                }
                None if closed => return,
                None => changed.await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
