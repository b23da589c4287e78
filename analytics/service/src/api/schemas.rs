//! Shapes of the API's answers, as the OpenAPI document gives them. A test holds them against real values.

use serde_json::{Map, Value, json};

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn flag_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn form() -> Value {
    flag_of(&["folded", "pprof", "svg", "otlp"])
}

fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn labels() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

/// An object whose properties are all present.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> = properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "required": names, "properties": properties})
}

fn page_of(item: &str) -> Value {
    object(&[("items", list(named(item))), ("next_cursor", or_null(text()))])
}

fn states() -> Value {
    flag_of(&["open", "closed"])
}

fn incident(more: &[(&str, Value)]) -> Value {
    let suspect = object(&[("service", text()), ("operation", text()), ("confidence", number()), ("evidence", list(text()))]);
    let event = object(&[("at", time()), ("event", text()), ("detail", text())]);
    let own = [
        ("id", text()),
        ("tenant", text()),
        ("state", states()),
        ("started_at", time()),
        ("opened_at", time()),
        ("closed_at", or_null(time())),
        ("severity", flag_of(&["info", "warning", "critical"])),
        ("title", text()),
        ("verdict", text()),
        ("suspects", list(suspect)),
        ("anomalies", list(text())),
        ("actions", list(text())),
        ("services", list(text())),
        ("attributes", list(object(&[("anomaly_id", text()), ("score", number()), ("attribute", attribute())]))),
        ("maturity", maturity()),
        ("timeline", list(event)),
    ];
    object(&own.iter().chain(more).cloned().collect::<Vec<_>>())
}

/// What became of an incident's alert at one receiver.
fn delivery() -> Value {
    object(&[
        ("kind", flag_of(&["alertmanager", "webhook"])),
        ("receiver", text()),
        ("state", flag_of(&["pending", "firing", "resolved", "refused"])),
        ("sent_at", or_null(time())),
        ("error", or_null(text())),
        ("receiver_state", or_null(text())),
        ("silenced_by", list(text())),
        ("inhibited_by", list(text())),
    ])
}

fn series(more: &[(&str, Value)]) -> Value {
    let own = [("key", text()), ("tenant", text()), ("service", text()), ("name", text()), ("kind", text()), ("labels", labels())];
    object(&own.iter().chain(more).cloned().collect::<Vec<_>>())
}

fn maturity() -> Value {
    flag_of(&["learning", "provisional", "calibrated"])
}

fn stacks() -> Value {
    let function = object(&[
        ("function", text()),
        ("file", text()),
        ("line", count()),
        ("state", flag_of(&["on_cpu", "blocked", "waiting"])),
        ("self_ns", count()),
        ("total_ns", count()),
        ("baseline_total_ns", count()),
    ]);
    let culprit = object(&[
        ("function", text()),
        ("file", text()),
        ("line", count()),
        ("excess_ns", count()),
        ("on_cpu_ns", count()),
        ("blocked_ns", count()),
        ("waiting_ns", count()),
    ]);
    object(&[
        ("link", flag_of(&["span", "thread", "process", "service"])),
        ("spans_flagged", count()),
        ("spans", count()),
        ("samples", count()),
        ("on_cpu_ns", count()),
        ("blocked_ns", count()),
        ("waiting_ns", count()),
        ("culprit", or_null(culprit)),
        ("top", list(function)),
        ("folded", text()),
        ("pprof", text()),
    ])
}

fn span_stacks() -> Value {
    let span = object(&[
        ("trace_id", text()),
        ("span_id", text()),
        ("service", text()),
        ("name", text()),
        ("start", time()),
        ("duration_ns", count()),
    ]);
    object(&[("span", span), ("stacks", or_null(stacks())), ("note", text())])
}

fn anomaly() -> Value {
    object(&[
        ("id", text()),
        ("incident_id", or_null(text())),
        ("series", series(&[])),
        ("state", states()),
        ("opened_at", time()),
        ("started_at", time()),
        ("closed_at", or_null(time())),
        ("actual", or_null(number())),
        ("expected", or_null(number())),
        ("lower", or_null(number())),
        ("upper", or_null(number())),
        ("score", number()),
        ("evidence_count", count()),
        ("maturity", maturity()),
        ("raw", or_null(number())),
        ("raw_baseline", or_null(number())),
        ("contributions", list(object(&[("feature", text()), ("value", number())]))),
        ("attributes", list(attribute())),
        ("model", object(&[("name", text()), ("version", text()), ("sha256", text())])),
        ("exemplars", list(object(&[("trace_id", text()), ("span_id", text())]))),
        ("stacks", or_null(stacks())),
    ])
}

fn attribute() -> Value {
    object(&[
        ("key", text()),
        ("value", text()),
        ("source", flag_of(&["row", "resource"])),
        ("share", number()),
        ("baseline_share", number()),
        ("score_without", number()),
        ("outcome", json!({"type": "boolean"})),
    ])
}

fn action() -> Value {
    let states = [
        "dry_run",
        "refused",
        "awaiting_approval",
        "rejected",
        "running",
        "verifying",
        "mended",
        "failed",
        "undoing",
        "undone",
        "escalated",
    ];
    object(&[
        ("id", text()),
        ("incident_id", text()),
        ("policy", text()),
        ("state", flag_of(&states)),
        ("operation", json!({"type": "object"})),
        ("undo", or_null(json!({"type": "object"}))),
        ("reason", text()),
        ("decided_at", time()),
        ("verify_until", or_null(time())),
        ("output", text()),
    ])
}

