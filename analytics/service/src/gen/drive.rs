//! Sends requests over several connections and counts what became of them.

use super::{args::Task, latency::Latencies, payload::Payload, report::Report};
use crate::error::ServiceError;
use geophone_client::{Client, ClientConfig, ClientError, RetryPolicy};
use geophone_proto::{UnixNanos, seam::Clock};
use rand_pcg::{Pcg32, rand_core::SeedableRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// What all connections share.
struct Run {
    task: Task,
    payloads: Vec<Payload>,
    begun: Instant,
    begun_at: UnixNanos,
    next: AtomicU64,
}

/// What one connection saw.
#[derive(Default)]
struct Tally {
    requests: u64,
    items: u64,
    acked: u64,
    refused: u64,
    latencies: Latencies,
    /// The first failure, for a sentence to the user.
    failure: Option<ClientError>,
}

/// Runs the task to its end. An error if nothing at all could be delivered because nobody answers.
pub async fn drive(task: Task, clock: Arc<dyn Clock>) -> Result<Report, ServiceError> {
    let clients = (0..task.connections).map(|_| connect(&task)).collect::<Result<Vec<_>, _>>()?;
    let payloads = (0..task.services).map(|service| Payload::new(task.signal, task.items, service, task.seed)).collect();
    let run = Arc::new(Run { task, payloads, begun: Instant::now(), begun_at: clock.now(), next: AtomicU64::new(0) });
    let mut connections = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        connections.spawn(run.clone().connection(client, number as u64));
    }
    let mut whole = Tally::default();
    while let Some(tally) = connections.join_next().await {
        whole.add(tally.map_err(|_| ServiceError::Stopped("load generator"))?);
    }
    let seconds = run.begun.elapsed().as_secs_f64();
    if let (0, Some(failure @ (ClientError::Unreachable { .. } | ClientError::BadEndpoint { .. }))) = (whole.acked, &whole.failure) {
        return Err(ServiceError::Remote(failure.to_string()));
    }
    if let Some(failure) = &whole.failure {
        tracing::warn!(refused_items = whole.refused, "some requests failed; the first: {failure}");
    }
    Ok(Report::new([whole.requests, whole.items, whole.acked, whole.refused], seconds, &whole.latencies))
}

/// One connection of its own; nothing is tried twice, so that refusals show.
fn connect(task: &Task) -> Result<Client, ServiceError> {
    let config = ClientConfig {
        endpoint: task.endpoint.clone(),
        ca_file: task.ca_file.clone(),
        headers: task.headers.clone(),
        protocol: task.protocol,
        compression: task.compression,
        timeout: Duration::from_secs(30),
        retry: RetryPolicy::never(),
        ..ClientConfig::default()
    };
    Client::new(config).map_err(|error| ServiceError::Usage(error.to_string()))
}

impl Run {
    async fn connection(self: Arc<Self>, client: Client, number: u64) -> Tally {
        let mut random = Pcg32::seed_from_u64(self.task.seed ^ (number + 1) << 20);
        let mut tally = Tally::default();
        while let Some((request, due)) = self.next_slot() {
            tokio::time::sleep_until(due).await;
            let payload = &self.payloads[(request % self.payloads.len() as u64) as usize];
            let now = self.begun_at.plus(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
            let body = payload.stamp(now.0, &mut random);
            let begun = if self.task.rate.is_some() { due } else { Instant::now() };
            let outcome = client.export_raw(self.task.signal, body, payload.items()).await;
            tally.latencies.add(begun.elapsed());
            if tally.count(payload.items(), outcome) {
                break;
            }
        }
        tally
    }

    /// The next request and when it should leave, unless all have left or time is up.
    fn next_slot(&self) -> Option<(u64, Instant)> {
        let request = self.next.fetch_add(1, Relaxed);
        let after = self.task.rate.map_or_else(|| self.begun.elapsed(), |rate| Duration::from_secs_f64(request as f64 / rate));
        let late = |limit: Duration| after >= limit || self.begun.elapsed() >= limit;
        let done = request >= self.task.requests || self.task.duration.is_some_and(late);
        (!done).then(|| (request, self.begun + after))
    }
}

impl Tally {
    /// Counts one request; true if going on makes no sense.
    fn count(&mut self, items: u64, outcome: Result<geophone_client::Exported, ClientError>) -> bool {
        self.requests += 1;
        self.items += items;
        match outcome {
            Ok(exported) => {
                self.acked += exported.accepted;
                self.refused += exported.rejected;
                false
            }
            Err(error) => {
                self.refused += items;
                let hopeless = self.acked == 0 && matches!(error, ClientError::Unreachable { .. });
                self.failure.get_or_insert(error);
                hopeless
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.items += other.items;
        self.acked += other.acked;
        self.refused += other.refused;
        self.latencies.merge(&other.latencies);
        self.failure = self.failure.take().or(other.failure);
    }
}
