//! Reads protobuf fields one after another, without allocating. Called by every walk of this folder.
//!
//! Not a decoder: it knows no message, only how fields follow each other. Invariant: whatever it
//! refuses `prost` refuses, and the other way round.

use super::WalkError;

/// Messages within messages that are followed, as in `prost`.
pub(crate) const DEPTH_MAX: u32 = 100;

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4: skipped whole; no OTLP field is a group.
    Group,
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a text, bytes or message field.
    pub(crate) fn bytes(self) -> Result<&'a [u8], WalkError> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(WalkError::WireType) }
    }

    /// The number of a varint field.
    pub(crate) fn varint(self) -> Result<u64, WalkError> {
        if let Value::Varint(number) = self { Ok(number) } else { Err(WalkError::WireType) }
    }

    /// The number of a `fixed64` or `sfixed64` field.
    pub(crate) fn fixed64(self) -> Result<u64, WalkError> {
        if let Value::Fixed64(number) = self { Ok(number) } else { Err(WalkError::WireType) }
    }

    /// The number of a `double` field.
    pub(crate) fn double(self) -> Result<f64, WalkError> {
        self.fixed64().map(f64::from_bits)
    }

    /// The number of a `fixed32` field.
    pub(crate) fn fixed32(self) -> Result<u32, WalkError> {
        if let Value::Fixed32(number) = self { Ok(number) } else { Err(WalkError::WireType) }
    }

    /// The low half of a varint, as protobuf reads 32-bit fields and enums.
    #[allow(clippy::cast_possible_truncation, reason = "protobuf cuts 32-bit fields so")]
    pub(crate) fn low32(self) -> Result<u32, WalkError> {
        self.varint().map(|number| number as u32)
    }

    /// A zigzag varint, cut to 32 bits.
    #[allow(clippy::cast_possible_wrap, reason = "zigzag is defined so")]
    pub(crate) fn sint32(self) -> Result<i32, WalkError> {
        self.low32().map(|number| (number >> 1) as i32 ^ -((number & 1) as i32))
    }
}

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// What was left before the last field.
    before: &'a [u8],
    left: u32,
}

impl<'a> Reader<'a> {
    /// Reads a message; `left` more levels may lie below it.
    pub(crate) const fn new(bytes: &'a [u8], left: u32) -> Self {
        Self { rest: bytes, before: bytes, left }
    }

    /// The next field's number and value; `None` at the end of the message. Always inlined, so that it stays in registers.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WalkError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.before = self.rest;
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            3 => {
                self.skip_group(number, self.left)?;
                Value::Group
            }
            4 => return Err(WalkError::Group),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WalkError::WireType),
        };
        Ok(Some((number, value)))
    }

    /// The last field as it came: key, length, payload.
    #[inline]
    pub(crate) fn framed(&self) -> &'a [u8] {
        &self.before[..self.before.len() - self.rest.len()]
    }

    /// Where the last field began in a message of so many bytes.
    #[inline]
    pub(crate) const fn begun(&self, whole_bytes: usize) -> usize {
        whole_bytes - self.before.len()
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "checked against u32::MAX, then shifted")]
    fn key(&mut self) -> Result<(u32, u32), WalkError> {
        let key = self.varint()?;
        let key = u32::try_from(key).map_err(|_| WalkError::Key)?;
        if key >> 3 == 0 { Err(WalkError::Key) } else { Ok((key >> 3, key & 7)) }
    }

    /// A number of up to ten bytes.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, WalkError> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, WalkError> {
        let mut number = 0;
        for (place, &byte) in self.rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                if place == 9 && byte > 1 {
                    break;
                }
                self.rest = &self.rest[place + 1..];
                return Ok(number);
            }
        }
        Err(WalkError::Varint)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WalkError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(WalkError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline(always)]
    fn take(&mut self, len: u64) -> Result<&'a [u8], WalkError> {
        let len = usize::try_from(len).map_err(|_| WalkError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WalkError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips to the end of group `number`; recursion is bounded by `left`.
    #[cold]
    #[inline(never)]
    fn skip_group(&mut self, number: u32, left: u32) -> Result<(), WalkError> {
        if left == 0 {
            return Err(WalkError::Depth);
        }
        loop {
            let (inner, wire_type) = self.key()?;
            if wire_type == 4 {
                return if inner == number { Ok(()) } else { Err(WalkError::Group) };
            }
            if left == 1 {
                return Err(WalkError::Depth);
            }
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => {
                    let len = self.varint()?;
                    self.take(len)?;
                }
                3 => self.skip_group(inner, left - 1)?,
                5 => drop(self.array::<4>()?),
                _ => return Err(WalkError::WireType),
            }
        }
    }

    /// Whether all was read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Calls `each` for every number of a repeated `fixed64`, `sfixed64` or `double`, packed or not.
pub(crate) fn each_fixed64(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), WalkError> {
    match value {
        Value::Fixed64(number) => each(number),
        Value::Bytes(bytes) => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(WalkError::Truncated);
            }
            numbers.iter().for_each(|number| each(u64::from_le_bytes(*number)));
        }
        Value::Varint(_) | Value::Fixed32(_) | Value::Group => return Err(WalkError::WireType),
    }
    Ok(())
}

/// Calls `each` for every number of a repeated varint field, packed or not.
pub(crate) fn each_varint(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), WalkError> {
    match value {
        Value::Varint(number) => each(number),
        Value::Bytes(bytes) => {
            let mut reader = Reader::new(bytes, 0);
            while !reader.is_empty() {
                each(reader.varint()?);
            }
        }
        Value::Fixed64(_) | Value::Fixed32(_) | Value::Group => return Err(WalkError::WireType),
    }
    Ok(())
}

/// Appends a varint.
#[allow(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
