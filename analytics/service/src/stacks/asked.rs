//! Stacks of a span that somebody asks for, flagged or not: it and normal spans of its operation are looked up in the
//! store, and whoever answers the brain answers this. Not here: routes (`api/spans`).

use geophone_proto::{
    SpanId, TraceId, UnixNanos,
    stacks::{StackAnswer, StackRequest, WantedSpan},
};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

/// Spans of the operation that are looked at, the faster half of which is what is normal.
const NEIGHBOURS_MAX: usize = 256;
/// Normal spans of one question.
const NORMAL_MAX: usize = 64;
/// They began so long before the span at most: further back nothing is recorded.
const BEFORE_NS: u64 = 600_000_000_000;
/// And so long after it.
const AFTER_NS: u64 = 60_000_000_000;
/// Spans of a trace that are asked about.
pub const OF_TRACE_MAX: usize = 50;

const COLUMNS: &str = "trace_id, span_id, tenant, service, name, start_ns, duration_ns";

/// A question on its way to who answers.
#[derive(Debug)]
pub struct Asked {
    /// Of one span, and of normal ones.
    pub request: StackRequest,
    /// The way back.
    pub reply: oneshot::Sender<StackAnswer>,
}

/// A span as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredSpan {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Whose.
    #[serde(skip)]
    tenant: String,
    /// `service.name`.
    pub service: String,
    /// Its operation.
    pub name: String,
    /// When it began.
    pub start: UnixNanos,
    /// How long it took.
    pub duration_ns: u64,
}

impl StoredSpan {
    fn read(row: &[Value]) -> Option<Self> {
        let [trace, span, tenant, service, name, start, duration] = row else { return None };
        Some(Self {
            trace_id: TraceId::from_hex(trace.as_str()?)?,
            span_id: SpanId::from_hex(span.as_str()?)?,
            tenant: tenant.as_str().unwrap_or_default().to_owned(),
            service: service.as_str()?.to_owned(),
            name: name.as_str()?.to_owned(),
            start: UnixNanos(start.as_u64()?),
            duration_ns: duration.as_u64()?,
        })
    }

    fn wanted(&self) -> WantedSpan {
        WantedSpan { trace_id: self.trace_id, span_id: self.span_id, start: self.start, end: self.start.plus(self.duration_ns) }
    }

    /// The question for other spans of its operation.
    pub fn neighbours(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let (service, name, tenant) = (quoted(&self.service), quoted(&self.name), quoted(&self.tenant));
        let (from, to) = (self.start.minus(BEFORE_NS), self.start.plus(AFTER_NS));
        format!(
            "SELECT {COLUMNS} FROM spans WHERE service = {service} AND name = {name} AND tenant = {tenant} AND span_id <> '{}' \
             AND start_ns >= {} AND start_ns <= {} ORDER BY start_ns DESC LIMIT {NEIGHBOURS_MAX}",
            self.span_id, from.0, to.0
        )
    }

    /// What is asked: of neighbours the faster half is what is normal.
    pub fn request(&self, mut neighbours: Vec<Self>) -> StackRequest {
        neighbours.sort_by_key(|span| span.duration_ns);
        let normal = neighbours.len().div_ceil(2).min(NORMAL_MAX);
        StackRequest {
            anomaly_id: format!("span-{}", self.span_id),
            service: self.service.clone(),
            instance: String::new(),
            flagged: vec![self.wanted()],
            baseline: neighbours[..normal].iter().map(Self::wanted).collect(),
            places: Vec::new(),
        }
    }
}

/// The question for one span.
pub fn of_span(id: SpanId) -> String {
    format!("SELECT {COLUMNS} FROM spans WHERE span_id = '{id}' LIMIT 1")
}

/// The question for the spans of a trace, the longest first; one more than is asked about.
pub fn of_trace(id: TraceId) -> String {
    format!("SELECT {COLUMNS} FROM spans WHERE trace_id = '{id}' ORDER BY duration_ns DESC LIMIT {}", OF_TRACE_MAX + 1)
}

/// Rows of these questions.
pub fn spans(rows: &[Vec<Value>]) -> Vec<StoredSpan> {
    rows.iter().filter_map(|row| StoredSpan::read(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn span(number: u8, duration_ns: u64) -> StoredSpan {
        let row = [json!("ab".repeat(16)), json!(format!("{number:016x}")), json!("default"), json!("car's"), json!("GET /"), json!(9_000)];
        spans(&[[&row[..], &[json!(duration_ns)]].concat()]).pop().expect("a whole row")
    }

    #[test]
    fn the_faster_half_of_its_operation_is_what_is_normal() {
        let request = span(1, 900).request((2..8).map(|number| span(number, u64::from(10 - number) * 100)).collect());
        assert_eq!((request.flagged.len(), request.flagged[0].end.0), (1, 9_900));
        let lengths: Vec<u64> = request.baseline.iter().map(|span| span.end.0 - span.start.0).collect();
        assert_eq!(lengths, [300, 400, 500]);
        assert!(span(1, 1).request(Vec::new()).baseline.is_empty());
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let sql = span(1, 1).neighbours();
        assert!(sql.contains("service = 'car''s'") && sql.contains("span_id <> '0000000000000001'"), "{sql}");
        assert!(spans(&[vec![json!("rubbish")], vec![json!(null); 7]]).is_empty());
    }
}
