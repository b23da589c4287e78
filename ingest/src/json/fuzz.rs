//! Scenario: random documents written beside the protobuf that they stand for; then broken ones.
//! Guarantees: the transcoder gives what `prost` reads from the protobuf, writes nothing that `prost` does
//! not read, takes nothing that is no JSON, and never panics.

use super::json_to_wire;
use crate::{
    campaign::campaign,
    walk::{
        schema::{self, Field, Kind, Message},
        tests::generate::{Dice, mutate},
        wire::put_varint,
    },
};
use geophone_proto::{
    Signal,
    otlp::collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
};
use prost::Message as _;
use serde_json::{Value, json};

/// A message in protobuf and in JSON.
fn twin(table: &'static Message, dice: &mut Dice, depth: usize) -> (Vec<u8>, String) {
    let mut order: Vec<usize> = (0..table.fields.len()).collect();
    (1..order.len()).rev().for_each(|last| order.swap(last, dice.below(last + 1)));
    let (mut wire, mut members) = (Vec::new(), Vec::new());
    for at in order {
        let field = &table.fields[at];
        let is_message = matches!(field.kind, Kind::Message(_));
        if is_message && depth == 0 || !is_message && dice.once_in(2) {
            continue;
        }
        let times = if !field.many {
            1
        } else if depth > 3 {
            1 + dice.below(2)
        } else {
            dice.below(3)
        };
        let mut elements = Vec::new();
        for _ in 0..times {
            elements.push(element(field, &mut wire, dice, depth));
        }
        let value = if field.many { format!("[{}]", elements.join(",")) } else { elements.concat() };
        members.push(format!("{:?}:{value}", field.json));
        if dice.once_in(9) {
            members.push(format!("{:?}:{}", ["unknown", "trace_id", "", "\u{e9}"][dice.below(4)], noise(dice, 3)));
        }
        if dice.once_in(9) {
            // Nothing beside it: the last of the same name would count.
            members.push(format!("{:?}:null", if field.many { "no such field" } else { field.json }));
        }
    }
    let space = ["", " ", "\n\t"][dice.below(3)];
    (wire, format!("{{{space}{}{space}}}", members.join(&format!("{space},"))))
}

