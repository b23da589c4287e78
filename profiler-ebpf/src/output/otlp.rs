//! Samples as one OTLP export request of profiles, each sample linked to its span. A process is a
//! resource, what its threads were doing is a profile: `cpu`, `off_cpu` (blocked), `waiting` (for a core), in
//! nanoseconds. The first profile of a process is `cpu` where it ran at all: viewers show the first.

use crate::sample::{Frame, Sample};
use geophone_proto::stacks::ThreadState;
use opentelemetry_proto::tonic::{
    collector::profiles::v1development::ExportProfilesServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    profiles::v1development::{
        Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles, Sample as WireSample,
        ScopeProfiles, Stack, ValueType,
    },
    resource::v1::Resource,
};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// The first entry of every table means "none".
struct Numbers<K> {
    known: HashMap<K, i32>,
}

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<K: Eq + Hash> Numbers<K> {
    /// The number of a key; `add` is called for a new one.
    fn of(&mut self, key: K, add: impl FnOnce()) -> i32 {
        let next = i32::try_from(self.known.len() + 1).unwrap_or(i32::MAX);
        *self.known.entry(key).or_insert_with(|| {
            add();
            next
        })
    }
}

/// The shared tables as they grow.
struct Tables {
    dictionary: ProfilesDictionary,
    strings: Numbers<String>,
    functions: Numbers<(String, String)>,
    mappings: Numbers<String>,
    locations: Numbers<(i32, i32, u32)>,
    stacks: Numbers<Vec<i32>>,
    links: Numbers<(Vec<u8>, Vec<u8>)>,
    threads: Numbers<u32>,
}

impl Tables {
    fn new() -> Self {
        let dictionary = ProfilesDictionary {
            mapping_table: vec![Mapping::default()],
            location_table: vec![Location::default()],
            function_table: vec![Function::default()],
            link_table: vec![Link { trace_id: vec![0; 16], span_id: vec![0; 8] }],
            string_table: vec![String::new()],
            attribute_table: vec![KeyValueAndUnit::default()],
            stack_table: vec![Stack::default()],
        };
        Self {
            dictionary,
            strings: Numbers::default(),
            functions: Numbers::default(),
            mappings: Numbers::default(),
            locations: Numbers::default(),
            stacks: Numbers::default(),
            links: Numbers::default(),
            threads: Numbers::default(),
        }
    }

    fn string(&mut self, text: &str) -> i32 {
        if text.is_empty() {
            return 0;
        }
        let table = &mut self.dictionary.string_table;
        self.strings.of(text.to_owned(), || table.push(text.to_owned()))
    }

    fn location(&mut self, frame: &Frame) -> i32 {
        let (name, file) = (self.string(&frame.function), self.string(&frame.file));
        let table = &mut self.dictionary.function_table;
        let made = Function { name_strindex: name, system_name_strindex: name, filename_strindex: file, start_line: 0 };
        let function = self.functions.of((frame.function.clone(), frame.file.clone()), || table.push(made));
        let mapping_index = self.mapping(&frame.module);
        let table = &mut self.dictionary.location_table;
        let line = Line { function_index: function, line: frame.line.into(), column: 0 };
        let made = Location { mapping_index, lines: vec![line], ..Location::default() };
        self.locations.of((mapping_index, function, frame.line), || table.push(made))
    }

    fn mapping(&mut self, module: &str) -> i32 {
        if module.is_empty() {
            return 0;
        }
        let filename_strindex = self.string(module);
        let table = &mut self.dictionary.mapping_table;
        self.mappings.of(module.to_owned(), || table.push(Mapping { filename_strindex, ..Mapping::default() }))
    }

    fn stack(&mut self, frames: &[Frame]) -> i32 {
        let locations: Vec<i32> = frames.iter().rev().map(|frame| self.location(frame)).collect();
        let table = &mut self.dictionary.stack_table;
        self.stacks.of(locations.clone(), || table.push(Stack { location_indices: locations }))
    }

    fn link(&mut self, sample: &Sample) -> i32 {
        let (Some(trace), Some(span)) = (sample.trace_id, sample.span_id) else { return 0 };
        let (trace_id, span_id) = (trace.0.to_vec(), span.0.to_vec());
        let table = &mut self.dictionary.link_table;
        self.links.of((trace_id.clone(), span_id.clone()), || table.push(Link { trace_id, span_id }))
    }

    fn thread(&mut self, tid: u32) -> i32 {
        let key = self.string("thread.id");
        let table = &mut self.dictionary.attribute_table;
        let value = Some(AnyValue { value: Some(Value::IntValue(tid.into())) });
        self.threads.of(tid, || table.push(KeyValueAndUnit { key_strindex: key, value, unit_strindex: 0 }))
    }
}

const fn word(state: ThreadState) -> &'static str {
    match state {
        ThreadState::OnCpu => "cpu",
        ThreadState::Blocked => "off_cpu",
        ThreadState::Waiting => "waiting",
    }
}

