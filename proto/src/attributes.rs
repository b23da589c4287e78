//! Attributes in a column: kept as wire bytes, decoded by those who need them.
//!
//! A cell holds the protobuf bytes of a message whose field 1 repeats OTLP `KeyValue` (which is what
//! `Resource` looks like on the wire), in the order sent, repeated keys included.

use crate::otlp::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
};
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
        Some(Value::BytesValue(bytes)) => Json::String(base64(bytes)),
        Some(Value::ArrayValue(array)) => Json::Array(array.values.iter().map(value_to_json).collect()),
        Some(Value::KvlistValue(list)) => {
            Json::Object(list.values.iter().map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, value_to_json))).collect())
        }
        #[allow(unreachable_patterns, reason = "newer releases of the protocol add kinds of value")]
        Some(_) => Json::Null,
    }
}

/// Standard base64 with padding, as protobuf's JSON mapping asks for bytes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_with_padding() {
        let shown: Vec<String> = ["", "f", "fo", "foo", "foob"].iter().map(|text| base64(text.as_bytes())).collect();
        assert_eq!(shown, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn a_cell_comes_back_as_json() {
        let pair = KeyValue { key: "n".into(), value: Some(AnyValue { value: Some(Value::IntValue(7)) }), ..KeyValue::default() };
        assert_eq!(Json::Object(to_json(&encode(vec![pair]))), serde_json::json!({"n": 7}));
    }
}
