//! Attributes of rows on their way into a row group: lists of JSON members, `"key":value`, each numbered.
//!
//! A pair is found by its key first: at the same place in the row before, as a rule. What is known of a key then says
//! how its values are looked for: like the last one, in a table, or, where hardly one comes twice (an id), not at
//! all: such a value is written as a new word straight away, since a dictionary may say the same twice.

use super::pages::{Pressed, fresh};
use crate::parquet::json_text::{key_of_member, member, members, split, value, whole};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64;

/// Keys that are known by number; pairs of further ones are looked for whole.
const KEYS_MAX: usize = 1024;
/// Key of a pair whose key has no number.
const NO_KEY: u32 = u32::MAX;
/// So many values of a key tell whether they are worth looking for: of eight, seven must be new to stop it.
const LOOKS: u32 = 512;
/// A key whose values were not worth looking for is given another chance after so many row groups.
const TRY_AGAIN: u32 = 16;

/// What is known of a key.
struct Key {
    text: Box<[u8]>,
    /// The key as a member begins: `"key":`.
    begun: Box<[u8]>,
    /// The last value's entry.
    last: Option<u32>,
    /// Row in which it was last met.
    met_in: u32,
    looked: u32,
    missed: u32,
    is_direct: bool,
}

/// A value that can be found again.
struct Entry {
    start: u32,
    length: u32,
    key: u32,
    word: u32,
}

/// Pairs of a row group, growing.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Length and bytes of each word: a dictionary page.
    page: Vec<u8>,
    words: u32,
    numbers: Vec<u32>,
    lengths: Vec<u32>,
    keys: Vec<Key>,
    /// Numbers of keys by hash, like `slots`.
    key_slots: Vec<u32>,
    /// Key at each place of the row before.
    places: Vec<u32>,
    entries: Vec<Entry>,
    /// Values of the entries: `AnyValue`s, or whole pairs where the key has no number.
    values: Vec<u8>,
    /// Entry + 1 in the low half, bits of its hash in the high half; 0: free. A power of two, at most half full.
    slots: Vec<u64>,
    row: u32,
    groups: u32,
    scratch: String,
}

/// Whether two short texts are alike: by eights, without a call.
#[inline]
pub(crate) fn is_like(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(last), Some(other_last)) => {
            let mut eights = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
            last == other_last && eights.all(|(one, other)| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other))
        }
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

/// Key and `AnyValue` of a pair in the usual form: both short, in either order, and nothing else.
#[inline]
fn usual(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = short(pair)?;
    let (second, rest) = short(rest)?;
    match (rest.is_empty(), pair[0], pair[2 + first.len()]) {
        (true, 0x0a, 0x12) => Some((first, second)),
        (true, 0x12, 0x0a) => Some((second, first)),
        _ => None,
    }
}

/// A length-delimited field of less than 128 bytes with a number below 16, and what follows it.
#[inline]
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [_, length, rest @ ..] if *length < 0x80 => rest.split_at_checked(usize::from(*length)),
        _ => None,
    }
}

/// Whether JSON shows these bytes as they are: printable ASCII but quotation mark and backslash.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & (*byte >= 0x20) & (*byte < 0x80) & (*byte != b'"') & (*byte != b'\\'))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a row group ends long before 2^32")
}

