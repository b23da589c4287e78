//! Scenario: the same profiles in the forms of 1.9 and 1.10, broken ones, and random fields.
//! Guarantees: equal rows from both forms; the old form is noticed; a broken profile costs no neighbour;
//! nothing panics.

use crate::walk::{Walked, walk};
use bytes::Bytes;
use geophone_proto::{
    Columns, Signal, Tenant, UnixNanos, attributes,
    columns::Samples,
    otlp::{
        common::v1::{AnyValue, KeyValue, any_value::Value},
        profiles::v1development::{Function, KeyValueAndUnit, Line, Link, Location, Mapping, ProfilesDictionary, Stack, ValueType},
        resource::v1::Resource,
    },
};
use proptest::prelude::*;
use prost::Message;

/// `Sample` as 1.9 has it.
#[derive(Clone, PartialEq, Message)]
struct Old {
    #[prost(int32, tag = "1")]
    stack: i32,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
    #[prost(int32, repeated, tag = "3")]
    attributes: Vec<i32>,
    #[prost(int32, tag = "4")]
    link: i32,
    #[prost(fixed64, repeated, tag = "5")]
    times: Vec<u64>,
}

/// `Sample` as 1.10 has it.
#[derive(Clone, PartialEq, Message)]
struct New {
    #[prost(int32, tag = "1")]
    stack: i32,
    #[prost(int32, repeated, tag = "2")]
    attributes: Vec<i32>,
    #[prost(int32, tag = "3")]
    link: i32,
    #[prost(int64, repeated, tag = "4")]
    values: Vec<i64>,
    #[prost(fixed64, repeated, tag = "5")]
    times: Vec<u64>,
}

impl From<&New> for Old {
    fn from(new: &New) -> Self {
        let New { stack, attributes, link, values, times } = new.clone();
        Self { stack, values, attributes, link, times }
    }
}

/// Everything around samples, whatever their form.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<PerResource>,
    #[prost(message, optional, tag = "2")]
    dictionary: Option<ProfilesDictionary>,
}

#[derive(Clone, PartialEq, Message)]
struct PerResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<PerScope>,
}

#[derive(Clone, PartialEq, Message)]
struct PerScope {
    #[prost(message, repeated, tag = "2")]
    profiles: Vec<Profile>,
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, optional, tag = "1")]
    sample_type: Option<ValueType>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    samples: Vec<Vec<u8>>,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(uint64, tag = "4")]
    duration: u64,
    #[prost(message, optional, tag = "5")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "6")]
    period: i64,
}

/// Strings: 1 cpu, 2 nanoseconds, 3 main, 4 work, 5 /usr/lib/libx.so, 6 thread.name, 7 service.name, 8 cart, 9 `inl;ined`.
fn dictionary() -> ProfilesDictionary {
    let function = |name| Function { name_strindex: name, ..Function::default() };
    let line = |function| Line { function_index: function, ..Line::default() };
    let text = |index| Some(AnyValue { value: Some(Value::StringValueStrindex(index)) });
    ProfilesDictionary {
        string_table: ["", "cpu", "nanoseconds", "main", "work", "/usr/lib/libx.so", "thread.name", "service.name", "cart", "inl;ined"]
            .map(str::to_owned)
            .to_vec(),
        mapping_table: vec![Mapping::default(), Mapping { filename_strindex: 5, ..Mapping::default() }],
        function_table: vec![Function::default(), function(3), function(4), function(9)],
        location_table: vec![
            Location::default(),
            Location { lines: vec![line(1)], ..Location::default() },
            // Inlined: the last line is the caller.
            Location { lines: vec![line(3), line(2)], ..Location::default() },
            Location { mapping_index: 1, address: 0x1234, ..Location::default() },
        ],
        // The innermost comes first.
        stack_table: vec![Stack::default(), Stack { location_indices: vec![3, 2, 1] }, Stack { location_indices: vec![99] }],
        link_table: vec![Link::default(), Link { trace_id: vec![7; 16], span_id: vec![8; 8] }],
        attribute_table: vec![KeyValueAndUnit::default(), KeyValueAndUnit { key_strindex: 6, value: text(4), unit_strindex: 0 }],
    }
}

fn profile<S: Message>(samples: &[S]) -> Profile {
    let samples = samples.iter().map(Message::encode_to_vec).collect();
    let time = Some(ValueType { type_strindex: 1, unit_strindex: 2 });
    Profile { sample_type: time, samples, time: 1_000, duration: 50, period_type: time, period: 10 }
}

fn request(profiles: Vec<Profile>) -> Bytes {
    // The resource's attribute points to strings, as 1.10 allows.
    let service = KeyValue { key_strindex: 7, value: Some(AnyValue { value: Some(Value::StringValueStrindex(8)) }), ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![service], ..Resource::default() });
    let resources = vec![PerResource { resource, scopes: vec![PerScope { profiles }] }];
    Request { resources, dictionary: Some(dictionary()) }.encode_to_vec().into()
}

fn walked(wire: Bytes) -> Walked {
    walk(Signal::Profiles, wire, Tenant::default(), UnixNanos(1)).expect("the framing is sound")
}

fn rows(walked: &Walked) -> &Samples {
    let Columns::Profiles(rows) = &walked.batch.columns else { panic!("the signal is profiles") };
    rows
}

fn samples() -> Vec<New> {
    vec![
        New { stack: 1, attributes: vec![1], link: 1, values: vec![5, 6], times: vec![70, 80] },
        New { stack: 1, values: vec![9], ..New::default() },
        New { times: vec![90, 91, 92], ..New::default() },
    ]
}

