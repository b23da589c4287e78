//! The kernel's type information, cut down to what loading our programs needs: numbers of types stay as they are,
//! members of structures that nobody asks for go. Whole, it takes ten times its size in memory to be read. Called once at
//! the start; not here: what is done with it (`programs`).

use std::collections::HashMap;

/// Structures whose members the programs read, as in `bpf/mini.h`.
const STRUCTURES: [&str; 3] = ["pt_regs", "thread_struct", "task_struct"];
/// How the kernel names types of its tracepoints.
const TRACEPOINTS: &str = "btf_trace_";
const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

const STRUCT: u8 = 4;
const UNION: u8 = 5;
const TYPEDEF: u8 = 8;

/// Bytes after a type's head, by kind and number of members; none for a kind that is not known.
fn tail(kind: u8, members: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        STRUCT | UNION | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => return None,
    })
}

/// Whether what follows the head are members, which may go.
const fn has_members(kind: u8) -> bool {
    matches!(kind, STRUCT | UNION | 6 | 13 | 15 | 19)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// One type, where it lies.
#[derive(Clone, Copy)]
struct Head<'a> {
    bytes: &'a [u8],
    kind: u8,
    is_kept: bool,
}

/// The type information while it is read.
struct Reader<'a> {
    types: Vec<Head<'a>>,
    strings: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(raw: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(raw.get(..2)?.try_into().ok()?);
        let number = |at| word(raw, at).and_then(|number| usize::try_from(number).ok());
        let (base, types_at, types_length) = (number(4)?, number(8)?, number(12)?);
        let part = |at: usize, length: usize| raw.get(base.checked_add(at)?..base.checked_add(at)?.checked_add(length)?);
        let (mut rest, strings) = (part(types_at, types_length)?, part(number(16)?, number(20)?)?);
        let mut types = Vec::with_capacity(types_length / 20);
        while magic == MAGIC && !rest.is_empty() {
            let what = word(rest, 4)?;
            // Five bits.
            let kind = (what >> 24 & 0x1f) as u8;
            let length = TYPE_BYTES + tail(kind, usize::try_from(what & 0xffff).ok()?)?;
            types.push(Head { bytes: rest.get(..length)?, kind, is_kept: false });
            rest = &rest[length..];
        }
        (magic == MAGIC).then_some(Self { types, strings })
    }

    fn name(&self, at: u32) -> &'a [u8] {
        let rest = usize::try_from(at).ok().and_then(|at| self.strings.get(at..)).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn name_of(&self, one: &Head<'_>) -> &'a [u8] {
        word(one.bytes, 0).map_or(&[], |at| self.name(at))
    }

    /// Marks the structures asked for, and those without a name that lie in them.
    fn choose(&mut self) {
        let is_asked = |one: &Head<'a>| one.kind == STRUCT && STRUCTURES.iter().any(|name| name.as_bytes() == self.name_of(one));
        let mut todo: Vec<usize> = self.types.iter().enumerate().filter(|(_, one)| is_asked(one)).map(|(at, _)| at).collect();
        while let Some(at) = todo.pop() {
            let Some(one) = self.types.get_mut(at).filter(|one| !one.is_kept && matches!(one.kind, STRUCT | UNION)) else { continue };
            one.is_kept = true;
            for member in one.bytes[TYPE_BYTES..].chunks_exact(MEMBER_BYTES) {
                let (name, kind) = (word(member, 0), word(member, 4).and_then(|number| usize::try_from(number).ok()));
                // Types are counted from 1.
                todo.extend(kind.and_then(|number| number.checked_sub(1)).filter(|_| name == Some(0)));
            }
        }
    }
}

/// Names that are kept, each once.
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

impl Strings {
    fn number(&mut self, name: &[u8]) -> Option<[u8; 4]> {
        if let Some(known) = self.known.get(name) {
            return Some(known.to_ne_bytes());
        }
        let number = u32::try_from(self.bytes.len()).ok()?;
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.known.insert(name.to_owned(), number);
        Some(number.to_ne_bytes())
    }
}