impl Pairs {
    /// Bytes of the page so far.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page.len()
    }

    /// Adds the row of this cell.
    pub(crate) fn row(&mut self, cell: &[u8]) {
        self.row += 1;
        let (start, mut repeats) = (self.numbers.len(), false);
        for (place, pair) in members(cell).enumerate() {
            let (key, any) = usual(pair).unwrap_or_else(|| split(pair).map_or((&[][..], pair), |(key, any)| (key.as_bytes(), any)));
            let known = self.key(place, key);
            let word = if known == NO_KEY {
                // Whoever has so many keys pays for comparing them.
                repeats = true;
                self.find(NO_KEY, pair, pair)
            } else {
                repeats |= std::mem::replace(&mut self.keys[known as usize].met_in, self.row) == self.row;
                self.word(known, any, pair)
            };
            self.numbers.push(word);
        }
        if repeats {
            self.keep_last(cell, start);
        }
        self.lengths.push(number(self.numbers.len() - start));
    }

    /// The number of a key, which is probably the one at the same place of the row before.
    #[inline]
    fn key(&mut self, place: usize, text: &[u8]) -> u32 {
        if let Some(known) = self.places.get(place).and_then(|known| self.keys.get(*known as usize))
            && is_like(&known.text, text)
        {
            return self.places[place];
        }
        let known = self.find_key(text);
        if place >= self.places.len() {
            self.places.resize(place + 1, NO_KEY);
        }
        self.places[place] = known;
        known
    }

    fn find_key(&mut self, text: &[u8]) -> u32 {
        if self.key_slots.is_empty() {
            self.key_slots.resize(2 * KEYS_MAX, 0);
        }
        #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let mut slot = xxh3_64(text) as usize % self.key_slots.len();
        while let Some(known) = self.key_slots[slot].checked_sub(1) {
            if is_like(&self.keys[known as usize].text, text) {
                return known;
            }
            slot = (slot + 1) % self.key_slots.len();
        }
        let Ok(readable) = std::str::from_utf8(text) else { return NO_KEY };
        if self.keys.len() == KEYS_MAX {
            return NO_KEY;
        }
        let known = number(self.keys.len());
        self.key_slots[slot] = known + 1;
        self.scratch.clear();
        crate::parquet::json_text::string(readable, &mut self.scratch);
        self.scratch.push(':');
        let begun = self.scratch.as_bytes().into();
        self.keys.push(Key { text: text.into(), begun, last: None, met_in: 0, looked: 0, missed: 0, is_direct: false });
        known
    }

    /// The word of a value of a known key.
    #[inline]
    fn word(&mut self, known: u32, any: &[u8], pair: &[u8]) -> u32 {
        let key = &self.keys[known as usize];
        if key.is_direct {
            return self.write(known, any, pair);
        }
        if let Some(last) = key.last {
            let entry = &self.entries[last as usize];
            if is_like(&self.values[entry.start as usize..][..entry.length as usize], any) {
                return entry.word;
            }
        }
        self.find(known, any, pair)
    }

    /// The word of what is looked for in the table; a new one where it is not there.
    fn find(&mut self, known: u32, any: &[u8], pair: &[u8]) -> u32 {
        if self.slots.len() <= 2 * self.entries.len() {
            self.grow();
        }
        let hash = hash_of(known, any);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let mut slot = hash as usize & mask;
        let mut found = None;
        while self.slots[slot] != 0 {
            #[allow(clippy::cast_possible_truncation, reason = "the low half is the entry")]
            let at = self.slots[slot] as u32 - 1;
            if self.slots[slot] >> 32 == hash >> 32 {
                let entry = &self.entries[at as usize];
                if entry.key == known && is_like(&self.values[entry.start as usize..][..entry.length as usize], any) {
                    found = Some(at);
                    break;
                }
            }
            slot = (slot + 1) & mask;
        }
        let is_new = found.is_none();
        let at = found.unwrap_or_else(|| {
            let word = self.write(known, any, pair);
            let entry = Entry { start: number(self.values.len()), length: number(any.len()), key: known, word };
            self.values.extend_from_slice(any);
            self.entries.push(entry);
            let at = number(self.entries.len());
            self.slots[slot] = hash >> 32 << 32 | u64::from(at);
            at - 1
        });
        if let Some(key) = self.keys.get_mut(known as usize) {
            key.last = Some(at);
            key.looked += 1;
            key.missed += u32::from(is_new);
            if key.looked == LOOKS {
                key.is_direct = key.missed > LOOKS / 8 * 7;
                (key.looked, key.missed) = (0, 0);
            }
        }
        self.entries[at as usize].word
    }

    fn grow(&mut self) {
        let size = (2 * self.slots.len()).max(1024);
        self.slots.clear();
        self.slots.resize(size, 0);
        for (at, entry) in (1u64..).zip(&self.entries) {
            let hash = hash_of(entry.key, &self.values[entry.start as usize..][..entry.length as usize]);
            #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
            let mut slot = hash as usize & (size - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = hash >> 32 << 32 | at;
        }
    }

    /// Writes a word; what is malformed is an empty one.
    fn write(&mut self, known: u32, any: &[u8], pair: &[u8]) -> u32 {
        let start = self.page.len();
        let page = &mut self.page;
        page.extend_from_slice(&[0; 4]);
        match (self.keys.get(known as usize), any) {
            (Some(key), [0x0a, length, text @ ..]) if usize::from(*length) == text.len() && text.len() < 0x80 && is_plain(text) => {
                page.extend_from_slice(&key.begun);
                page.push(b'"');
                page.extend_from_slice(text);
                page.push(b'"');
            }
            (Some(key), any) if let Some(number) = whole(any) => {
                page.extend_from_slice(&key.begun);
                page.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            (key, _) => {
                let out = &mut self.scratch;
                out.clear();
                let written = match key {
                    Some(key) => {
                        page.extend_from_slice(&key.begun);
                        value(any, 1, out)
                    }
                    None => member(pair, out),
                };
                if written.is_ok() { page.extend_from_slice(out.as_bytes()) } else { page.truncate(start + 4) }
            }
        }
        let length = number(page.len() - start - 4);
        page[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.words += 1;
        self.words - 1
    }

    /// Of a repeated key the last value counts.
    #[cold]
    fn keep_last(&mut self, cell: &[u8], start: usize) {
        let open: Vec<(&[u8], u32)> = members(cell).map(key_of_member).zip(self.numbers[start..].iter().copied()).collect();
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let mut kept: Vec<u32> = open.iter().rev().filter(|(key, _)| seen.insert(*key)).map(|(_, word)| *word).collect();
        kept.reverse();
        self.numbers.truncate(start);
        self.numbers.extend_from_slice(&kept);
    }

    /// The column; empty again, but what is known of keys stays.
    pub(crate) fn take(&mut self) -> Pressed {
        (self.row, self.groups) = (0, self.groups + 1);
        if self.keys.len() == KEYS_MAX {
            self.keys.clear();
            self.key_slots.clear();
            self.places.clear();
        }
        let tries = self.groups.is_multiple_of(TRY_AGAIN);
        for key in &mut self.keys {
            (key.last, key.met_in, key.looked, key.missed) = (None, 0, 0, 0);
            key.is_direct &= !tries;
        }
        self.entries.clear();
        self.values.clear();
        self.slots.fill(0);
        let words = std::mem::take(&mut self.words) as usize;
        Pressed::Lists((fresh(&mut self.page), words), fresh(&mut self.numbers), fresh(&mut self.lengths))
    }
}

fn hash_of(key: u32, any: &[u8]) -> u64 {
    xxh3_64(any) ^ u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};

    fn cell(pairs: &[(String, Value)]) -> Vec<u8> {
        let mut cell = Vec::new();
        for (key, value) in pairs {
            let any = AnyValue { value: Some(value.clone()) };
            let pair = KeyValue { key: key.clone(), value: Some(any), ..KeyValue::default() };
            prost::encoding::message::encode(1, &pair, &mut cell);
        }
        cell
    }

    /// The rows as they are read again.
    fn read(pressed: Pressed) -> Vec<Vec<String>> {
        let Pressed::Lists((page, count), numbers, lengths) = pressed else { panic!("attributes are lists") };
        let (mut words, mut rest) = (Vec::new(), &page[..]);
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (word, more) = more.split_at(u32::from_le_bytes(*length) as usize);
            words.push(String::from_utf8(word.to_vec()).expect("words are text"));
            rest = more;
        }
        assert_eq!(words.len(), count);
        let mut numbers = numbers.iter();
        lengths.iter().map(|length| numbers.by_ref().take(*length as usize).map(|n| words[*n as usize].clone()).collect()).collect()
    }

    #[test]
    fn every_row_has_its_members_however_often_their_values_repeat() {
        let mut pairs = Pairs::default();
        // Enough to be written directly, then to be looked for again; one row in three has a key more in front.
        for group in 0..20 {
            let mut wanted = Vec::new();
            for row in 0..700i64 {
                let text = |text: String| Value::StringValue(text);
                let mut row_of = vec![
                    ("id".to_owned(), text(format!("{group}-{row}"))),
                    ("tier".to_owned(), text(["free", "gold \"1\"", "zwölf"][row as usize % 3].to_owned())),
                    ("n".to_owned(), Value::IntValue(row % 7 - 3)),
                    ("ok".to_owned(), Value::BoolValue(row % 2 == 0)),
                ];
                if row % 3 == 0 {
                    row_of.insert(0, (format!("key {}", row % 9), text("x".repeat(200))));
                }
                pairs.row(&cell(&row_of));
                let member = |(key, value): &(String, Value)| {
                    let value = match value {
                        Value::StringValue(text) => serde_json::json!(text),
                        Value::IntValue(number) => serde_json::json!(number),
                        Value::BoolValue(flag) => serde_json::json!(flag),
                        other => panic!("{other:?} is not among them"),
                    };
                    format!("{}:{value}", serde_json::json!(key))
                };
                wanted.push(row_of.iter().map(member).collect::<Vec<_>>());
            }
            assert_eq!(read(pairs.take()), wanted, "row group {group}");
        }
    }

    #[test]
    fn of_a_repeated_key_the_last_counts_also_where_there_are_too_many_keys() {
        let mut pairs = Pairs::default();
        let one = |key: &str, number| (key.to_owned(), Value::IntValue(number));
        pairs.row(&cell(&[one("a", 1), one("b", 2), one("a", 3)]));
        for n in 0..KEYS_MAX {
            pairs.row(&cell(&[one(&format!("k{n}"), 1)]));
        }
        pairs.row(&cell(&[one("late", 1), one("b", 2), one("late", 3)]));
        pairs.row(&cell(&[]));
        let rows = read(pairs.take());
        assert_eq!(rows[0], ["\"b\":2", "\"a\":3"]);
        assert_eq!(rows[KEYS_MAX + 1], ["\"b\":2", "\"late\":3"]);
        assert!(rows[KEYS_MAX + 2].is_empty());
    }
}