/// Any JSON.
fn noise(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => json!(dice.number()),
        2 => json!(dice.text()),
        3 => json!(dice.once_in(2)),
        4 => (0..dice.below(3)).map(|_| noise(dice, depth - 1)).collect(),
        _ => json!({ dice.text(): noise(dice, depth - 1), "b": noise(dice, 0) }),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// One value: writes its field, gives its JSON.
fn element(field: &'static Field, wire: &mut Vec<u8>, dice: &mut Dice, depth: usize) -> String {
    let mut put_bytes = |bytes: &[u8]| {
        put_varint(wire, u64::from(field.number << 3 | 2));
        put_varint(wire, bytes.len() as u64);
        wire.extend_from_slice(bytes);
    };
    match field.kind {
        Kind::Message(inner) => {
            let (bytes, text) = twin(inner, dice, depth - 1);
            put_bytes(&bytes);
            text
        }
        Kind::Text => {
            let text = [dice.text(), "\"\\/\u{0}\u{1f}\u{7f}\u{2028}"][dice.below(2)];
            put_bytes(text.as_bytes());
            quoted(text)
        }
        Kind::Id => {
            let id = dice.id(if field.json == "traceId" { 16 } else { 8 });
            put_bytes(&id);
            let hex = |byte: &u8| if dice.once_in(2) { format!("{byte:02x}") } else { format!("{byte:02X}") };
            format!("\"{}\"", id.iter().map(hex).collect::<String>())
        }
        Kind::Bytes => {
            let (bytes, text): (&[u8], _) = [(&b""[..], ""), (&[0xfb], "+w=="), (&[0xfb, 0xff], "-_8"), (b"foo", "Zm9v")][dice.below(4)];
            put_bytes(bytes);
            quoted(text)
        }
        _ => number(field, wire, dice),
    }
}

/// A number of any kind: writes its field, gives its JSON.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "any bits will do")]
fn number(field: &'static Field, wire: &mut Vec<u8>, dice: &mut Dice) -> String {
    let any = dice.number();
    let mut varint = |number: u64| {
        put_varint(wire, u64::from(field.number << 3));
        put_varint(wire, number);
    };
    let text = match field.kind {
        Kind::Bool => {
            varint(any & 1);
            return (any & 1 == 1).to_string();
        }
        Kind::Enum => {
            varint(any % 30);
            return (any % 30).to_string();
        }
        Kind::Int32 => {
            varint(i64::from(any as i32) as u64);
            (any as i32).to_string()
        }
        Kind::SInt32 => {
            let number = any as i32;
            varint(u64::from((number << 1 ^ number >> 31) as u32));
            number.to_string()
        }
        Kind::UInt32 => {
            varint(u64::from(any as u32));
            (any as u32).to_string()
        }
        Kind::Int64 => {
            varint(any);
            (any as i64).to_string()
        }
        Kind::UInt64 => {
            varint(any);
            any.to_string()
        }
        Kind::Fixed32 => {
            put_varint(wire, u64::from(field.number << 3 | 5));
            wire.extend_from_slice(&(any as u32).to_le_bytes());
            (any as u32).to_string()
        }
        Kind::Double => {
            let (number, text) =
                [(f64::NAN, "\"NaN\""), (f64::NEG_INFINITY, "\"-Infinity\""), (-0.0, "-0.0"), (1.5, "1.5"), (2e3, "2E3")][dice.below(5)];
            put_varint(wire, u64::from(field.number << 3 | 1));
            wire.extend_from_slice(&number.to_le_bytes());
            return text.into();
        }
        _ => {
            put_varint(wire, u64::from(field.number << 3 | 1));
            wire.extend_from_slice(&any.to_le_bytes());
            if matches!(field.kind, Kind::SFixed64) { (any as i64).to_string() } else { any.to_string() }
        }
    };
    if dice.once_in(2) { quoted(&text) } else { text }
}

/// What `prost` reads, in its own writing: numbers that are none compare as bytes.
fn read(signal: Signal, wire: &[u8]) -> Result<Vec<u8>, String> {
    let read = match signal {
        Signal::Metrics => ExportMetricsServiceRequest::decode(wire).map(|request| request.encode_to_vec()),
        Signal::Logs => ExportLogsServiceRequest::decode(wire).map(|request| request.encode_to_vec()),
        _ => ExportTraceServiceRequest::decode(wire).map(|request| request.encode_to_vec()),
    };
    read.map_err(|error| error.to_string())
}

fn case(seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let (signal, table) =
        [(Signal::Traces, &schema::TRACES), (Signal::Metrics, &schema::METRICS), (Signal::Logs, &schema::LOGS)][dice.below(3)];
    let depth = 5 + dice.below(5);
    let (wire, text) = twin(table, &mut dice, depth);
    let transcoded = json_to_wire(signal, text.as_bytes()).map_err(|error| format!("{error}\n  {text}"))?;
    if read(signal, &transcoded)? != read(signal, &wire)? {
        return Err(format!("the document means something else\n  {text}"));
    }
    let mut broken = text.into_bytes();
    for _ in 0..4 {
        mutate(&mut broken, &mut dice);
        if let Ok(transcoded) = json_to_wire(signal, &broken) {
            let shown = String::from_utf8_lossy(&broken);
            read(signal, &transcoded).map_err(|error| format!("wrote what `prost` does not read: {error}\n  {shown}"))?;
            serde_json::from_slice::<serde::de::IgnoredAny>(&broken)
                .map_err(|error| format!("took what is no JSON: {error}\n  {shown}"))?;
        }
    }
    Ok(())
}

#[test]
fn fuzz_json() {
    campaign("fuzz_json", case);
}