/// The same types under the same numbers, with members only where the programs look; `None` where it cannot be
/// understood, for a kernel newer than this. Time and memory: linear in the length.
pub fn lean(raw: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(raw)?;
    reader.choose();
    let mut strings = Strings { bytes: vec![0], known: HashMap::from([(Vec::new(), 0)]) };
    let mut types = Vec::with_capacity(reader.types.len() * 14);
    for one in &reader.types {
        let name = reader.name_of(one);
        let is_named = one.is_kept || one.kind == TYPEDEF && name.starts_with(TRACEPOINTS.as_bytes());
        types.extend(strings.number(if is_named { name } else { &[] })?);
        if one.is_kept {
            types.extend_from_slice(&one.bytes[4..TYPE_BYTES]);
            for member in one.bytes[TYPE_BYTES..].chunks_exact(MEMBER_BYTES) {
                types.extend(strings.number(reader.name(word(member, 0)?))?);
                types.extend_from_slice(&member[4..]);
            }
        } else if has_members(one.kind) {
            types.extend((word(one.bytes, 4)? & !0xffff).to_ne_bytes());
            types.extend_from_slice(&one.bytes[8..TYPE_BYTES]);
        } else {
            types.extend_from_slice(&one.bytes[4..]);
        }
    }
    let (types_length, strings_length) = (u32::try_from(types.len()).ok()?, u32::try_from(strings.bytes.len()).ok()?);
    // Magic, version and flags as they were.
    let mut out = raw.get(..4)?.to_vec();
    let header = [u32::try_from(HEADER_BYTES).ok()?, 0, types_length, types_length, strings_length];
    header.into_iter().for_each(|number| out.extend(number.to_ne_bytes()));
    out.extend(types);
    out.extend(strings.bytes);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, kind, and members by name and type.
    type Written<'a> = (&'a str, u8, &'a [(&'a str, u32)]);

    /// Types as the compiler writes them: heads with name, kind and members.
    fn written(types: &[Written<'_>]) -> Vec<u8> {
        let (mut strings, mut bytes) = (vec![0], Vec::new());
        let mut string = |text: &str| {
            let at = if text.is_empty() { 0 } else { u32::try_from(strings.len()).expect("short") };
            if at > 0 {
                strings.extend(text.bytes().chain([0]));
            }
            at.to_ne_bytes()
        };
        for (name, kind, members) in types {
            bytes.extend(string(name));
            bytes.extend((u32::from(*kind) << 24 | u32::try_from(members.len()).expect("few")).to_ne_bytes());
            bytes.extend(8u32.to_ne_bytes());
            for (name, of) in *members {
                bytes.extend(string(name));
                bytes.extend(of.to_ne_bytes());
                bytes.extend(64u32.to_ne_bytes());
            }
        }
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let (types, strings_length) = (u32::try_from(bytes.len()).expect("short"), u32::try_from(strings.len()).expect("short"));
        [24, 0, types, types, strings_length].into_iter().for_each(|number: u32| out.extend(number.to_ne_bytes()));
        out.extend(bytes);
        out.extend(strings);
        out
    }

    /// Name, kind and names of members of each type.
    fn read(raw: &[u8]) -> Vec<(String, u8, Vec<String>)> {
        let reader = Reader::new(raw).expect("written above");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let members = |one: &Head<'_>| {
            let all = one.bytes[TYPE_BYTES..].chunks_exact(MEMBER_BYTES);
            all.map(|member| text(reader.name(word(member, 0).expect("whole")))).collect()
        };
        reader.types.iter().map(|one| (text(reader.name_of(one)), one.kind, members(one))).collect()
    }

    #[test]
    fn only_members_that_are_read_stay_and_numbers_are_kept() {
        let raw = written(&[
            ("inode", STRUCT, &[("owner", 3), ("size", 3)]),
            ("", UNION, &[("tgid", 3)]),
            ("task_struct", STRUCT, &[("pid", 2), ("", 2), ("files", 1)]),
            ("btf_trace_sched_switch", TYPEDEF, &[]),
            ("loff_t", TYPEDEF, &[]),
        ]);
        let named = |name: &str, kind, members: &[&str]| (name.to_owned(), kind, members.iter().map(|name| (*name).to_owned()).collect());
        let expected = vec![
            named("", STRUCT, &[]),
            named("", UNION, &["tgid"]),
            named("task_struct", STRUCT, &["pid", "", "files"]),
            named("btf_trace_sched_switch", TYPEDEF, &[]),
            named("", TYPEDEF, &[]),
        ];
        assert_eq!(read(&lean(&raw).expect("it can be understood")), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_left_alone() {
        let raw = written(&[("task_struct", STRUCT, &[("pid", 1)]), ("news", 29, &[])]);
        assert_eq!(lean(&raw), None, "a kind of the future");
        assert_eq!(lean(&raw[..30]), None);
        assert_eq!(lean(&[0; 64]), None);
    }

    #[test]
    fn every_structure_that_the_programs_read_is_asked_for() {
        let source = include_str!("../../bpf/mini.h");
        let declared = source.split("\nstruct ").skip(1).filter_map(|rest| rest.split_once(" {")).map(|(name, _)| name);
        assert_eq!(declared.collect::<Vec<_>>(), STRUCTURES);
    }
}