fn point() -> Value {
    let numbers = ["actual", "expected", "lower", "upper", "score"].map(|name| (name, or_null(number())));
    object(&[vec![("at", time())], numbers.to_vec()].concat())
}

fn topology() -> Value {
    let service = object(&[
        ("name", text()),
        ("health", flag_of(&["ok", "affected", "suspect", "critical"])),
        ("requests_per_second", number()),
        ("series", count()),
        ("incidents", list(text())),
    ]);
    let edge = object(&[("caller", text()), ("callee", text()), ("calls_per_second", number()), ("error_ratio", number())]);
    object(&[("services", list(service)), ("edges", list(edge))])
}

fn traffic_line() -> Value {
    let sums = || object(&[("received", count()), ("acked", count()), ("refused", count()), ("dropped", count()), ("open", count())]);
    let by_reason = || list(json!({"type": "array", "prefixItems": [text(), count()]}));
    object(&[
        ("tenant", text()),
        ("signal", text()),
        ("transport", text()),
        ("items", sums()),
        ("requests", sums()),
        ("packed_bytes", count()),
        ("bytes", count()),
        ("refused_items", by_reason()),
        ("dropped_items", by_reason()),
        ("refused_requests", by_reason()),
    ])
}

fn bytes() -> Value {
    json!({"type": "string", "format": "binary"})
}

fn model() -> Value {
    let latency = || object(&[("calls", count()), ("p50_ms", number()), ("p99_ms", number()), ("row_us", number())]);
    let trial = object(&[
        ("stage", flag_of(&["shadow", "canary", "probation"])),
        ("percent", count()),
        ("against", text()),
        ("since", time()),
        ("windows", count()),
        ("rows", count()),
        ("agreement", or_null(number())),
        ("score_difference", number()),
        ("above_limit", number()),
        ("above_limit_against", number()),
        ("alerts", count()),
        ("alerts_against", count()),
        ("alerts_both", count()),
        ("alerts_added", count()),
        ("alerts_removed", count()),
        ("failures", count()),
        ("latency_against", or_null(latency())),
    ]);
    object(&[
        ("name", text()),
        ("version", text()),
        ("sha256", text()),
        ("state", flag_of(&["active", "shadow", "canary", "retired", "available"])),
        ("runtime", text()),
        ("reason", or_null(text())),
        ("latency", or_null(latency())),
        ("trial", or_null(trial)),
    ])
}

fn profiler() -> Value {
    let process = object(&[
        ("pid", count()),
        ("name", text()),
        ("service", text()),
        ("instance", text()),
        ("thread_context", flag()),
        ("frame_pointers", or_null(flag())),
    ]);
    object(&[("running", flag()), ("note", text()), ("processes", list(process))])
}

/// All shapes by name.
pub fn schemas() -> Value {
    json!({
        "Incident": incident(&[]),
        "IncidentWithAlerts": incident(&[("alerts", list(named("Delivery")))]),
        "Delivery": delivery(),
        "IncidentList": page_of("Incident"),
        "Anomaly": anomaly(),
        "AnomalyList": page_of("Anomaly"),
        "Action": action(),
        "ActionList": page_of("Action"),
        "Series": series(&[("maturity", maturity()), ("last", or_null(named("Point")))]),
        "SeriesList": page_of("Series"),
        "Point": point(),
        "PointList": object(&[
            ("series", series(&[])), ("maturity", maturity()), ("window_ns", count()), ("items", list(named("Point"))), ("next_cursor", or_null(text())),
        ]),
        "Topology": topology(),
        "Traffic": page_of("TrafficLine"),
        "TrafficLine": traffic_line(),
        "Model": model(),
        "ModelFiles": {"type": "object", "required": ["card.toml", "model.onnx", "check.parquet"], "properties": {
            "card.toml": text(), "model.onnx": bytes(), "check.parquet": bytes(),
        }},
        "ModelWish": {"type": "object", "properties": {"version": text(), "percent": count(), "reason": text()}},
        "ModelList": page_of("Model"),
        "ModelCard": {"type": "object"},
        "Question": object(&[("sql", text())]),
        "Answer": object(&[("columns", list(text())), ("rows", list(json!({"type": "array"})))]),
        "Status": {"type": "object"},
        "Object": {"type": "object"},
        "EventStream": {"type": "string"},
        "Text": {"type": "string"},
        "Svg": {"type": "string"},
        "Profiler": profiler(),
        "SpanStacks": span_stacks(),
        "TraceStacks": object(&[("trace_id", text()), ("items", list(span_stacks())), ("is_whole", flag())]),
        "ProfileWish": {"type": "object", "additionalProperties": false, "properties": {
            "pid": count(), "service": text(), "all": flag(), "seconds": number(), "frequency": count(), "off_cpu": flag(), "output": form(),
        }},
        "ProbeWish": {"type": "object", "additionalProperties": false, "required": ["uprobe"], "properties": {
            "uprobe": text(), "pid": count(), "seconds": number(), "output": form(),
        }},
        "Calls": object(&[
            ("uprobe", text()), ("seconds", number()), ("calls", count()), ("mean_ns", count()),
            ("histogram", list(object(&[("from_ns", count()), ("calls", count())]))), ("folded", text()),
        ]),
        "Bytes": {"type": "string", "format": "binary"},
        "Problem": object(&[("type", text()), ("title", text()), ("status", count()), ("detail", text())]),
    })
}
