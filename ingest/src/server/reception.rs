//! What both transports share: from a read body to an `Arrival`, and from its verdict to an answer.

use super::{
    budget::{Budget, OverBudget, Permit},
    orphans::{Awaited, Orphans},
    packing::Packing,
    pressure::Pressure,
    receipt::{Arrival, Receipt, Verdict},
    refusal::Refusal,
    sampling::Sampling,
    status::Remarks,
    tally::{Guest, Tally},
    tasks,
    throttle::Throttle,
};
use crate::{
    access::{Access, Account, Place, Right},
    json::json_to_wire,
    walk::{WalkError, Walked, walk_within},
};
use bytes::Bytes;
use geophone_proto::{Signal, UnixNanos, record::Export, seam::Clock};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

/// Messages up to this size are decoded where they were read: a third of a millisecond for a thousand spans, which is
/// less than handing them to another thread and back takes, where cores are few. Larger ones would hold up other
/// connections. A compressed body is unpacked up to here, and from the start elsewhere if there is more in it.
const INLINE_BYTES_MAX: usize = 512 << 10;

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
    /// A peer to take an answer.
    pub(crate) answer: Duration,
    /// A connection without an open request.
    pub(crate) idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [head, piece, whole_body, silence, stop] = [10, 10, 60, 60, 20].map(Duration::from_secs);
        let [answer, idle] = [30, 600].map(Duration::from_secs);
        Self { head, piece, whole_body, silence, stop, answer, idle }
    }
}

/// Everything that answering a request needs.
pub(crate) struct Reception {
    pub(crate) request_bytes_max: usize,
    pub(crate) patience: Patience,
    pub(crate) budget: Budget,
    pub(crate) access: Access,
    pub(crate) pressure: Pressure,
    pub(crate) throttle: Throttle,
    pub(crate) sampling: Sampling,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: mpsc::Sender<Arrival>,
    pub(crate) orphans: Orphans,
    /// Turns at decoding on other threads, as many as cores.
    pub(crate) turns: Arc<Semaphore>,
}

/// What a request says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) signal: Signal,
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
    account: Arc<Account>,
    place: Place,
    at: UnixNanos,
    /// The ledger knows the bytes before and after unpacking.
    is_counted: bool,
}

impl Job {
    /// Itself, unpacked, if what is in it is small; a body that is broken is one for `run` to tell.
    fn unpack_small(mut self) -> Result<Self, Self> {
        let small = INLINE_BYTES_MAX.min(self.bytes_max);
        if self.body.len() > small {
            return Err(self);
        }
        if self.envelope.packing != Packing::Identity {
            let unpacked = self.envelope.packing.unpack(self.body.clone(), small, &mut self.permit, &self.pressure);
            let Ok(wire) = unpacked else { return Err(self) };
            self.account.line(self.place).unpacked(self.body.len(), wire.len());
            (self.body, self.envelope.packing, self.is_counted) = (wire, Packing::Identity, true);
        }
        Ok(self)
    }

    fn run(mut self) -> Result<(Bytes, Walked, Permit), Refusal> {
        let Envelope { signal, packing, is_json, .. } = self.envelope;
        let packed = self.body.len();
        let mut wire = packing.unpack(self.body, self.bytes_max, &mut self.permit, &self.pressure)?;
        if !self.is_counted {
            self.account.line(self.place).unpacked(packed, wire.len());
        }
        if is_json {
            wire = json_to_wire(signal, &wire).map_err(|error| Refusal::malformed(error.to_string()))?;
        }
        let (permit, mut over) = (&mut self.permit, None);
        let mut grant = |columns: usize| permit.grow_to(wire.len().saturating_add(columns)).map_err(|why| over = Some(why)).is_ok();
        let walked = walk_within(signal, wire.clone(), (self.account.tenant.clone(), self.at), Some(&mut grant));
        let walked = walked.map_err(|error| match (error, over) {
            (WalkError::NotGranted, Some(over)) => over_budget(over, &self.pressure),
            (WalkError::TooLarge(_), _) => Refusal::too_large(self.bytes_max),
            (other, _) => Refusal::malformed(other.to_string()),
        })?;
        let held = wire.len().saturating_add(walked.batch.memory_bytes());
        self.permit.grow_to(held).map_err(|over| over_budget(over, &self.pressure))?;
        Ok((wire, walked, self.permit))
    }
}

/// The answer to a request that does not fit: when it probably will, or that it never will.
pub(crate) fn over_budget(over: OverBudget, pressure: &Pressure) -> Refusal {
    match over {
        OverBudget::Missing(bytes) => {
            let message = "open requests fill the memory budget, send again after the delay";
            Refusal::busy("over_budget", pressure.delay(bytes), message)
        }
        OverBudget::Never(bytes_max) => Refusal::never_fits(bytes_max),
    }
}

