//! The transcoder: one pass over the JSON, driven by the tables of `walk::schema`.
//!
//! Memory: the output only, a few times the JSON at most. Depth: `serde_json` follows 128 brackets; documents that nest
//! deeper are read again, in layers (`deep`).

use super::deep::{Layers, Pieces, is_too_deep};
use super::text::{from_base64, put_hex, to_double, to_integer};
use crate::walk::{
    schema::{self, Field, Kind, Message},
    wire::put_varint,
};
use bytes::Bytes;
use geophone_proto::{Class, Signal};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Why a document is no OTLP/JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed OTLP/JSON: {0}")]
pub struct JsonError(String);

impl JsonError {
    /// What it asks of the sender.
    pub const fn class(&self) -> Class {
        Class::Reject
    }
}

/// Transcodes an export request of OTLP/JSON to protobuf.
pub fn json_to_wire(signal: Signal, json: &[u8]) -> Result<Bytes, JsonError> {
    let table = match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Metrics => &schema::METRICS,
        Signal::Logs => &schema::LOGS,
        Signal::Profiles => &schema::PROFILES,
    };
    let read = match transcode(table, json, None) {
        Err(error) if is_too_deep(&error) => Layers::of(json).and_then(|Layers { outer, pieces }| transcode(table, &outer, Some(&pieces))),
        read => read,
    };
    read.map(Bytes::from).map_err(|error| JsonError(error.to_string()))
}

fn transcode(table: &'static Message, json: &[u8], pieces: Option<&Pieces>) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.deserialize_map(Fields { table, out: &mut out, pieces })?;
    deserializer.end()?;
    Ok(out)
}

/// An object: the fields of a message.
struct Fields<'o> {
    table: &'static Message,
    out: &'o mut Vec<u8>,
    /// What lies too deep to be read at once, where there is such.
    pieces: Option<&'o Pieces>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.table))? {
            match field {
                Some(field) => map.next_value_seed(Cell { field, out: &mut *self.out, part: Part::Whole, pieces: self.pieces })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A key: the field it names, if any.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.by_name(name))
    }
}

/// A value: what a field, or one element of a repeated field, holds.
struct Cell<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
    part: Part,
    pieces: Option<&'o Pieces>,
}

