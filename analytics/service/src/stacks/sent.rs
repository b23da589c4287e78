//! Profiles that others sent by OTLP, as samples of an anomaly's spans: by their links, else by process, service
//! and time. Not here: whose answer is taken (`sources`).

use super::{
    meaning::{Meaning, moments},
    whereabouts::{Home, Whereabouts, number},
};
use crate::wiring::Pulse;
use geophone_profiler_ebpf::{Frame, Sample};
use geophone_proto::{
    Signal, SpanId, TraceId, UnixNanos,
    stacks::{StackRequest, ThreadState, WantedSpan},
};
use geophone_store::Store;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// Samples of one answer at most.
const SAMPLES_MAX: usize = 200_000;
/// Rows of one question; fewer than the store refuses.
const ROWS_MAX: usize = 9_000;
/// A profile is no longer, and its clock no further off.
const AROUND_NS: u64 = 600_000_000_000;
/// What a resource without a name is called.
const NAMELESS: &str = "unknown_service";

const COLUMNS: &str = "time_ns, duration_ns, period_ns, sample_type, unit, value, observations, stack, trace_id, span_id, service, scope, \
                       attributes, resource";

/// See the module.
pub struct Sent {
    store: Arc<Store>,
    pulse: Arc<Pulse>,
    /// Whether the store held profiles at the start; looked up once.
    held: Option<bool>,
}

impl Sent {
    /// Reads this store.
    pub const fn new(store: Arc<Store>, pulse: Arc<Pulse>) -> Self {
        Self { store, pulse, held: None }
    }

    /// Whether anybody ever sent any: spares those who do not the question.
    pub fn has_any(&mut self) -> bool {
        let store = &self.store;
        self.pulse.items(Signal::Profiles) > 0
            || *self.held.get_or_insert_with(|| !rows(store, "SELECT time_ns FROM profiles LIMIT 1").is_empty())
    }

    /// What was sent of these spans: linked to them, or, where none of the flagged ones has a link, of their
    /// processes and service at their times.
    pub fn samples(&self, request: &StackRequest, whereabouts: &Whereabouts) -> Vec<Sample> {
        let Some(linked) = linked(request, whereabouts) else { return Vec::new() };
        let tagged = self.read(&linked, request, whereabouts);
        let is_flagged = |sample: &Sample| request.flagged.iter().any(|span| sample.span_id == Some(span.span_id));
        if tagged.iter().any(is_flagged) { tagged } else { self.read(&by_time(request, whereabouts), request, whereabouts) }
    }

    fn read(&self, sql: &str, request: &StackRequest, whereabouts: &Whereabouts) -> Vec<Sample> {
        let found = rows(&self.store, sql);
        if found.len() >= ROWS_MAX {
            metrics::counter!("geophone_stack_rows_left_out_total", "reason" => "too_many").increment(1);
        }
        let mut samples = Vec::new();
        // Senders send again what they do not know to have arrived.
        let mut known = BTreeSet::new();
        for row in &found {
            let Some(row) = Row::read(row) else { continue };
            if samples.len() < SAMPLES_MAX && known.insert(row.identity()) {
                row.add_to(&mut samples, request, whereabouts);
            }
        }
        samples
    }
}

fn rows(store: &Arc<Store>, sql: &str) -> Vec<Vec<Value>> {
    store.query(sql).map_or_else(
        |error| {
            metrics::counter!("geophone_stack_rows_left_out_total", "reason" => "query_failed").increment(1);
            tracing::warn!("profiles that were sent cannot be read: {error}");
            Vec::new()
        },
        |answer| answer.rows,
    )
}

fn spans(request: &StackRequest) -> impl Iterator<Item = &WantedSpan> {
    request.flagged.iter().chain(&request.baseline)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The question for rows that name the spans.
fn linked(request: &StackRequest, whereabouts: &Whereabouts) -> Option<String> {
    let (from, to) = (spans(request).map(|span| span.start.0).min()?, spans(request).map(|span| span.end.0).max()?);
    let ids: Vec<String> = spans(request).map(|span| quoted(&span.span_id.to_string())).collect();
    let (tenant, from, to) = (tenant(whereabouts), from.saturating_sub(AROUND_NS), to.saturating_add(AROUND_NS));
    let ids = ids.join(", ");
    Some(format!(
        "SELECT {COLUMNS} FROM profiles WHERE tenant = {tenant} AND time_ns >= {from} AND time_ns <= {to} AND span_id IN ({ids}) LIMIT {ROWS_MAX}"
    ))
}

/// The question for rows without a span whose profile was taken while one of the spans ran.
fn by_time(request: &StackRequest, whereabouts: &Whereabouts) -> String {
    let mut ranges: Vec<(u64, u64)> = spans(request).map(|span| (span.start.0, span.end.0)).collect();
    ranges.sort_unstable();
    // Neighbours are one range: fewer comparisons a row.
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1_000_000_000) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let earliest = merged.first().map_or(0, |range| range.0).saturating_sub(AROUND_NS);
    let latest = merged.last().map_or(0, |range| range.1);
    let during: Vec<String> = merged.iter().map(|(from, to)| format!("(time_ns <= {to} AND time_ns + duration_ns >= {from})")).collect();
    let (tenant, service, during) = (tenant(whereabouts), quoted(&request.service), during.join(" OR "));
    format!(
        "SELECT {COLUMNS} FROM profiles WHERE tenant = {tenant} AND time_ns >= {earliest} AND time_ns <= {latest} AND span_id = '' \
         AND (service = {service} OR service LIKE '{NAMELESS}%') AND ({during}) LIMIT {ROWS_MAX}"
    )
}

