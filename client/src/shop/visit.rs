//! One customer's request on its way through the services: spans, logs and counts.
//!
//! Time is additive: a span lasts its own stretches of work plus its children plus the network.

use super::{
    floor::{OPERATIONS, SERVICES, STATEMENTS, Step},
    simulation::Shop,
    words,
};
use geophone_proto::otlp::{
    logs::v1::LogRecord,
    trace::v1::{
        Span, Status,
        span::{Event, SpanKind},
        status::StatusCode,
    },
};

/// Where in a trace we are.
#[derive(Clone, Copy)]
pub(super) struct Place {
    trace: [u8; 16],
    parent: [u8; 8],
    /// What the request is about; shows in paths.
    number: u64,
    remote: bool,
}

/// How a call came out.
#[derive(Clone, Copy)]
struct Served {
    end: u64,
    failed: bool,
}

/// Why a request went well or not.
#[derive(Clone, Copy)]
enum Fate {
    Well,
    /// It failed of itself.
    Fails,
    /// A call to this operation failed, and that could not be survived.
    Broken(usize),
}

/// A span in the making.
struct Draft<'a> {
    place: Place,
    id: [u8; 8],
    kind: SpanKind,
    name: &'a str,
    start: u64,
    end: u64,
    failure: Option<&'a str>,
}

impl Shop {
    /// A customer asks for an entry operation at this moment.
    pub(super) fn visit(&mut self, operation: usize, at: u64) {
        let place = Place { trace: self.draw.id16(), parent: [0; 8], number: self.draw.bits() >> 20, remote: false };
        self.serve(operation, at, place);
    }