impl Reception {
    /// Finds out who sends, and whether the tenant's budget lets it in: before anything of the body is
    /// read. The request is counted either way.
    pub(crate) fn welcome(&self, place: Place, headers: &http::HeaderMap) -> (Guest, Result<(), Refusal>) {
        let known = self.access.identify(headers, Right::Send).and_then(|grant| self.access.account(&grant.tenant));
        match known {
            Ok(account) => {
                let enter = || account.enter(self.clock.now()).map_err(|(reason, delay)| Refusal::over_limit(reason, delay));
                let entered = self.is_moving().and_then(|()| enter());
                (Guest::received(account, place), entered)
            }
            Err(denied) => (self.stranger(place), Err(Refusal::denied(denied))),
        }
    }

    /// Whether the log takes anything at present: who would only wait is told when to come again.
    pub(crate) fn is_moving(&self) -> Result<(), Refusal> {
        let Some(stalled) = self.pressure.stalled_for() else { return Ok(()) };
        let message = format!("the disk has not answered for {} s, send again after the delay", stalled.as_secs());
        Err(Refusal::busy("stalled", self.pressure.delay(0), message))
    }

    /// A request of which nobody can say whose it is.
    pub(crate) fn stranger(&self, place: Place) -> Guest {
        Guest::received(self.access.strangers(), place)
    }

    /// A share of the budget for a request.
    pub(crate) fn permit(&self, account: &Arc<Account>, bytes: usize) -> Result<Permit, Refusal> {
        let permit = self.budget.permit(account, self.access.is_shared(), bytes);
        permit.map_err(|over| over_budget(over, &self.pressure))
    }

    /// Decodes a body, hands it to the sink and waits for the verdict. Gives what the sender should know.
    pub(crate) async fn take(&self, guest: &Guest, envelope: Envelope, (body, permit): (Bytes, Permit)) -> Result<Remarks, Refusal> {
        let at = self.clock.now();
        let (pressure, account, place) = (self.pressure.clone(), Arc::clone(&guest.account), guest.place);
        let job = Job { envelope, body, permit, pressure, bytes_max: self.request_bytes_max, account, place, at, is_counted: false };
        let decoded = match job.unpack_small() {
            Ok(job) => job.run(),
            Err(job) => tasks::on_a_core(&self.turns, move || job.run()).await?,
        };
        let (wire, walked, permit) = decoded?;
        self.pass_on(guest, (wire, walked, permit), at).await
    }

    async fn pass_on(&self, guest: &Guest, (wire, walked, permit): (Bytes, Walked, Permit), at: UnixNanos) -> Result<Remarks, Refusal> {
        let Walked { batch, rejected, warning } = walked;
        let (signal, tenant, transport) = (batch.signal(), batch.tenant.clone(), guest.place.transport);
        let items = batch.len() as u64 + rejected.iter().map(|row| row.rows).sum::<u64>();
        guest.account.charge(items, wire.len());
        let mut tally = Tally::received(guest, items);
        if let Some(delay) = self.throttle.wait(&batch, at) {
            tally.refused("throttled");
            return Err(Refusal::busy("throttled", delay, "this service is asked to send more slowly, send again after the delay"));
        }
        if batch.is_empty() {
            rejected.iter().for_each(|row| tally.dropped(row.reason, row.rows));
            return Ok(Remarks { rejected, warning });
        }
        if let Some(answer) = self.orphans.adopt(signal, &tenant, &wire) {
            // It is in the log already or on its way; the rows were counted then.
            tally.refused("repeated");
            let awaited = Awaited::new(self, (signal, tenant, wire), answer);
            return self.verdict(awaited, Remarks { rejected, warning }).await;
        }
        let Ok(slot) = self.sink.reserve().await else {
            tally.refused("stopping");
            return Err(Refusal::busy("stopping", self.pressure.delay(0), "the server is stopping, send again later"));
        };
        rejected.iter().for_each(|row| tally.dropped(row.reason, row.rows));
        let (receipt, answer) = Receipt::new(tally, permit, self.pressure.waiting());
        let awaited = Awaited::new(self, (signal, tenant.clone(), wire.clone()), answer);
        let export = Export { tenant, signal, transport, wire, decoded: Some(Arc::new(batch)) };
        slot.send(Arrival { at, export, receipt });
        self.verdict(awaited, Remarks { rejected, warning }).await
    }

    async fn verdict(&self, awaited: Awaited<'_>, remarks: Remarks) -> Result<Remarks, Refusal> {
        match awaited.verdict().await {
            Some(Verdict::Acked) => Ok(remarks),
            Some(Verdict::Nacked { class, message }) => Err(Refusal::from_class(class, message, self.pressure.delay(0))),
            None => Err(Refusal::busy("bug", self.pressure.delay(0), "the request was lost, send it again")),
        }
    }
}