/// How much of a field a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// One of several, each with the field's key before it.
    Element,
    /// A number among others behind one key, as `proto3` writes them: profiles are told apart by it.
    Packed,
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Cell<'_> {
    fn key(&mut self, wire_type: u32) {
        if self.part == Part::Packed {
            return;
        }
        put_varint(self.out, u64::from(self.field.number << 3 | wire_type));
    }

    fn is_scalar(&self) -> bool {
        self.part != Part::Whole || !self.field.many
    }

    fn wrong<E: Error>(&self, got: &str) -> E {
        let (name, kind) = (self.field.json, self.field.kind.expected());
        let many = if self.is_scalar() { "" } else { "an array of " };
        E::custom(format_args!("field `{name}` must be {many}{kind}, got {got}"))
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.key(2);
        put_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a whole number; false if the field cannot hold it.
    #[allow(clippy::cast_precision_loss, reason = "a double takes the nearest value, as JSON numbers do")]
    fn put_integer(&mut self, number: i128) -> bool {
        let varint = match self.field.kind {
            Kind::Enum | Kind::Int32 => i32::try_from(number).map(|number| i64::from(number).cast_unsigned()).ok(),
            Kind::UInt32 => u32::try_from(number).map(u64::from).ok(),
            Kind::Int64 => i64::try_from(number).map(i64::cast_unsigned).ok(),
            Kind::UInt64 => u64::try_from(number).ok(),
            Kind::SInt32 => i32::try_from(number).map(|number| u64::from((number << 1 ^ number >> 31).cast_unsigned())).ok(),
            Kind::Fixed32 => return u32::try_from(number).is_ok_and(|number| self.put_fixed32(number)),
            Kind::Fixed64 => return u64::try_from(number).is_ok_and(|number| self.put_fixed64(number)),
            Kind::SFixed64 => return i64::try_from(number).is_ok_and(|number| self.put_fixed64(number.cast_unsigned())),
            Kind::Double => return self.put_fixed64((number as f64).to_bits()),
            Kind::Text | Kind::Bytes | Kind::Id | Kind::Bool | Kind::Message(_) => None,
        };
        let Some(varint) = varint else { return false };
        self.key(0);
        put_varint(self.out, varint);
        true
    }

    fn put_fixed32(&mut self, number: u32) -> bool {
        self.key(5);
        self.out.extend_from_slice(&number.to_le_bytes());
        true
    }

    fn put_fixed64(&mut self, number: u64) -> bool {
        self.key(1);
        self.out.extend_from_slice(&number.to_le_bytes());
        true
    }

    /// Writes hex as an id. What is no hex becomes an id of one byte, which no rule accepts: it costs
    /// the sender this row and not its neighbours.
    fn put_id(&mut self, text: &str) {
        let mut id = Vec::with_capacity(text.len() / 2);
        if !put_hex(&mut id, text) {
            id.push(0);
        }
        self.put_bytes(&id);
    }

    fn put_text(&mut self, text: &str) -> bool {
        match self.field.kind {
            Kind::Text => self.put_bytes(text.as_bytes()),
            Kind::Id => self.put_id(text),
            Kind::Bytes => match from_base64(text) {
                Some(bytes) => self.put_bytes(&bytes),
                None => return false,
            },
            Kind::Double => return to_double(text).is_some_and(|number| self.put_fixed64(number.to_bits())),
            Kind::Int32 | Kind::UInt32 | Kind::Int64 | Kind::UInt64 | Kind::SInt32 | Kind::Fixed32 | Kind::Fixed64 | Kind::SFixed64 => {
                return to_integer(text).is_some_and(|number| self.put_integer(number));
            }
            Kind::Bool | Kind::Enum | Kind::Message(_) => return false,
        }
        true
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}`", self.field.json)
    }

    /// `null` is the same as no field.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.part != Part::Whole { Err(self.wrong("null")) } else { Ok(()) }
    }

    fn visit_bool<E: Error>(mut self, flag: bool) -> Result<(), E> {
        if !matches!(self.field.kind, Kind::Bool) || !self.is_scalar() {
            return Err(self.wrong(if flag { "true" } else { "false" }));
        }
        self.key(0);
        self.out.push(u8::from(flag));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<(), E> {
        if self.is_scalar() && self.put_integer(number.into()) { Ok(()) } else { Err(self.wrong(&number.to_string())) }
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<(), E> {
        if self.is_scalar() && self.put_integer(number.into()) { Ok(()) } else { Err(self.wrong(&number.to_string())) }
    }

    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and the ends do not fit 64 bits either")]
    fn visit_f64<E: Error>(mut self, number: f64) -> Result<(), E> {
        let fits = self.is_scalar()
            && match self.field.kind {
                Kind::Double => self.put_fixed64(number.to_bits()),
                _ => number.fract() == 0.0 && self.put_integer(number as i128),
            };
        if fits { Ok(()) } else { Err(self.wrong(&number.to_string())) }
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        if let Some(piece) = self.pieces.and_then(|pieces| pieces.named(text)) {
            return Cell { pieces: None, ..self }.deserialize(&mut serde_json::Deserializer::from_slice(piece)).map_err(E::custom);
        }
        if self.is_scalar() && self.put_text(text) { Ok(()) } else { Err(self.wrong("text that is none")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        if self.is_scalar() {
            return Err(self.wrong("an array"));
        }
        let is_packed = !matches!(self.field.kind, Kind::Text | Kind::Bytes | Kind::Id | Kind::Message(_));
        let (part, before) = (if is_packed { Part::Packed } else { Part::Element }, self.out.len());
        if is_packed {
            self.key(2);
        }
        let start = self.out.len();
        while elements.next_element_seed(Cell { field: self.field, out: &mut *self.out, part, pieces: self.pieces })?.is_some() {}
        if is_packed && self.out.len() > start {
            put_len_before(self.out, start);
        } else if is_packed {
            self.out.truncate(before);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let Kind::Message(table) = self.field.kind else { return Err(self.wrong("an object")) };
        if !self.is_scalar() {
            return Err(self.wrong("an object"));
        }
        self.key(2);
        let start = self.out.len();
        Fields { table, out: &mut *self.out, pieces: self.pieces }.visit_map(map)?;
        put_len_before(self.out, start);
        Ok(())
    }
}

/// Puts the length of what was written since `start` before it.
fn put_len_before(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    put_varint(out, (end - start) as u64);
    out[start..].rotate_left(end - start);
}

impl Kind {
    /// What JSON must show, for error messages.
    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bytes => "base64 text",
            Self::Id => "hex text",
            Self::Bool => "true or false",
            Self::Enum => "the enum's number, not its name",
            Self::Int32 | Self::SInt32 => "a whole number of 32 bits",
            Self::UInt32 | Self::Fixed32 => "a whole number of 32 bits, not negative",
            Self::Int64 | Self::SFixed64 => "a whole number of 64 bits",
            Self::UInt64 | Self::Fixed64 => "a whole number of 64 bits, not negative",
            Self::Double => "a number",
            Self::Message(_) => "an object",
        }
    }
}
