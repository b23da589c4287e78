//! Checks the parts of a message that no column needs: `prost` would refuse the request for them, so
//! do we. Called by the walks for events, links, exemplars, metadata and attribute values.
//!
//! Two kinds of fault: broken framing returns an error (the whole request is refused); text that is
//! no UTF-8 and nesting that is too deep are flaws of one row, whose neighbours stay readable.

use super::{
    WalkError,
    schema::{self, Field, Kind, Message},
    wire::{Reader, Value, each_fixed64, each_varint},
};

/// Why a row is left out.
pub(crate) type Reason = &'static str;
/// A text of the row is no UTF-8.
pub(crate) const INVALID_UTF8: Reason = "invalid_utf8";
/// A value of the row nests more than a hundred levels.
pub(crate) const TOO_DEEP: Reason = "too_deep";

/// The first flaw of a row, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flaw(pub(crate) Option<Reason>);

impl Flaw {
    /// Notes a flaw; the first one stays.
    pub(crate) fn note(&mut self, reason: Reason) {
        self.0.get_or_insert(reason);
    }

    /// Notes bytes that are no UTF-8.
    #[inline]
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        if !is_ascii(bytes) && std::str::from_utf8(bytes).is_err() {
            self.note(INVALID_UTF8);
        }
    }
}

/// Whether all bytes are ASCII: by eights, of which the last may overlap the one before. Short texts are the rule.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<8>() {
        Some(last) => {
            let eights = bytes.as_chunks::<8>().0.iter().map(|eight| u64::from_ne_bytes(*eight));
            eights.fold(u64::from_ne_bytes(*last), |all, eight| all | eight) & 0x8080_8080_8080_8080 == 0
        }
        None => bytes.iter().fold(0, |all, byte| all | byte) < 0x80,
    }
}

/// Checks a message below a level with `left` more levels.
pub(crate) fn message(table: &'static Message, bytes: &[u8], left: u32, flaw: &mut Flaw) -> Result<(), WalkError> {
    let Some(below) = left.checked_sub(1) else {
        flaw.note(TOO_DEEP);
        return Ok(());
    };
    let mut reader = Reader::new(bytes, below);
    while let Some((number, value)) = reader.next()? {
        match table.by_number(number) {
            Some(known) => field(known, value, below, flaw)?,
            None => unknown(below, flaw),
        }
    }
    Ok(())
}

/// A field that no table has is skipped, except below the last level.
#[inline]
pub(crate) fn unknown(left: u32, flaw: &mut Flaw) {
    if left == 0 {
        flaw.note(TOO_DEEP);
    }
}

/// Checks one field of a message with `left` more levels.
pub(crate) fn field(field: &'static Field, value: Value<'_>, left: u32, flaw: &mut Flaw) -> Result<(), WalkError> {
    match field.kind {
        Kind::Message(inner) => message(inner, value.bytes()?, left, flaw)?,
        Kind::Text => flaw.text(value.bytes()?),
        Kind::Bytes | Kind::Id => drop(value.bytes()?),
        Kind::Fixed64 | Kind::SFixed64 | Kind::Double if field.many => each_fixed64(value, |_| ())?,
        Kind::Fixed64 | Kind::SFixed64 | Kind::Double => drop(value.fixed64()?),
        Kind::Fixed32 => drop(value.fixed32()?),
        Kind::Bool | Kind::Enum | Kind::Int32 | Kind::UInt32 | Kind::Int64 | Kind::UInt64 | Kind::SInt32 if field.many => {
            each_varint(value, |_| ())?;
        }
        Kind::Bool | Kind::Enum | Kind::Int32 | Kind::UInt32 | Kind::Int64 | Kind::UInt64 | Kind::SInt32 => drop(value.varint()?),
    }
    Ok(())
}

/// An attribute as the walks look at it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair<'a> {
    /// Its key.
    pub(crate) key: &'a [u8],
    /// Its value if that is text.
    pub(crate) text: Option<&'a [u8]>,
}

