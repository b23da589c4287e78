//! Attribute cells (wire bytes) written as JSON text without building values in between: sealing does
//! this for every row. Says the same as `proto::attributes::to_json`; a test compares them.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::HashSet, fmt::Write};

/// Values nested deeper than this are shown as null.
const DEPTH_MAX: usize = 64;

/// One field of a protobuf message.
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Takes the next field off `bytes`: `Err` if it is malformed.
fn field<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u64, Field<'a>)>, ()> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Field::Varint(varint(bytes)?),
        1 => Field::Fixed64(u64::from_le_bytes(take(bytes, 8)?.try_into().map_err(|_| ())?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| ())?;
            Field::Bytes(take(bytes, length)?)
        }
        5 => {
            take(bytes, 4)?;
            Field::Fixed32
        }
        _ => return Err(()),
    };
    Ok(Some((tag >> 3, value)))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ()> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(())?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift.min(63);
        if byte & 128 == 0 {
            return Ok(value);
        }
    }
    Err(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], ()> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(())?;
    *bytes = rest;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<&str, ()> {
    std::str::from_utf8(bytes).map_err(|_| ())
}

/// Appends the cell as a JSON object; a malformed cell is `{}`.
pub(crate) fn attributes(cell: &[u8], out: &mut String) {
    let start = out.len();
    if object(cell, 1, 0, out).is_err() {
        out.truncate(start);
        out.push_str("{}");
    }
}

/// The pairs of an attribute cell, each a `KeyValue`; ends at what is malformed.
pub(crate) fn members(mut cell: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        // The usual form, without the general reader.
        if let [0x0a, length, rest @ ..] = cell
            && *length < 0x80
            && let Some((pair, rest)) = rest.split_at_checked(usize::from(*length))
        {
            cell = rest;
            return Some(pair);
        }
        loop {
            match field(&mut cell) {
                Ok(Some((1, Field::Bytes(pair)))) => return Some(pair),
                Ok(Some(_)) => {}
                Ok(None) | Err(()) => return None,
            }
        }
    })
}

/// Appends a `KeyValue` as a member of a JSON object, `"key":value`.
pub(crate) fn member(pair: &[u8], out: &mut String) -> Result<(), ()> {
    let (key, any) = split(pair)?;
    string(key, out);
    out.push(':');
    value(any, 1, out)
}

/// The key of a `KeyValue`.
pub(crate) fn key_of_member(pair: &[u8]) -> &[u8] {
    split(pair).map_or(&[], |(key, _)| key.as_bytes())
}

/// Key and `AnyValue` of a `KeyValue`.
pub(crate) fn split(mut pair: &[u8]) -> Result<(&str, &[u8]), ()> {
    let (mut key, mut any) = ("", &[][..]);
    while let Some(part) = field(&mut pair)? {
        match part {
            (1, Field::Bytes(bytes)) => key = text(bytes)?,
            (2, Field::Bytes(bytes)) => any = bytes,
            _ => {}
        }
    }
    Ok((key, any))
}

/// Appends span events (field 1 repeats `Span.Event`) as a JSON array of `time_ns`, `name`,
/// `attributes`; a malformed cell is `[]`.
pub(crate) fn events(cell: &[u8], out: &mut String) {
    let start = out.len();
    if event_list(cell, out).is_err() {
        out.truncate(start);
        out.push_str("[]");
    }
}

fn event_list(mut cell: &[u8], out: &mut String) -> Result<(), ()> {
    out.push('[');
    let mut first = true;
    while let Some((number, value)) = field(&mut cell)? {
        let (1, Field::Bytes(event)) = (number, value) else { continue };
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let (mut time, mut name, mut rest) = (0, "", event);
        while let Some(part) = field(&mut rest)? {
            match part {
                (1, Field::Fixed64(ns)) => time = ns,
                (2, Field::Bytes(bytes)) => name = text(bytes)?,
                _ => {}
            }
        }
        out.push_str("{\"time_ns\":");
        out.push_str(itoa::Buffer::new().format(time));
        out.push_str(",\"name\":");
        string(name, out);
        out.push_str(",\"attributes\":");
        object(event, 3, 0, out)?;
        out.push('}');
    }
    out.push(']');
    Ok(())
}

