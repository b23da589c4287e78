//! What both transports share: from a read body to an `Arrival`, and from its verdict to an answer.

use super::{
    budget::{Budget, OverBudget, Permit},
    packing::Packing,
    pressure::Pressure,
    receipt::{Arrival, Receipt, Verdict},
    refusal::Refusal,
    tally::Tally,
    tasks,
    throttle::Throttle,
};
use crate::{
    json::json_to_wire,
    walk::{Rejected, WalkError, Walked, walk},
};
use bytes::Bytes;
use geophone_proto::{Columns, Signal, Tenant, Transport, UnixNanos, record::Export, seam::Clock};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

/// Bodies up to this size are decoded where they were read, if not compressed; larger ones would
/// hold up other connections.
const INLINE_BYTES_MAX: usize = 128 << 10;
/// The same for compressed bodies, which may grow a thousandfold.
const INLINE_PACKED_BYTES_MAX: usize = 2 << 10;

/// How long senders are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The head of a request on HTTP/1.1.
    pub(crate) head: Duration,
    /// The next piece of a body.
    pub(crate) piece: Duration,
    /// All of a body.
    pub(crate) whole_body: Duration,
    /// The first request of a connection.
    pub(crate) silence: Duration,
    /// Open requests after `stop`.
    pub(crate) stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [head, piece, whole_body, silence, stop] = [10, 10, 60, 60, 20].map(Duration::from_secs);
        Self { head, piece, whole_body, silence, stop }
    }
}

/// Everything that answering a request needs.
pub(crate) struct Reception {
    pub(crate) request_bytes_max: usize,
    pub(crate) patience: Patience,
    pub(crate) budget: Budget,
    pub(crate) pressure: Pressure,
    pub(crate) throttle: Throttle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: mpsc::Sender<Arrival>,
    /// Turns at decoding on other threads, as many as cores.
    pub(crate) turns: Arc<Semaphore>,
}

/// What a request says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) signal: Signal,
    pub(crate) transport: Transport,
    pub(crate) packing: Packing,
    pub(crate) is_json: bool,
}

/// Work for a core: unpack, transcode, walk.
struct Job {
    envelope: Envelope,
    body: Bytes,
    permit: Permit,
    pressure: Pressure,
    bytes_max: usize,
    at: UnixNanos,
}

impl Job {
    fn run(mut self) -> Result<(Bytes, Walked, Permit), Refusal> {
        let Envelope { signal, packing, is_json, .. } = self.envelope;
        let (packed, mut wire) = (self.body.len(), packing.unpack(self.body, self.bytes_max, &mut self.permit, &self.pressure)?);
        count_bytes(self.envelope, packed, wire.len());
        if is_json {
            wire = json_to_wire(signal, &wire).map_err(|error| Refusal::malformed(error.to_string()))?;
        }
        let walked = walk(signal, wire.clone(), Tenant::default(), self.at).map_err(|error| match error {
            WalkError::TooLarge(_) => Refusal::too_large(self.bytes_max),
            other => Refusal::malformed(other.to_string()),
        })?;
        let held = wire.len().saturating_add(columns_bytes(&walked));
        self.permit.grow_to(held).map_err(|over| over_budget(over, &self.pressure))?;
        Ok((wire, walked, self.permit))
    }
}

fn columns_bytes(walked: &Walked) -> usize {
    let rows = match &walked.batch.columns {
        Columns::Traces(rows) => rows.record_batch(),
        Columns::Metrics(rows) => rows.record_batch(),
        Columns::Logs(rows) => rows.record_batch(),
    };
    rows.get_array_memory_size()
}

fn count_bytes(envelope: Envelope, packed: usize, unpacked: usize) {
    let labels = [("signal", envelope.signal.as_str()), ("transport", envelope.transport.as_str())];
    metrics::counter!("geophone_request_packed_bytes_total", &labels).increment(packed as u64);
    metrics::counter!("geophone_request_bytes_total", &labels).increment(unpacked as u64);
}

/// The answer to a request that does not fit: when it probably will, or that it never will.
pub(crate) fn over_budget(over: OverBudget, pressure: &Pressure) -> Refusal {
    match over {
        OverBudget::Missing(bytes) => {
            let message = "open requests fill the memory budget, send again after the delay";
            Refusal::busy("over_budget", pressure.delay(bytes), message)
        }
        OverBudget::Never(bytes_max) => Refusal::too_large(bytes_max),
    }
}

impl Reception {
    /// Decodes a body, hands it to the sink and waits for the verdict. Gives the rejected rows.
    pub(crate) async fn take(&self, envelope: Envelope, body: Bytes, permit: Permit) -> Result<Vec<Rejected>, Refusal> {
        let at = self.clock.now();
        let inline = if envelope.packing == Packing::Identity { INLINE_BYTES_MAX } else { INLINE_PACKED_BYTES_MAX };
        let is_small = body.len() <= inline;
        let (pressure, bytes_max) = (self.pressure.clone(), self.request_bytes_max);
        let job = Job { envelope, body, permit, pressure, bytes_max, at };
        let decoded = if is_small { job.run() } else { tasks::on_a_core(&self.turns, move || job.run()).await? };
        let (wire, walked, permit) = decoded?;
        self.pass_on(envelope, (wire, walked, permit), at).await
    }

    async fn pass_on(
        &self,
        envelope: Envelope,
        (wire, walked, permit): (Bytes, Walked, Permit),
        at: UnixNanos,
    ) -> Result<Vec<Rejected>, Refusal> {
        let Envelope { signal, transport, .. } = envelope;
        let Walked { batch, rejected } = walked;
        let tenant = batch.tenant.clone();
        let refused: u64 = rejected.iter().map(|row| row.count).sum();
        let mut tally = Tally::received(signal, transport, &tenant, batch.len() as u64 + refused);
        if let Some(delay) = self.throttle.wait(&batch, at) {
            tally.refused("throttled");
            return Err(Refusal::busy("throttled", delay, "this service is asked to send more slowly, send again after the delay"));
        }
        if batch.is_empty() {
            rejected.iter().for_each(|row| tally.dropped(row.reason, row.count));
            return Ok(rejected);
        }
        let Ok(slot) = self.sink.reserve().await else {
            tally.refused("stopping");
            return Err(Refusal::busy("stopping", self.pressure.delay(0), "the server is stopping, send again later"));
        };
        rejected.iter().for_each(|row| tally.dropped(row.reason, row.count));
        let (receipt, verdict) = Receipt::new(tally, permit);
        let export = Export { tenant, signal, transport, wire, decoded: Some(Arc::new(batch)) };
        slot.send(Arrival { at, export, receipt });
        match verdict.await {
            Ok(Verdict::Acked) => Ok(rejected),
            Ok(Verdict::Nacked { class, message }) => Err(Refusal::from_class(class, message, self.pressure.delay(0))),
            Err(_) => Err(Refusal::busy("bug", self.pressure.delay(0), "the request was lost, send it again")),
        }
    }
}
