//! Where spans ran, as their attributes say: read from the store before the recorder is asked, because the
//! brain decodes no attributes on the hot path.

use geophone_profiler_ebpf::LiveSource;
use geophone_proto::{
    SpanId,
    seam::{SeamError, StackSource},
    stacks::{SpanPlace, StackAnswer, StackRequest},
};
use geophone_store::Store;
use serde_json::Value;
use std::sync::Arc;

/// The recorder, asked with the places of spans filled in.
pub struct PlacedSource {
    source: LiveSource,
    store: Arc<Store>,
}

impl PlacedSource {
    /// Reads places from this store.
    pub const fn new(source: LiveSource, store: Arc<Store>) -> Self {
        Self { source, store }
    }
}

impl StackSource for PlacedSource {
    fn stacks(&mut self, request: &StackRequest) -> Result<StackAnswer, SeamError> {
        let Some(sql) = question(request) else { return self.source.stacks(request) };
        let places = match self.store.query(&sql) {
            Ok(rows) => rows.rows.iter().filter_map(|row| place(row)).collect(),
            Err(error) => {
                // Links by thread and process are lost, tags are not.
                metrics::counter!("geophone_stack_places_failed_total").increment(1);
                tracing::warn!("where the spans ran is unknown: {error}");
                Vec::new()
            }
        };
        self.source.stacks(&StackRequest { places, ..request.clone() })
    }
}

/// Attributes of the request's spans; the range of time spares the store most of its files.
fn question(request: &StackRequest) -> Option<String> {
    let spans = || request.flagged.iter().chain(&request.baseline);
    let (from, to) = (spans().map(|span| span.start.0).min()?, spans().map(|span| span.start.0).max()?);
    let ids: Vec<String> = spans().map(|span| format!("'{}'", span.span_id)).collect();
    Some(format!(
        "SELECT span_id, attributes, resource FROM spans WHERE start_ns >= {from} AND start_ns <= {to} AND span_id IN ({})",
        ids.join(", ")
    ))
}

fn place(row: &[Value]) -> Option<SpanPlace> {
    let [span_id, attributes, resource] = row else { return None };
    let number = |of: &Value, name: &str| {
        let value = of.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).and_then(|number| u32::try_from(number).ok())
    };
    let place = SpanPlace {
        span_id: SpanId::from_hex(span_id.as_str()?)?,
        pid: number(resource, "process.pid").or_else(|| number(attributes, "process.pid")).unwrap_or(0),
        tid: number(attributes, "thread.id").unwrap_or(0),
        instance: resource.get("service.instance.id").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    (place.pid != 0 || !place.instance.is_empty()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attributes_say_where_a_span_ran() {
        let row = |attributes, resource| place(&[json!("0102030405060708"), attributes, resource]);
        let found = row(json!({"thread.id": 7}), json!({"process.pid": "12", "service.instance.id": "a"})).expect("known");
        assert_eq!((found.pid, found.tid, found.instance.as_str()), (12, 7, "a"));
        assert_eq!(row(json!({"thread.id": 7}), json!({})), None, "a thread of nobody");
        assert_eq!(row(json!(null), json!({"process.pid": -1})), None);
    }
}
