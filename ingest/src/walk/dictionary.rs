//! What the profiles of a request share: strings, functions, places, stacks, links, attributes, all by index.
//!
//! Read once, before the profiles, because it may follow them. Index 0 of every table means "none", also
//! where the table is empty; any other index that leads nowhere refuses the profile that names it.
//! Texts that are no UTF-8 are shown with replacement characters: they belong to no single profile.

use super::{
    WalkError,
    wire::{DEPTH_MAX, Reader, Value, each_varint, put_varint},
};
use std::ops::Range;

/// Levels below the dictionary's entries that are followed in attribute values.
const VALUE_LEFT: u32 = DEPTH_MAX - 4;

/// Trace and span.
pub(crate) type Link = ([u8; 16], [u8; 8]);

/// An index into a table.
pub(crate) type Index = usize;

/// The tables.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    pub(crate) strings: Vec<String>,
    /// Name of each function, as string.
    functions: Vec<Index>,
    /// File name of each mapping, as string.
    mappings: Vec<Index>,
    locations: Vec<Location>,
    /// Functions of all locations' lines.
    lines: Vec<Index>,
    links: Vec<Link>,
    /// `KeyValue` messages, strings resolved.
    attributes: Vec<Vec<u8>>,
    stacks: Vec<Range<usize>>,
    /// Locations of all stacks.
    frames: Vec<Index>,
}

#[derive(Debug)]
struct Location {
    mapping: Index,
    address: u64,
    lines: Range<usize>,
}

pub(crate) fn index(value: Value<'_>) -> Result<Index, WalkError> {
    // A negative index becomes one that leads nowhere.
    value.low32().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// The entry at an index: `Ok(None)` for index 0, `Err` where there is none.
fn at<T>(table: &[T], index: Index) -> Result<Option<&T>, ()> {
    match index {
        0 => Ok(None),
        _ => table.get(index).map(Some).ok_or(()),
    }
}

impl Dictionary {
    /// Reads the dictionaries of a request; several are one behind the other, which is how protobuf merges.
    pub(crate) fn read(wire: &[u8]) -> Result<Self, WalkError> {
        let mut dictionary = Self::default();
        let mut attributes = Vec::new();
        let mut reader = Reader::new(wire, DEPTH_MAX);
        while let Some((number, value)) = reader.next()? {
            if number == 2 {
                dictionary.absorb(value.bytes()?, &mut attributes)?;
            }
        }
        dictionary.attributes = attributes.iter().map(|bytes| attribute(bytes, &dictionary.strings)).collect::<Result<_, _>>()?;
        Ok(dictionary)
    }

    fn absorb<'a>(&mut self, bytes: &'a [u8], attributes: &mut Vec<&'a [u8]>) -> Result<(), WalkError> {
        let mut reader = Reader::new(bytes, DEPTH_MAX - 1);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => self.mappings.push(number_of(value.bytes()?, 4)?),
                2 => self.location(value.bytes()?)?,
                3 => self.functions.push(number_of(value.bytes()?, 1)?),
                4 => self.links.push(link(value.bytes()?)?),
                5 => self.strings.push(String::from_utf8_lossy(value.bytes()?).into_owned()),
                6 => attributes.push(value.bytes()?),
                7 => self.stack(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn location(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        let (mut mapping, mut address, from) = (0, 0, self.lines.len());
        let mut reader = Reader::new(bytes, DEPTH_MAX - 2);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => mapping = index(value)?,
                2 => address = value.varint()?,
                3 => self.lines.push(number_of(value.bytes()?, 1)?),
                _ => {}
            }
        }
        self.locations.push(Location { mapping, address, lines: from..self.lines.len() });
        Ok(())
    }

    fn stack(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        let from = self.frames.len();
        let mut reader = Reader::new(bytes, DEPTH_MAX - 2);
        while let Some((number, value)) = reader.next()? {
            if number == 1 {
                each_varint(value, |number| self.frames.push(usize::try_from(number).unwrap_or(usize::MAX)))?;
            }
        }
        self.stacks.push(from..self.frames.len());
        Ok(())
    }

    /// A text; empty for index 0.
    pub(crate) fn text(&self, index: Index) -> Result<&str, ()> {
        Ok(at(&self.strings, index)?.map_or("", String::as_str))
    }

    /// Trace and span of a link; zeros for index 0.
    pub(crate) fn link(&self, index: Index) -> Result<Link, ()> {
        Ok(at(&self.links, index)?.copied().unwrap_or_default())
    }

    /// An attribute as a `KeyValue` message; `None` for index 0.
    pub(crate) fn attribute(&self, index: Index) -> Result<Option<&[u8]>, ()> {
        Ok(at(&self.attributes, index)?.map(Vec::as_slice))
    }

    /// A stack as folded text: `outermost;...;innermost`. At most `bytes_max`; more is an error too.
    pub(crate) fn folded(&self, index: Index, bytes_max: usize) -> Result<String, ()> {
        let Some(frames) = at(&self.stacks, index)? else { return Ok(String::new()) };
        let mut text = String::new();
        // The table has the innermost first; of inlined functions the last is the caller.
        for frame in self.frames[frames.clone()].iter().rev() {
            let Some(location) = at(&self.locations, *frame)? else {
                append(&mut text, "[unknown]");
                continue;
            };
            if location.lines.is_empty() {
                append(&mut text, &self.address(location)?);
            }
            for line in self.lines[location.lines.clone()].iter().rev() {
                let name = at(&self.functions, *line)?.map_or(Ok(""), |name| self.text(*name))?;
                if name.is_empty() { append(&mut text, &self.address(location)?) } else { append(&mut text, name) }
            }
            if text.len() > bytes_max {
                return Err(());
            }
        }
        Ok(text)
    }

    /// A place without a name: file and address.
    fn address(&self, location: &Location) -> Result<String, ()> {
        let file = at(&self.mappings, location.mapping)?.map_or(Ok(""), |name| self.text(*name))?;
        let file = file.rsplit('/').next().filter(|file| !file.is_empty()).unwrap_or("[unknown]");
        Ok(format!("{file}+{:#x}", location.address))
    }
}