/// Checks a `KeyValue` below a level with `left` more levels, and reads key and text. Always inlined, as is what it calls in
/// the usual case: handed back through memory, written by eights and read by sixteens, a pair costs more than reading it.
#[inline(always)]
pub(crate) fn pair<'a>(bytes: &'a [u8], left: u32, flaw: &mut Flaw) -> Result<Pair<'a>, WalkError> {
    if left >= 2
        && let Some(pair) = usual_pair(bytes)
    {
        return Ok(pair);
    }
    any_pair(bytes, left, flaw)
}

/// The usual forms: a short ASCII key and a short ASCII text, a whole number or a flag; the key first, as SDKs write
/// it, or last, as the Collector does. A shortcut only: what it takes, the long way takes as well and reads the same.
#[inline(always)]
fn usual_pair(bytes: &[u8]) -> Option<Pair<'_>> {
    let (key, value) = if bytes.first() == Some(&0x0a) {
        let (key, rest) = short(bytes, 0x0a)?;
        let (value, rest) = short(rest, 0x12)?;
        (key, rest.is_empty().then_some(value)?)
    } else {
        let (value, rest) = short(bytes, 0x12)?;
        let (key, rest) = short(rest, 0x0a)?;
        (key, rest.is_empty().then_some(value)?)
    };
    match value {
        // Ten bytes could hold more than 64 bits; the long way looks.
        [0x10 | 0x18, number @ ..] => (is_varint(number) && is_ascii(key)).then_some(Pair { key, text: None }),
        _ => {
            let (text, behind) = short(value, 0x0a)?;
            // Of key and text all that is between them is ASCII too, so one look will do.
            (behind.is_empty() && is_ascii(bytes)).then_some(Pair { key, text: Some(text) })
        }
    }
}

/// Exactly one number of at most nine bytes.
#[inline(always)]
fn is_varint(bytes: &[u8]) -> bool {
    match bytes {
        [last] => *last < 0x80,
        [more @ .., last] => bytes.len() < 10 && *last < 0x80 && more.iter().all(|byte| *byte >= 0x80),
        [] => false,
    }
}

/// A length-delimited field with this key and less than 128 bytes, and what follows it.
#[inline(always)]
fn short(bytes: &[u8], key: u8) -> Option<(&[u8], &[u8])> {
    match bytes {
        [first, len, rest @ ..] if *first == key && *len < 0x80 => rest.split_at_checked(usize::from(*len)),
        _ => None,
    }
}

#[cold]
#[inline(never)]
fn any_pair<'a>(bytes: &'a [u8], left: u32, flaw: &mut Flaw) -> Result<Pair<'a>, WalkError> {
    let mut pair = Pair::default();
    let Some(below) = left.checked_sub(1) else {
        flaw.note(TOO_DEEP);
        return Ok(pair);
    };
    let mut reader = Reader::new(bytes, below);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => {
                pair.key = value.bytes()?;
                flaw.text(pair.key);
            }
            2 => any_value(value.bytes()?, below, &mut pair.text, flaw)?,
            3 => drop(value.varint()?),
            _ => unknown(below, flaw),
        }
    }
    Ok(pair)
}

/// Checks an `AnyValue` below a level with `left` more levels; the last member of the oneof counts.
#[inline]
pub(crate) fn any_value<'a>(bytes: &'a [u8], left: u32, text: &mut Option<&'a [u8]>, flaw: &mut Flaw) -> Result<(), WalkError> {
    let Some(below) = left.checked_sub(1) else {
        flaw.note(TOO_DEEP);
        return Ok(());
    };
    let mut reader = Reader::new(bytes, below);
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            let bytes = value.bytes()?;
            flaw.text(bytes);
            *text = Some(bytes);
        } else if let Some(known) = schema::ANY_VALUE.by_number(number) {
            field(known, value, below, flaw)?;
            *text = None;
        } else {
            unknown(below, flaw);
        }
    }
    Ok(())
}
