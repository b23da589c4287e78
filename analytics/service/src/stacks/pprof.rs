//! Folded stacks as pprof (`profile.proto`), counting nanoseconds. Only the fields that a viewer needs.

use flate2::{Compression, write::GzEncoder};
use std::{collections::HashMap, io::Write};

/// Numbers of fields in `profile.proto`.
mod field {
    pub const SAMPLE_TYPE: u64 = 1;
    pub const SAMPLE: u64 = 2;
    pub const LOCATION: u64 = 4;
    pub const FUNCTION: u64 = 5;
    pub const STRING_TABLE: u64 = 6;
}

/// A profile of folded lines `process;[state];outer;...;inner NANOSECONDS`; lines that are none are left out.
pub fn encode(folded: &str) -> Vec<u8> {
    let mut strings = Strings::default();
    strings.number("");
    let mut out = Vec::new();
    let unit = [(1, strings.number("time")), (2, strings.number("nanoseconds"))];
    message(&mut out, field::SAMPLE_TYPE, &numbers(&unit));
    let mut functions: Vec<u64> = Vec::new();
    let mut known: HashMap<&str, u64> = HashMap::new();
    for (frames, nanoseconds) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
        let Ok(nanoseconds) = nanoseconds.parse::<u64>() else { continue };
        // Innermost first, one location per function.
        let locations: Vec<u64> = frames
            .split(';')
            .rev()
            .map(|name| {
                *known.entry(name).or_insert_with(|| {
                    functions.push(strings.number(name));
                    functions.len() as u64
                })
            })
            .collect();
        let mut sample = Vec::new();
        packed_numbers(&mut sample, 1, &locations);
        packed_numbers(&mut sample, 2, &[nanoseconds]);
        message(&mut out, field::SAMPLE, &sample);
    }
    for (id, name) in (1u64..).zip(&functions) {
        let mut location = numbers(&[(1, id)]);
        message(&mut location, 4, &numbers(&[(1, id)]));
        message(&mut out, field::LOCATION, &location);
        message(&mut out, field::FUNCTION, &numbers(&[(1, id), (2, *name), (3, *name)]));
    }
    strings.all.iter().for_each(|text| message(&mut out, field::STRING_TABLE, text.as_bytes()));
    out
}

/// The same in gzip, as pprof files are.
pub fn packed(folded: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let written = packer.write_all(&encode(folded)).and_then(|()| packer.finish());
    written.expect("writing into memory cannot fail")
}

#[derive(Default)]
struct Strings {
    all: Vec<String>,
    known: HashMap<String, u64>,
}

impl Strings {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.all.len() as u64;
        self.all.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits fit a byte.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn numbers(fields: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields {
        varint(&mut out, number << 3);
        varint(&mut out, *value);
    }
    out
}

fn packed_numbers(out: &mut Vec<u8>, number: u64, values: &[u64]) {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| varint(&mut bytes, *value));
    message(out, number, &bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[derive(Message)]
    struct Pair {
        #[prost(uint64, tag = "1")]
        first: u64,
        #[prost(uint64, tag = "2")]
        second: u64,
    }

    #[derive(Message)]
    struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        locations: Vec<u64>,
        #[prost(uint64, repeated, tag = "2")]
        values: Vec<u64>,
    }

    #[derive(Message)]
    struct Profile {
        #[prost(message, repeated, tag = "1")]
        sample_type: Vec<Pair>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<Sample>,
        #[prost(message, repeated, tag = "5")]
        functions: Vec<Pair>,
        #[prost(string, repeated, tag = "6")]
        strings: Vec<String>,
    }

    #[test]
    fn samples_name_their_functions_innermost_first() {
        let bytes = encode("cart;[on_cpu];main;hot 300\nrubbish\ncart;[on_cpu];main 5\n");
        let profile = Profile::decode(&*bytes).expect("protobuf");
        let name = |location: &u64| {
            let function = profile.functions.iter().find(|function| function.first == *location).expect("known");
            profile.strings[usize::try_from(function.second).expect("small")].clone()
        };
        let shown: Vec<(Vec<String>, u64)> =
            profile.samples.iter().map(|sample| (sample.locations.iter().map(name).collect(), sample.values[0])).collect();
        let expected = [(vec!["hot", "main", "[on_cpu]", "cart"], 300), (vec!["main", "[on_cpu]", "cart"], 5)];
        assert_eq!(shown, expected.map(|(names, ns)| (names.into_iter().map(str::to_owned).collect(), ns)));
        assert_eq!(profile.strings[0], "");
        assert_eq!(profile.strings[usize::try_from(profile.sample_type[0].second).expect("small")], "nanoseconds");
    }

    #[test]
    fn nothing_gives_an_empty_profile() {
        assert!(Profile::decode(&*encode("")).expect("protobuf").samples.is_empty());
        assert_eq!(packed("")[..2], [0x1f, 0x8b]);
    }
}
