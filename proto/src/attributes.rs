//! Attributes in a column: kept as wire bytes, decoded by those who need them.
//!
//! A cell holds the protobuf bytes of a message whose field 1 repeats OTLP `KeyValue` (which is what
//! `Resource` looks like on the wire), in the order sent, repeated keys included.

use crate::otlp::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::{Map, Number, Value as Json};

/// Decodes a cell; bytes that are none (the walk never writes such) give no attribute.
pub fn decode(cell: &[u8]) -> Vec<KeyValue> {
    Resource::decode(cell).map(|resource| resource.attributes).unwrap_or_default()
}

/// Encodes attributes as a cell.
pub fn encode(attributes: Vec<KeyValue>) -> Vec<u8> {
    Resource { attributes, ..Resource::default() }.encode_to_vec()
}

/// The encoded `KeyValue`s of a cell, one by one, without decoding them. Stops at what is no such cell.
pub fn pairs(cell: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = cell;
    std::iter::from_fn(move || {
        let after = rest.strip_prefix(&[PAIR_TAG])?;
        let (len, after) = varint(after)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= after.len())?;
        let (pair, behind) = after.split_at(len);
        rest = behind;
        Some(pair)
    })
}

/// Tag of field 1, length-delimited.
const PAIR_TAG: u8 = 0x0a;

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=end].iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[end + 1..]))
}

/// A cell without pairs longer than `pair_max` bytes, and not longer than `cell_max` bytes itself.
pub fn trimmed(cell: &[u8], pair_max: usize, cell_max: usize) -> Box<[u8]> {
    if cell.len() <= pair_max {
        return cell.into();
    }
    let mut kept = Vec::with_capacity(cell.len().min(cell_max));
    for pair in pairs(cell).filter(|pair| pair.len() <= pair_max) {
        if kept.len() + pair.len() + 3 > cell_max {
            break;
        }
        kept.push(PAIR_TAG);
        let mut len = pair.len();
        while len >= 0x80 {
            kept.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        kept.push(len as u8);
        kept.extend_from_slice(pair);
    }
    kept.into()
}

/// Key and value of an encoded `KeyValue` as text; a value that is no text as JSON.
pub fn pair_text(pair: &[u8]) -> Option<(String, String)> {
    let pair = KeyValue::decode(pair).ok()?;
    let value = match pair.value.as_ref().map_or(Json::Null, value_to_json) {
        Json::String(text) => text,
        other => other.to_string(),
    };
    Some((pair.key, value))
}

/// A cell as a JSON object; of a repeated key the last value counts.
pub fn to_json(cell: &[u8]) -> Map<String, Json> {
    decode(cell).into_iter().map(|pair| (pair.key, pair.value.map_or(Json::Null, |value| value_to_json(&value)))).collect()
}

/// An attribute value as plain JSON: bytes in base64, numbers that JSON lacks as text.
pub fn value_to_json(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(Value::StringValue(text)) => Json::String(text.clone()),
        Some(Value::BoolValue(flag)) => Json::Bool(*flag),
        Some(Value::IntValue(number)) => Json::Number((*number).into()),
        Some(Value::DoubleValue(number)) => Number::from_f64(*number).map_or_else(|| Json::String(number.to_string()), Json::Number),
        Some(Value::BytesValue(bytes)) => Json::String(STANDARD.encode(bytes)),
        Some(Value::ArrayValue(array)) => Json::Array(array.values.iter().map(value_to_json).collect()),
        Some(Value::KvlistValue(list)) => {
            Json::Object(list.values.iter().map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, value_to_json))).collect())
        }
        #[allow(unreachable_patterns, reason = "newer releases of the protocol add kinds of value")]
        Some(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_without_decoding_and_long_ones_can_be_left_out() {
        let text = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        };
        let long = "x".repeat(300);
        let cell = encode(vec![text("region", "eu-1"), text("sql", &long), text("tier", "gold")]);
        let shown = |cell: &[u8]| pairs(cell).filter_map(pair_text).collect::<Vec<_>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(shown(&cell), [pair("region", "eu-1"), pair("sql", &long), pair("tier", "gold")]);
        assert_eq!(shown(&trimmed(&cell, 256, 2048)), [pair("region", "eu-1"), pair("tier", "gold")]);
        assert_eq!(shown(&trimmed(&cell, 320, 330)), [pair("region", "eu-1")]);
        for odd in
            [&[][..], &[0x0a], &[0x0a, 0x80], &[0x0a, 5, 1], &[0x12, 0], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            assert_eq!(pairs(odd).count(), 0, "{odd:?}");
        }
    }

    #[test]
    fn a_cell_comes_back_as_json() {
        let pair = KeyValue { key: "n".into(), value: Some(AnyValue { value: Some(Value::IntValue(7)) }), ..KeyValue::default() };
        assert_eq!(Json::Object(to_json(&encode(vec![pair]))), serde_json::json!({"n": 7}));
    }
}
