//! A service that turns slow in one function, and a profiler of another make beside it.

use geophone_proto::otlp::{
    collector::{profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    profiles::v1development::{
        Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles,
        Stack, ValueType,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use geophone_tests::server::{Server, agent};
use prost::Message;
use std::ops::Range;

/// Event time begins at 2026-01-01 10:00 UTC.
const START_NS: u64 = 1_767_261_600_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
const SPANS_A_SECOND: u64 = 4;
/// From this second on it is slow.
pub const SLOW_FROM: u64 = 1_500;
/// What the profiler takes a sample of.
const PERIOD_NS: u64 = 4 * MILLISECOND_NS;

/// One request of a customer.
pub struct Call {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub start_ns: u64,
    pub length_ns: u64,
    pub is_slow: bool,
}

/// Who sends.
pub struct Service {
    pub name: &'static str,
    pub pid: u32,
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn place(pid: u32) -> Vec<KeyValue> {
    vec![attribute("process.pid", Value::IntValue(pid.into())), attribute("host.name", Value::StringValue("node-1".into()))]
}

fn post(server: &Server, path: &str, body: &[u8]) {
    let request = agent().post(format!("http://{}{path}", server.otlp_http)).header("content-type", "application/x-protobuf");
    assert_eq!(request.send(body).expect("every export has an answer").status().as_u16(), 200);
}

impl Service {
    /// What it does in these seconds.
    pub fn calls(&self, seconds: Range<u64>) -> Vec<Call> {
        let numbers = seconds.start * SPANS_A_SECOND..seconds.end * SPANS_A_SECOND;
        let call = |number: u64| {
            let is_slow = number >= SLOW_FROM * SPANS_A_SECOND;
            // Some are a little longer than others.
            let odd = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
            let mut trace_id = [self.pid as u8; 16];
            trace_id[8..].copy_from_slice(&number.to_be_bytes());
            Call {
                trace_id,
                span_id: (u64::from(self.pid) << 32 | (number + 1)).to_be_bytes(),
                start_ns: START_NS + number * 1_000 * MILLISECOND_NS / SPANS_A_SECOND,
                length_ns: (if is_slow { 60 } else { 8 }) * MILLISECOND_NS + odd,
                is_slow,
            }
        };
        numbers.map(call).collect()
    }

    /// Its spans, as an SDK sends them.
    pub fn send(&self, server: &Server, calls: &[Call]) {
        let span = |call: &Call| Span {
            trace_id: call.trace_id.to_vec(),
            span_id: call.span_id.to_vec(),
            name: "POST /checkout".into(),
            kind: 2,
            start_time_unix_nano: call.start_ns,
            end_time_unix_nano: call.start_ns + call.length_ns,
            ..Span::default()
        };
        let mut attributes = place(self.pid);
        attributes.push(attribute("service.name", Value::StringValue(self.name.into())));
        let scope_spans = vec![ScopeSpans { spans: calls.iter().map(span).collect(), ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let request =
            ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }] };
        post(server, "/v1/traces", &request.encode_to_vec());
    }

    /// Its profile, as the OpenTelemetry eBPF profiler sends it: counts of samples with their times, the process named
    /// by its number; with or without links.
    pub fn send_profile(&self, server: &Server, calls: &[Call], with_links: bool) {
        let mut links = vec![Link { trace_id: vec![0; 16], span_id: vec![0; 8] }];
        let mut samples = Vec::new();
        for call in calls {
            if with_links {
                links.push(Link { trace_id: call.trace_id.to_vec(), span_id: call.span_id.to_vec() });
            }
            let link_index = if with_links { i32::try_from(links.len() - 1).expect("few") } else { 0 };
            let times: Vec<u64> = (0..call.length_ns / PERIOD_NS).map(|tick| call.start_ns + tick * PERIOD_NS + 1).collect();
            // The first two in what it always does, the others in what is slow.
            let (usual, slow) = times.split_at(2.min(times.len()));
            for (stack_index, times) in [(1, usual), (2, slow)].into_iter().filter(|(_, times)| !times.is_empty()) {
                samples.push(Sample {
                    stack_index,
                    link_index,
                    attribute_indices: vec![1],
                    timestamps_unix_nano: times.to_vec(),
                    ..Sample::default()
                });
            }
        }
        let time = calls.first().map_or(0, |call| call.start_ns);
        let profile = Profile {
            sample_type: Some(ValueType { type_strindex: 1, unit_strindex: 2 }),
            period_type: Some(ValueType { type_strindex: 3, unit_strindex: 4 }),
            period: i64::try_from(PERIOD_NS).expect("small"),
            samples,
            time_unix_nano: time,
            duration_nano: calls.last().map_or(0, |call| call.start_ns + call.length_ns - time),
            profile_id: time.to_be_bytes().repeat(2),
            ..Profile::default()
        };
        let request = ExportProfilesServiceRequest {
            resource_profiles: vec![ResourceProfiles {
                resource: Some(Resource { attributes: place(self.pid), ..Resource::default() }),
                scope_profiles: vec![ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() }],
                ..ResourceProfiles::default()
            }],
            dictionary: Some(dictionary(links)),
        };
        post(server, "/v1development/profiles", &request.encode_to_vec());
    }
}

fn dictionary(link_table: Vec<Link>) -> ProfilesDictionary {
    let location = |function| Location { lines: vec![Line { function_index: function, ..Line::default() }], ..Location::default() };
    let thread = Some(AnyValue { value: Some(Value::IntValue(77)) });
    ProfilesDictionary {
        string_table: ["", "samples", "count", "cpu", "nanoseconds", "serve", "add_up_basket", "try_every_voucher", "thread.id"]
            .map(str::to_owned)
            .to_vec(),
        mapping_table: vec![Mapping::default()],
        function_table: [0, 5, 6, 7].map(|name| Function { name_strindex: name, ..Function::default() }).to_vec(),
        location_table: vec![Location::default(), location(1), location(2), location(3)],
        stack_table: vec![
            Stack::default(),
            Stack { location_indices: vec![2, 1] },
            // The innermost comes first.
            Stack { location_indices: vec![3, 2, 1] },
        ],
        link_table,
        attribute_table: vec![KeyValueAndUnit::default(), KeyValueAndUnit { key_strindex: 8, value: thread, unit_strindex: 0 }],
    }
}