/// Adds a frame; what divides frames and ends a line is no part of a name.
fn append(text: &mut String, frame: &str) {
    if !text.is_empty() {
        text.push(';');
    }
    text.extend(frame.chars().map(|c| if matches!(c, ';' | '\n' | '\r') { ':' } else { c }));
}

/// One index in a message.
fn number_of(bytes: &[u8], wanted: u32) -> Result<Index, WalkError> {
    let mut found = 0;
    let mut reader = Reader::new(bytes, DEPTH_MAX - 3);
    while let Some((number, value)) = reader.next()? {
        if number == wanted {
            found = index(value)?;
        }
    }
    Ok(found)
}

/// Ids of other lengths belong to no span.
fn link(bytes: &[u8]) -> Result<Link, WalkError> {
    let mut link = ([0; 16], [0; 8]);
    let mut reader = Reader::new(bytes, DEPTH_MAX - 3);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => link.0 = value.bytes()?.try_into().unwrap_or_default(),
            2 => link.1 = value.bytes()?.try_into().unwrap_or_default(),
            _ => {}
        }
    }
    Ok(link)
}

fn put_bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    out.push(key);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A `KeyValueAndUnit` as a plain `KeyValue`.
fn attribute(bytes: &[u8], strings: &[String]) -> Result<Vec<u8>, WalkError> {
    let (mut key, mut any) = (0, &[][..]);
    let mut reader = Reader::new(bytes, VALUE_LEFT);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => key = index(value)?,
            2 => any = value.bytes()?,
            _ => {}
        }
    }
    let mut out = Vec::new();
    put_bytes(&mut out, 0x0a, strings.get(key).map_or("", String::as_str).as_bytes());
    put_bytes(&mut out, 0x12, &plain_value(any, strings)?);
    Ok(out)
}

/// A `KeyValue` of a resource or scope whose key or value may be an index into the strings.
pub(crate) fn plain_pair(bytes: &[u8], strings: &[String]) -> Result<Vec<u8>, WalkError> {
    let (mut key, mut any) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(bytes, VALUE_LEFT);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => key = value.bytes()?.to_vec(),
            2 => any = plain_value(value.bytes()?, strings)?,
            3 => key = strings.get(index(value)?).cloned().unwrap_or_default().into_bytes(),
            _ => {}
        }
    }
    let mut out = Vec::new();
    put_bytes(&mut out, 0x0a, &key);
    put_bytes(&mut out, 0x12, &any);
    Ok(out)
}

/// An `AnyValue` whose text may be an index; what lies deeper is left as it is.
fn plain_value(bytes: &[u8], strings: &[String]) -> Result<Vec<u8>, WalkError> {
    let mut reader = Reader::new(bytes, VALUE_LEFT - 1);
    while let Some((number, value)) = reader.next()? {
        if number == 8 {
            let mut out = Vec::new();
            put_bytes(&mut out, 0x0a, strings.get(index(value)?).map_or("", String::as_str).as_bytes());
            return Ok(out);
        }
    }
    Ok(bytes.to_vec())
}