fn resource(sample: &Sample) -> Resource {
    let attribute =
        |key: &str, value: Value| KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() };
    let text = |key: &str, value: &str| attribute(key, Value::StringValue(value.to_owned()));
    let mut attributes =
        vec![text("process.executable.name", &sample.process), attribute("process.pid", Value::IntValue(sample.pid.into()))];
    attributes.extend((!sample.service.is_empty()).then(|| text("service.name", &sample.service)));
    attributes.extend((!sample.instance.is_empty()).then(|| text("service.instance.id", &sample.instance)));
    Resource { attributes, ..Resource::default() }
}

/// What identifies a profile, and in it a sample.
type ByProfile<'a> = BTreeMap<(u32, &'a str, ThreadState), Vec<&'a Sample>>;

/// The request; `period_ns` is what a sample on the CPU stands for.
pub fn otlp(samples: &[Sample], period_ns: u64) -> ExportProfilesServiceRequest {
    let mut tables = Tables::new();
    let mut grouped = ByProfile::new();
    for sample in samples {
        grouped.entry((sample.pid, &sample.process, sample.state)).or_default().push(sample);
    }
    let mut resources: BTreeMap<(u32, &str), ResourceProfiles> = BTreeMap::new();
    for ((pid, process, state), samples) in grouped {
        let made = profile(&mut tables, state, &samples, period_ns);
        let entry = resources.entry((pid, process)).or_insert_with(|| ResourceProfiles {
            resource: Some(resource(samples[0])),
            scope_profiles: vec![ScopeProfiles {
                scope: Some(InstrumentationScope {
                    name: "geophone".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    ..Default::default()
                }),
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        });
        entry.scope_profiles[0].profiles.push(made);
    }
    ExportProfilesServiceRequest { resource_profiles: resources.into_values().collect(), dictionary: Some(tables.dictionary) }
}

fn profile(tables: &mut Tables, state: ThreadState, samples: &[&Sample], period_ns: u64) -> Profile {
    let unit = tables.string("nanoseconds");
    let kind = ValueType { type_strindex: tables.string(word(state)), unit_strindex: unit };
    let mut wire: BTreeMap<(i32, i32, i32), WireSample> = BTreeMap::new();
    for sample in samples {
        let (stack_index, link_index, thread) = (tables.stack(&sample.stack), tables.link(sample), tables.thread(sample.tid));
        let entry = wire.entry((stack_index, link_index, thread)).or_insert_with(|| WireSample {
            stack_index,
            link_index,
            attribute_indices: vec![thread],
            ..WireSample::default()
        });
        entry.values.push(i64::try_from(sample.weight_ns).unwrap_or(i64::MAX));
        entry.timestamps_unix_nano.push(sample.at.0);
    }
    let from = samples.iter().map(|sample| sample.at.0).min().unwrap_or(0);
    let to = samples.iter().map(|sample| sample.at.0).max().unwrap_or(0);
    // An id of 16 bytes that differs between profiles of one request and between requests.
    let mut profile_id = from.to_be_bytes().to_vec();
    profile_id.extend(samples[0].pid.to_be_bytes());
    profile_id.extend((state as u32 + 1).to_be_bytes());
    Profile {
        sample_type: Some(kind),
        samples: wire.into_values().collect(),
        time_unix_nano: from,
        duration_nano: to - from,
        // Always set both: readers derive names from the one and refuse the other where it is 0. Off the CPU all
        // time is counted.
        period_type: Some(kind),
        period: if state == ThreadState::OnCpu { i64::try_from(period_ns).unwrap_or(0).max(1) } else { 1 },
        profile_id,
        ..Profile::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{SpanId, TraceId, UnixNanos};

    #[test]
    fn a_sample_keeps_its_stack_its_time_and_its_span() {
        let frame = |name: &str| Frame { function: name.into(), file: "a.rs".into(), line: 7, module: "cart".into() };
        let sample = Sample {
            at: UnixNanos(5_000),
            weight_ns: 10,
            state: ThreadState::Blocked,
            service: "cart".into(),
            instance: String::new(),
            process: "cart".into(),
            pid: 3,
            tid: 4,
            trace_id: Some(TraceId([1; 16])),
            span_id: Some(SpanId([2; 8])),
            stack: vec![frame("main"), frame("hot")],
        };
        let request = otlp(&[sample.clone(), Sample { trace_id: None, span_id: None, ..sample }], 10);
        let tables = request.dictionary.expect("always there");
        let profile = &request.resource_profiles[0].scope_profiles[0].profiles[0];
        let text = |number: i32| tables.string_table[number as usize].as_str();
        assert_eq!(text(profile.sample_type.expect("given").type_strindex), "off_cpu");
        assert_eq!((profile.period_type, profile.period), (profile.sample_type, 1));
        let linked: Vec<_> = profile.samples.iter().map(|sample| tables.link_table[sample.link_index as usize].span_id.clone()).collect();
        assert_eq!(linked, [vec![0; 8], vec![2; 8]]);
        let stack = &tables.stack_table[profile.samples[0].stack_index as usize];
        let names: Vec<&str> = stack
            .location_indices
            .iter()
            .map(|location| &tables.location_table[*location as usize].lines[0])
            .map(|line| text(tables.function_table[line.function_index as usize].name_strindex))
            .collect();
        assert_eq!(names, ["hot", "main"]);
        assert_eq!((profile.samples[0].values.as_slice(), profile.samples[0].timestamps_unix_nano.as_slice()), (&[10][..], &[5_000][..]));
    }
}
