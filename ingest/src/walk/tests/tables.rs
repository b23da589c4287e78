//! The tables of `schema` against the descriptors that OTLP's own build wrote.

use crate::walk::{
    schema::{self, Kind, Message},
    wire::{Reader, Value},
};
use std::collections::BTreeMap;

/// Number -> (name in JSON, repeated, type number, type name), per message.
type Described = BTreeMap<String, BTreeMap<u64, (String, bool, u64, String)>>;

fn fields<'a>(bytes: &'a [u8]) -> Vec<(u32, Value<'a>)> {
    let mut reader = Reader::new(bytes, 100);
    std::iter::from_fn(|| reader.next().expect("descriptors are protobuf")).collect()
}

fn bytes<'a>(fields: &[(u32, Value<'a>)], number: u32) -> &'a [u8] {
    fields.iter().find(|field| field.0 == number).map_or(&[], |field| field.1.bytes().expect("bytes"))
}

fn text(fields: &[(u32, Value<'_>)], number: u32) -> String {
    String::from_utf8(bytes(fields, number).to_vec()).expect("text")
}

fn number(fields: &[(u32, Value<'_>)], number: u32) -> u64 {
    fields.iter().find(|field| field.0 == number).map_or(0, |field| field.1.varint().expect("a number"))
}

/// Adds a `DescriptorProto` and those within it.
fn add(described: &mut Described, parent: &str, message: &[u8]) {
    let parts = fields(message);
    let name = format!("{parent}.{}", text(&parts, 1));
    let mut known = BTreeMap::new();
    for (part, value) in &parts {
        match part {
            2 => {
                let field = fields(value.bytes().expect("a field"));
                known.insert(number(&field, 3), (text(&field, 10), number(&field, 4) == 3, number(&field, 5), text(&field, 6)));
            }
            3 => add(described, &name, value.bytes().expect("a message")),
            _ => {}
        }
    }
    described.insert(name, known);
}

fn type_number(kind: Kind) -> u64 {
    match kind {
        Kind::Double => 1,
        Kind::Int64 => 3,
        Kind::UInt64 => 4,
        Kind::Int32 => 5,
        Kind::Fixed64 => 6,
        Kind::Fixed32 => 7,
        Kind::Bool => 8,
        Kind::Text => 9,
        Kind::Message(_) => 11,
        Kind::Bytes | Kind::Id => 12,
        Kind::UInt32 => 13,
        Kind::Enum => 14,
        Kind::SFixed64 => 16,
        Kind::SInt32 => 17,
    }
}

fn compare(table: &'static Message, name: &str, described: &Described, seen: &mut Vec<String>) {
    if seen.iter().any(|other| other == name) {
        return;
    }
    seen.push(name.to_owned());
    let known = described.get(name).unwrap_or_else(|| panic!("{name} is described"));
    let numbers: Vec<u64> = table.fields.iter().map(|field| field.number.into()).collect();
    assert_eq!(numbers, known.keys().copied().collect::<Vec<_>>(), "{name}");
    for field in table.fields {
        let (json, many, kind, of) = &known[&u64::from(field.number)];
        assert_eq!((field.json, field.many, type_number(field.kind)), (json.as_str(), *many, *kind), "{name}.{json}");
        if let Kind::Message(inner) = field.kind {
            compare(inner, of, described, seen);
        }
    }
}

#[test]
fn the_tables_are_those_of_otlp() {
    let mut described = Described::new();
    for (_, file) in fields(opentelemetry_proto::DESCRIPTORS) {
        let parts = fields(file.bytes().expect("a file"));
        let package = format!(".{}", text(&parts, 2));
        for (_, message) in parts.iter().filter(|part| part.0 == 4) {
            add(&mut described, &package, message.bytes().expect("a message"));
        }
    }
    let mut seen = Vec::new();
    for (table, name) in [
        (&schema::TRACES, "trace.v1.ExportTraceServiceRequest"),
        (&schema::METRICS, "metrics.v1.ExportMetricsServiceRequest"),
        (&schema::LOGS, "logs.v1.ExportLogsServiceRequest"),
        (&schema::PROFILES, "profiles.v1development.ExportProfilesServiceRequest"),
    ] {
        compare(table, &format!(".opentelemetry.proto.collector.{name}"), &described, &mut seen);
    }
    assert!(seen.len() > 30, "{seen:?}");
}