#[test]
fn both_forms_give_the_same_rows_and_the_old_one_is_noticed() {
    let (new, old) = (samples(), samples().iter().map(Old::from).collect::<Vec<_>>());
    let (new, old) = (walked(request(vec![profile(&new)])), walked(request(vec![profile(&old)])));
    assert_eq!(new.batch, old.batch);
    assert_eq!((new.warning, new.rejected.len()), (None, 0));
    assert!(old.warning.is_some_and(|warning| warning.contains("1.9")) && old.rejected.is_empty());
    let rows = rows(&new);
    assert_eq!(new.batch.resources.service().value(0), "cart");
    assert_eq!(
        rows.stack().iter().flatten().collect::<Vec<_>>(),
        ["main;work;inl:ined;libx.so+0x1234"; 2].into_iter().chain([""]).collect::<Vec<_>>()
    );
    assert_eq!(rows.value().values().to_vec(), [11, 9, 3]);
    assert_eq!(rows.count().values().to_vec(), [2, 1, 3]);
    assert_eq!(rows.time_ns().values().to_vec(), [70, 1_000, 90]);
    assert_eq!(rows.period_ns().values().to_vec(), [10; 3]);
    assert_eq!(rows.observations().iter().flatten().collect::<Vec<_>>(), ["[[70,5],[80,6]]", "", "[[90,1],[91,1],[92,1]]"]);
    assert_eq!((rows.sample_type().value(0), rows.unit().value(0)), ("cpu", "nanoseconds"));
    assert_eq!((rows.trace_id().value(0), rows.span_id().value(0), rows.span_id().value(1)), (&[7; 16][..], &[8; 8][..], &[0; 8][..]));
    assert_eq!(serde_json::Value::Object(attributes::to_json(rows.attributes().value(0))), serde_json::json!({"thread.name": "work"}));
}

#[test]
fn a_broken_profile_costs_no_neighbour() {
    let good = || profile(&samples());
    let broken: [(&str, New); 5] = [
        ("dictionary_index", New { stack: 17, values: vec![1], ..New::default() }),
        ("dictionary_index", New { stack: 2, values: vec![1], ..New::default() }),
        ("dictionary_index", New { link: -1, values: vec![1], ..New::default() }),
        ("sample_values", New { values: vec![1, 2], times: vec![1], ..New::default() }),
        ("sample_values", New::default()),
    ];
    for (reason, sample) in broken {
        let walked = walked(request(vec![good(), profile(&[sample, New { values: vec![1], ..New::default() }]), good()]));
        assert_eq!(rows(&walked).len(), 6, "{reason}");
        let found: Vec<_> = walked.rejected.iter().map(|rejected| (rejected.reason, rejected.count, rejected.rows)).collect();
        assert_eq!(found, [(reason, 1, 2)]);
    }
}

#[test]
fn a_request_without_samples_or_dictionary_is_fine() {
    assert_eq!(walked(Bytes::new()).batch.len(), 0);
    let wire = Request {
        resources: vec![PerResource { scopes: vec![PerScope { profiles: vec![Profile::default()] }], ..PerResource::default() }],
        dictionary: None,
    };
    let walked = walked(wire.encode_to_vec().into());
    assert_eq!((walked.batch.len(), walked.rejected.len()), (0, 0));
}

/// Fields 1 to 6 of any wire type.
fn any_sample() -> impl Strategy<Value = Vec<u8>> {
    let field = (1u8..7, prop_oneof![Just(0u8), Just(1), Just(2), Just(5)], proptest::collection::vec(0u8..128, 8));
    proptest::collection::vec(field, 0..6).prop_map(|fields| {
        let mut sample = Vec::new();
        for (number, wire_type, payload) in fields {
            sample.push(number << 3 | wire_type);
            match wire_type {
                0 => sample.push(payload[0]),
                1 => sample.extend_from_slice(&payload),
                2 => {
                    sample.push(3);
                    sample.extend_from_slice(&payload[..3]);
                }
                _ => sample.extend_from_slice(&payload[..4]),
            }
        }
        sample
    })
}

fn any_new() -> impl Strategy<Value = New> {
    let lists = (proptest::collection::vec(0i32..2, 0..3), proptest::collection::vec(1i64..1000, 1..4));
    (0i32..2, 0i32..2, lists).prop_map(|(stack, link, (attributes, values))| New { stack, attributes, link, values, times: Vec::new() })
}

proptest! {
    #[test]
    fn totals_are_equal_in_both_forms(samples in proptest::collection::vec(any_new(), 1..20)) {
        let old: Vec<Old> = samples.iter().map(Old::from).collect();
        let (new, old) = (walked(request(vec![profile(&samples)])), walked(request(vec![profile(&old)])));
        prop_assert_eq!(&new.batch, &old.batch);
        prop_assert_eq!(rows(&new).value().values().iter().sum::<i64>(), samples.iter().flat_map(|sample| &sample.values).sum::<i64>());
    }

    #[test]
    fn mixed_fields_never_panic_and_every_profile_is_accounted_for(samples in proptest::collection::vec(any_sample(), 0..8)) {
        let count = samples.len() as u64;
        let wire = request(vec![Profile { samples, ..profile::<New>(&[]) }]);
        let walked = walked(wire);
        prop_assert_eq!(walked.batch.len() as u64 + walked.rejected_count(), count);
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = walk(Signal::Profiles, noise.into(), Tenant::default(), UnixNanos(1));
    }
}