/// `KeyValue`s in field `number` of a message as an object; of a repeated key the last value counts.
fn object(bytes: &[u8], number: u64, depth: usize, out: &mut String) -> Result<(), ()> {
    let mut pairs: Vec<(&str, &[u8])> = Vec::new();
    let mut rest = bytes;
    while let Some((found, value)) = field(&mut rest)? {
        if found == number
            && let Field::Bytes(pair) = value
        {
            pairs.push(split(pair)?);
        }
    }
    out.push('{');
    let mut first = true;
    let many = pairs.len() > 32;
    let mut seen: HashSet<&str> = HashSet::new();
    if many {
        // The set takes keys from the end, so that the last of a repeated key is the one kept.
        pairs.reverse();
        pairs.retain(|(key, _)| seen.insert(key));
        pairs.reverse();
    }
    for (index, (key, any)) in pairs.iter().enumerate() {
        if !many && pairs[index + 1..].iter().any(|(later, _)| later == key) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        value(any, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

/// An `AnyValue`.
pub(crate) fn value(bytes: &[u8], depth: usize, out: &mut String) -> Result<(), ()> {
    let (mut last, mut rest) = (None, bytes);
    while let Some(found) = field(&mut rest)? {
        if (1..=7).contains(&found.0) {
            last = Some(found);
        }
    }
    match last {
        _ if depth > DEPTH_MAX => out.push_str("null"),
        Some((1, Field::Bytes(bytes))) => string(text(bytes)?, out),
        Some((2, Field::Varint(flag))) => out.push_str(if flag == 0 { "false" } else { "true" }),
        Some((3, Field::Varint(number))) => out.push_str(itoa::Buffer::new().format(number.cast_signed())),
        Some((4, Field::Fixed64(bits))) => float(f64::from_bits(bits), out),
        Some((5, Field::Bytes(mut list))) => {
            out.push('[');
            let mut first = true;
            while let Some((number, item)) = field(&mut list)? {
                let (1, Field::Bytes(item)) = (number, item) else { continue };
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                value(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Some((6, Field::Bytes(list))) => object(list, 1, depth, out)?,
        Some((7, Field::Bytes(bytes))) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        None | Some(_) => out.push_str("null"),
    }
    Ok(())
}

/// The whole number that an `AnyValue` is, if that is all it says: the usual form, without the general reader.
#[inline]
pub(crate) fn whole(any: &[u8]) -> Option<i64> {
    let (0x18, mut rest) = any.split_first().map(|(tag, rest)| (*tag, rest))? else { return None };
    let number = varint(&mut rest).ok()?;
    rest.is_empty().then(|| number.cast_signed())
}

/// A JSON number, or the text of what JSON lacks.
pub(crate) fn float(number: f64, out: &mut String) {
    let _ = if number.is_finite() { write!(out, "{number:?}") } else { write!(out, "\"{number}\"") };
}

/// A JSON string.
pub(crate) fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..index]);
        plain = index + 1;
        let _ = match byte {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            control => write!(out, "\\u{control:04x}"),
        };
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Appends bytes as lower-case hex; all zeros, which OTLP uses for "none", as nothing.
pub(crate) fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if bytes.iter().any(|byte| *byte != 0) {
        for byte in bytes {
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The value of `key` in a JSON object: text as it is, anything else as JSON; `None` where it is absent
/// or null, or the text is no object.
pub(crate) fn attribute_of(object: &str, key: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let found = serde::Deserializer::deserialize_map(&mut reader, Pick(key)).ok()??;
    match found {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Keeps the value of one key and skips the rest unread.
struct Pick<'a>(&'a str);

impl<'de> serde::de::Visitor<'de> for Pick<'_> {
    type Value = Option<serde_json::Value>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{
        attributes as cells,
        otlp::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
    };
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = AnyValue> {
        let leaf = prop_oneof![
            ".{0,12}".prop_map(Value::StringValue),
            any::<bool>().prop_map(Value::BoolValue),
            any::<i64>().prop_map(Value::IntValue),
            any::<i32>().prop_map(|eighths| Value::DoubleValue(f64::from(eighths) / 8.0)),
            prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)].prop_map(Value::DoubleValue),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::BytesValue),
        ];
        let value = leaf.prop_recursive(3, 24, 4, |inner| {
            let item = proptest::option::of(inner).prop_map(|value| AnyValue { value });
            prop_oneof![
                proptest::collection::vec(item.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
                proptest::collection::vec(("[ab]{0,2}", item), 0..4).prop_map(|pairs| {
                    let values = pairs.into_iter().map(|(key, value)| KeyValue { key, value: Some(value), ..KeyValue::default() });
                    Value::KvlistValue(KeyValueList { values: values.collect() })
                }),
            ]
        });
        proptest::option::of(value).prop_map(|value| AnyValue { value })
    }

    proptest! {
        #[test]
        fn says_what_the_decoded_values_say(pairs in proptest::collection::vec(("[a-c\"\\\\\u{1}é]{0,2}", any_value()), 0..40)) {
            let pairs = pairs.into_iter().map(|(key, value)| KeyValue { key, value: Some(value), ..KeyValue::default() });
            let cell = cells::encode(pairs.collect());
            let mut text = String::new();
            attributes(&cell, &mut text);
            let ours: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            prop_assert_eq!(ours, serde_json::Value::Object(cells::to_json(&cell)));
        }

        #[test]
        fn a_whole_number_is_told_from_everything_else(any in any_value(), number in any::<i64>()) {
            let (bytes, mut text) = (prost::Message::encode_to_vec(&any), String::new());
            let wanted = match any.value { Some(Value::IntValue(number)) => Some(number), _ => None };
            prop_assert_eq!(whole(&bytes), wanted);
            let bytes = prost::Message::encode_to_vec(&AnyValue { value: Some(Value::IntValue(number)) });
            prop_assert_eq!(whole(&bytes), Some(number));
            value(&bytes, 1, &mut text).expect("it is well-formed");
            prop_assert_eq!(text, number.to_string());
        }

        #[test]
        fn picks_what_a_parsed_object_has(pairs in proptest::collection::btree_map("[a-c\"]{0,2}", "[x\"\n]{0,3}", 0..5), key in "[a-c\"]{0,2}") {
            let object = serde_json::to_string(&pairs).expect("it encodes");
            prop_assert_eq!(attribute_of(&object, &key), pairs.get(&key).cloned());
        }

        #[test]
        fn any_bytes_give_an_object_and_a_list(cell in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (mut object, mut list) = (String::new(), String::new());
            attributes(&cell, &mut object);
            events(&cell, &mut list);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&object).is_ok_and(|value| value.is_object()));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&list).is_ok_and(|value| value.is_array()));
        }
    }
}
