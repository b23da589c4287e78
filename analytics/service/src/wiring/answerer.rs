//! Answers the brain's questions for stacks, one after the other; each answer goes through the log. Our own samples
//! of it are told on as OTLP profiles: kept in the table `profiles`, and exported where that is wanted.

use super::submit::Submitter;
use crate::stacks::{Asked, Found, Shelf, Side, Sources, rank};
use bytes::Bytes;
use geophone_client::{ExportRequest, Queue};
use geophone_profiler_ebpf::{Sample, output};
use geophone_proto::{
    RecordBody, Signal, SpanId, Tenant, Transport, UnixNanos,
    record::Export,
    stacks::{LinkClass, StackAnswer, StackRequest, ThreadState},
};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Profilers send what they have gathered every few seconds: where little was found, it is asked once more.
const SECOND_LOOK: Duration = Duration::from_secs(12);
/// Questions that wait for their second look.
const LATER_MAX: usize = 256;
/// Samples of one export request: well below the 4 MiB that receivers take.
const SAMPLES_MAX: usize = 10_000;
/// Samples that are remembered as told on.
const TOLD_MAX: usize = 200_000;

/// A question that is asked again.
struct Later {
    at: Instant,
    request: StackRequest,
    before: StackAnswer,
}

/// See the module.
pub struct Answerer {
    /// Who is asked.
    pub sources: Sources,
    /// Keeps the texts.
    pub shelf: Shelf,
    /// The way into the log.
    pub submitter: Submitter,
    /// Where profiles are exported to.
    pub export: Option<Arc<Queue>>,
    /// What a sample on the CPU stands for.
    pub period_ns: u64,
    /// What was told on: the same spans are flagged by several series of their operation.
    pub told: Told,
}

/// Samples that were told on, by what tells one from another.
#[derive(Default)]
pub struct Told(HashSet<(UnixNanos, u32, ThreadState, Option<SpanId>)>);

impl Told {
    /// Those that were not told before.
    fn new_ones(&mut self, samples: Vec<Sample>) -> Vec<Sample> {
        if self.0.len() > TOLD_MAX {
            self.0.clear();
        }
        samples.into_iter().filter(|sample| self.0.insert((sample.at, sample.tid, sample.state, sample.span_id))).collect()
    }
}

impl Answerer {
    /// Answers until the brain can ask no more, and `also` whom else it is asked by. Blocks now and then: wants a thread of
    /// its own.
    pub async fn run(mut self, mut requests: mpsc::Receiver<StackRequest>, mut also: mpsc::Receiver<Asked>) {
        let mut later: VecDeque<Later> = VecDeque::new();
        loop {
            let due = later.front().map(|next| next.at);
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => later.extend(self.first(request).await),
                    None => break,
                },
                Some(Asked { request, reply }) = also.recv() => {
                    let found = self.find(&request);
                    self.tell_on(found.own, &found.tenant).await;
                    // Who has gone meanwhile wants no answer.
                    let _ = reply.send(found.answer);
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(next) = later.pop_front() {
                        self.again(next).await;
                    }
                }
            }
            while later.len() > LATER_MAX {
                metrics::counter!("geophone_stack_requests_dropped_total", "reason" => "second_look").increment(1);
                later.pop_front();
            }
        }
        if let Some(export) = &self.export {
            export.close();
        }
    }

    fn find(&mut self, request: &StackRequest) -> Found {
        let begun = Instant::now();
        let found = self.sources.find(request);
        metrics::histogram!("geophone_stack_answer_seconds").record(begun.elapsed().as_secs_f64());
        found
    }

    async fn first(&mut self, request: StackRequest) -> Option<Later> {
        if !self.sources.has_any() {
            return None;
        }
        metrics::counter!("geophone_stack_requests_total").increment(1);
        let Found { answer, own, tenant } = self.find(&request);
        self.tell(answer.clone()).await;
        self.tell_on(own, &tenant).await;
        let is_sure = answer.stacks.as_ref().is_some_and(|stacks| stacks.link == LinkClass::Span && stacks.spans == stacks.spans_flagged);
        (!is_sure && self.sources.may_grow()).then(|| Later { at: Instant::now() + SECOND_LOOK, request, before: answer })
    }

    async fn again(&mut self, Later { request, before, .. }: Later) {
        let Found { answer, own, tenant } = self.find(&request);
        if rank(&answer) < rank(&before) {
            self.tell(answer).await;
            self.tell_on(own, &tenant).await;
        }
    }

    async fn tell(&self, answer: StackAnswer) {
        // Kept before it is told of, so that the links of the answer lead somewhere.
        if answer.stacks.is_some()
            && let Err(error) = self
                .shelf
                .keep(&answer.anomaly_id, Side::Flagged, &answer.folded_text)
                .and_then(|()| self.shelf.keep(&answer.anomaly_id, Side::Normal, &answer.baseline_text))
        {
            metrics::counter!("geophone_stack_texts_lost_total").increment(1);
            tracing::error!("{error}");
        }
        if self.submitter.submit(RecordBody::Stacks(Box::new(answer))).await.is_err() {
            metrics::counter!("geophone_stack_answers_lost_total").increment(1);
        }
    }

    /// The samples as profiles with links, into the table and out to whoever wants them.
    async fn tell_on(&mut self, samples: Vec<Sample>, tenant: &Tenant) {
        let samples = self.told.new_ones(samples);
        for samples in samples.chunks(SAMPLES_MAX) {
            let request = ExportRequest::Profiles(output::otlp(samples, self.period_ns));
            if let Some(export) = &self.export {
                // What does not fit is counted there.
                export.push(&request);
            }
            let wire: Bytes = request.encode();
            let export = Export { tenant: tenant.clone(), signal: Signal::Profiles, transport: Transport::Own, wire, decoded: None };
            if self.submitter.submit(RecordBody::Batch(export)).await.is_err() {
                metrics::counter!("geophone_stack_profiles_lost_total").increment(samples.len() as u64);
            }
        }
    }
}
