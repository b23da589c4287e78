//! Export requests whose rows can be told apart afterwards. Not a load generator (`geophone gen` is).

use geophone_proto::otlp::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

/// One `service.name` attribute.
pub fn service(name: &str) -> Resource {
    let value = Some(AnyValue { value: Some(Value::StringValue(name.into())) });
    Resource { attributes: vec![KeyValue { key: "service.name".into(), value, ..KeyValue::default() }], ..Resource::default() }
}

/// A request of `spans` root spans of `service_name`, ending at `end_ns`; ids follow from `number`.
pub fn traces(service_name: &str, number: u64, spans: u64, end_ns: u64) -> Vec<u8> {
    let span = |index: u64| {
        let mut trace_id = number.to_be_bytes().to_vec();
        trace_id.extend((index + 1).to_be_bytes());
        Span {
            trace_id,
            span_id: (number * 1000 + index + 1).to_be_bytes().to_vec(),
            name: "GET /".into(),
            kind: 2,
            start_time_unix_nano: end_ns - 5_000_000,
            end_time_unix_nano: end_ns,
            ..Span::default()
        }
    };
    let scope_spans =
        vec![ScopeSpans { scope: Some(InstrumentationScope::default()), spans: (0..spans).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(service(service_name)), scope_spans, ..ResourceSpans::default() }],
    }
    .encode_to_vec()
}