    fn serve(&mut self, operation: usize, start: u64, place: Place) -> Served {
        let spec = &OPERATIONS[operation];
        let id = self.draw.id8();
        let own = self.own_time(operation, start);
        let stretches = spec.steps.len() + 1;
        let mut shares: Vec<f64> = (0..stretches).map(|_| self.draw.between(0.5, 1.5)).collect();
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share *= own / total);
        let inside = Place { parent: id, remote: false, ..place };
        let mut at = start + shares[0] as u64;
        if let Some(name) = spec.inner {
            let inner = self.draw.id8();
            let draft = Draft { place: inside, id: inner, kind: SpanKind::Internal, name, start: start + 20_000, end: at, failure: None };
            self.push(spec.service, draft, Vec::new());
        }
        let mut broken = None;
        for (step, share) in spec.steps.iter().zip(&shares[1..]) {
            if let Some((served, optional, callee)) = self.step(step, at, inside, spec.service) {
                at = served.end;
                if served.failed && !optional {
                    broken = Some(callee);
                }
            }
            at += *share as u64;
            if broken.is_some() {
                break;
            }
        }
        let fate = match broken {
            Some(callee) => Fate::Broken(callee),
            None if self.draw.chance(self.trouble.error_share(operation, start)) => Fate::Fails,
            None => Fate::Well,
        };
        self.finish(operation, (start, at), (place, id), fate);
        Served { end: at, failed: !matches!(fate, Fate::Well) }
    }

    /// Span, counters and log lines of a served request.
    fn finish(&mut self, operation: usize, span: (u64, u64), at: (Place, [u8; 8]), fate: Fate) {
        let spec = &OPERATIONS[operation];
        let ((start, end), (place, id)) = (span, at);
        let seconds = end.saturating_sub(start) as f64 / 1e9;
        self.staff[spec.service].meters.served(operation, !matches!(fate, Fate::Well), seconds);
        let (mut error, mut events, mut line) = (None, Vec::new(), None);
        match fate {
            Fate::Fails => {
                let (kind, sentence) = words::failure(operation, &mut self.draw);
                events.push(Event {
                    time_unix_nano: end.saturating_sub(50_000),
                    name: "exception".to_owned(),
                    attributes: vec![words::text("exception.type", kind), words::text("exception.message", sentence.as_str())],
                    ..Event::default()
                });
                line = Some(words::line(17, sentence.clone(), end));
                error = Some(sentence);
            }
            Fate::Broken(callee) => {
                let sentence = format!("call to {} failed: {}", SERVICES[OPERATIONS[callee].service].name, words::rpc_status(true));
                line = Some(words::line(17, format!("{sentence} after {:.0} ms", seconds * 1e3), end));
                error = Some(sentence);
            }
            Fate::Well => {
                let text = words::info(operation, seconds * 1e3, place.number, &mut self.draw);
                line = text.map(|text| words::line(9, text, end)).or(line);
            }
        }
        if let Some(line) = line {
            let record = LogRecord { trace_id: place.trace.to_vec(), span_id: id.to_vec(), ..line };
            self.staff[spec.service].outbox.log(record);
        }
        let attributes = words::server_attributes(spec, error.is_some(), place.number);
        let draft = Draft { place, id, kind: SpanKind::Server, name: spec.name, start, end, failure: error.as_deref() };
        let mut span = self.draft(draft, attributes);
        span.events = events;
        self.staff[spec.service].outbox.span(span);
    }

    /// Does one step, if it is taken: how it came out, whether a failure is survived, and who was called.
    fn step(&mut self, step: &Step, at: u64, place: Place, caller: usize) -> Option<(Served, bool, usize)> {
        match *step {
            Step::Call { to, chance, optional } => {
                let left = self.trouble.calls_left(OPERATIONS[to].service, at);
                (self.draw.chance(chance) && (left >= 1.0 || self.draw.chance(left))).then(|| {
                    let served = self.call(to, at, place, caller);
                    (served, optional, to)
                })
            }
            Step::Query { statement, chance } => self.draw.chance(chance).then(|| {
                let end = self.query(statement, at, place, caller);
                (Served { end, failed: false }, true, 0)
            }),
        }
    }

    fn call(&mut self, to: usize, start: u64, place: Place, caller: usize) -> Served {
        let id = self.draw.id8();
        let there = self.draw.lognormal(450_000.0, 0.35) as u64;
        let back = self.draw.lognormal(350_000.0, 0.35) as u64;
        let served = self.serve(to, start + there, Place { parent: id, remote: true, ..place });
        let end = served.end + back;
        let callee = &OPERATIONS[to];
        let name = words::client_name(callee);
        let failure = served.failed.then_some("the callee answered with an error");
        let draft = Draft { place, id, kind: SpanKind::Client, name: &name, start, end, failure };
        self.push(caller, draft, words::client_attributes(callee, served.failed, place.number));
        Served { end, failed: served.failed }
    }

    fn query(&mut self, statement: usize, start: u64, place: Place, caller: usize) -> u64 {
        let spec = &STATEMENTS[statement];
        let id = self.draw.id8();
        let rare = if self.draw.chance(0.002) { self.draw.between(3.0, 8.0) } else { 1.0 };
        let took = self.draw.lognormal(spec.median_ms, 0.4) * self.trouble.statement_slowness(statement, start) * rare;
        let end = start + (took * 1e6) as u64;
        let draft = Draft { place, id, kind: SpanKind::Client, name: spec.name, start, end, failure: None };
        self.push(caller, draft, words::query_attributes(spec));
        end
    }

    /// Nanoseconds that an operation works itself: its nature, the noise of a normal day, and trouble.
    fn own_time(&mut self, operation: usize, at: u64) -> f64 {
        let spec = &OPERATIONS[operation];
        let normal = self.draw.lognormal(spec.own_ms * self.floor.pace[operation], 0.3);
        self.staff[spec.service].meters.worked(normal * 0.6e-3);
        let rare = if self.draw.chance(0.003) { self.draw.between(3.0, 8.0) } else { 1.0 };
        let mut own = normal * rare * self.trouble.slowness(operation, at) + self.pause_ms(spec.service, at);
        if let Some(leak) = self.trouble.leak(spec.service, at) {
            // Garbage is collected ever more often: slower work, then pauses.
            own *= 1.0 + leak.excess.min(2.0) * 0.5;
            if self.draw.chance((leak.excess * 0.12).min(0.25)) {
                own += self.draw.between(60.0, 300.0);
            }
        }
        own * 1e6
    }

    /// What is left of a service's short pause (garbage, scheduler), if one is on.
    fn pause_ms(&mut self, service: usize, at: u64) -> f64 {
        let (mut from, mut to) = self.staff[service].pause;
        while to < at {
            from = to + (self.draw.exponential(240.0).max(30.0) * 1e9) as u64;
            to = from + (self.draw.between(30.0, 120.0) * 1e6) as u64;
        }
        self.staff[service].pause = (from, to);
        if at >= from { to.saturating_sub(at) as f64 / 1e6 } else { 0.0 }
    }

    fn push(&mut self, service: usize, draft: Draft<'_>, attributes: Vec<geophone_proto::otlp::common::v1::KeyValue>) {
        let span = self.draft(draft, attributes);
        self.staff[service].outbox.span(span);
    }

    fn draft(&self, draft: Draft<'_>, attributes: Vec<geophone_proto::otlp::common::v1::KeyValue>) -> Span {
        let root = draft.place.parent == [0; 8];
        let status = draft.failure.map(|message| Status { message: message.to_owned(), code: StatusCode::Error as i32 });
        Span {
            trace_id: draft.place.trace.to_vec(),
            span_id: draft.id.to_vec(),
            parent_span_id: if root { Vec::new() } else { draft.place.parent.to_vec() },
            // Sampled; whether the parent is remote is known.
            flags: 0x101 | if draft.place.remote { 0x200 } else { 0 },
            name: draft.name.to_owned(),
            kind: draft.kind as i32,
            start_time_unix_nano: draft.start,
            end_time_unix_nano: draft.end.max(draft.start + 1),
            attributes,
            status: Some(status.unwrap_or_default()),
            ..Span::default()
        }
    }
}