fn tenant(whereabouts: &Whereabouts) -> String {
    quoted(whereabouts.tenant.as_deref().unwrap_or("default"))
}

/// One row of the table.
struct Row<'a> {
    times: (u64, u64),
    period_ns: u64,
    value: i64,
    text: [&'a str; 8],
    attributes: &'a Value,
    resource: &'a Value,
}

/// Places in `Row::text`.
const KIND: usize = 0;
const UNIT: usize = 1;
const OBSERVATIONS: usize = 2;
const STACK: usize = 3;
const TRACE: usize = 4;
const SPAN: usize = 5;
const SERVICE: usize = 6;
const SCOPE: usize = 7;

impl<'a> Row<'a> {
    fn read(row: &'a [Value]) -> Option<Self> {
        let [time, duration, period, kind, unit, value, observations, stack, trace, span, service, scope, attributes, resource] = row
        else {
            return None;
        };
        let texts = [kind, unit, observations, stack, trace, span, service, scope];
        Some(Self {
            times: (time.as_u64()?, duration.as_u64().unwrap_or(0)),
            period_ns: period.as_u64().unwrap_or(0),
            value: value.as_i64()?,
            text: texts.map(|text| text.as_str().unwrap_or_default()),
            attributes,
            resource,
        })
    }

    /// Two rows with the same are one that came twice.
    fn identity(&self) -> (u64, i64, [&'a str; 8], u32, u32) {
        let thread = number(self.attributes, "thread.id").unwrap_or(0);
        (self.times.0, self.value, self.text, thread, Home::of(self.resource, self.attributes).pid)
    }

    fn add_to(&self, samples: &mut Vec<Sample>, request: &StackRequest, whereabouts: &Whereabouts) {
        let left_out = |reason: &'static str| metrics::counter!("geophone_stack_rows_left_out_total", "reason" => reason).increment(1);
        let Some(meaning) = Meaning::of(self.text[KIND], self.text[UNIT], self.period_ns) else { return left_out("sample_type") };
        let tag = TraceId::from_hex(self.text[TRACE]).zip(SpanId::from_hex(self.text[SPAN]));
        let Some(home) = self.home(request, whereabouts, tag.is_some()) else { return left_out("foreign_process") };
        let frame = |name: &str| Frame { function: name.to_owned(), ..Frame::default() };
        let sample = Sample {
            at: UnixNanos(0),
            weight_ns: 0,
            state: meaning.state,
            service: request.service.clone(),
            instance: home.instance,
            process: self.process(),
            pid: home.pid,
            tid: number(self.attributes, "thread.id").unwrap_or(0),
            trace_id: tag.map(|tag| tag.0),
            span_id: tag.map(|tag| tag.1),
            stack: self.text[STACK].split(';').filter(|name| !name.is_empty()).map(frame).collect(),
        };
        for (at, weight_ns) in moments(meaning, self.value, self.times, self.text[OBSERVATIONS]) {
            // Others note when a sleep ended, we its middle.
            let ended = meaning.state != ThreadState::OnCpu && self.text[SCOPE] != "geophone";
            let at = UnixNanos(if ended { at.saturating_sub(weight_ns / 2) } else { at });
            samples.push(Sample { at, weight_ns, ..sample.clone() });
        }
    }

    /// Where it was taken, in the words of the spans; none where that is somewhere else.
    fn home(&self, request: &StackRequest, whereabouts: &Whereabouts, is_tagged: bool) -> Option<Home> {
        let mut home = Home::of(self.resource, self.attributes);
        let same = |span: &&Home| home.shares_container(span) || home.pid != 0 && home.pid == span.pid && home.may_be(span);
        if let Some(span) = whereabouts.homes.iter().find(same) {
            // Inside a container its processes have other numbers.
            home.pid = span.pid;
            home.instance.clone_from(&span.instance);
            return Some(home);
        }
        // Equal numbers on different machines are different processes.
        home.pid = 0;
        (is_tagged || self.text[SERVICE] == request.service).then_some(home)
    }

    fn process(&self) -> String {
        let found = ["process.executable.name", "process.executable.path", "process.command"]
            .into_iter()
            .find_map(|name| self.resource.get(name).or_else(|| self.attributes.get(name))?.as_str());
        let named = found.map_or(self.text[SERVICE], |path| path.rsplit('/').next().unwrap_or(path));
        if named.is_empty() { "process".to_owned() } else { named.to_owned() }
    }
}

#[cfg(test)]
#[path = "sent_tests.rs"]
mod tests;
