//! Log templates, in the manner of Drain: which records are "the same message".
//!
//! First what looks like a value is masked: numbers, hex, UUIDs, addresses, times, quoted text. What
//! is then equal is one template. Words that vary (user names) show only with time: once four
//! templates differ in one place only, every further one goes to a fifth with a wildcard there.
//! A template's text never changes, so its series keeps its name; a function of the records in order.

use super::naming::cut;
use crate::hash::{FixedMap, of_parts};
use serde::{Deserialize, Serialize};

/// What stands for a value.
pub const WILD: &str = "<*>";
/// Bytes and words of a record that are looked at.
const TEXT_MAX: usize = 400;
const WORDS_MAX: usize = 40;
/// Templates that may differ in one place before it is a wildcard.
const SIBLINGS_MAX: u32 = 4;

/// Templates of one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Miner {
    /// Template texts that exist.
    known: FixedMap<u128, ()>,
    /// How many templates agree everywhere but in one place.
    siblings: FixedMap<u128, u32>,
}

/// The first line of a record, with everything that looks like a value replaced.
pub fn mask(text: &str) -> String {
    let line = cut(text.trim_start().lines().next().unwrap_or_default(), TEXT_MAX);
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let len = if first.is_alphanumeric() {
            let len = word_len(rest);
            out.push_str(if is_value(&rest[..len]) { WILD } else { &rest[..len] });
            len
        } else if let Some(len) = quoted_len(rest, first) {
            let is_key = rest[len..].starts_with(':');
            out.push_str(if is_key { &rest[..len] } else { WILD });
            len
        } else {
            out.push(if first.is_control() { ' ' } else { first });
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '%' | '+')
}

/// Length of the word that the text begins with; a colon belongs to times and addresses only.
fn word_len(text: &str) -> usize {
    let len = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let colon = text[..len]
        .find(':')
        .filter(|at| !text[..*at].bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'.' || byte == b'-' || byte == b'T'));
    colon.unwrap_or(len)
}

/// Length of a quoted text with its quotes; an apostrophe within words opens none.
fn quoted_len(rest: &str, quote: char) -> Option<usize> {
    if !matches!(quote, '"' | '\'' | '`') {
        return None;
    }
    rest[1..].find(quote).map(|at| at + 2)
}

/// Numbers, hex, UUIDs, addresses, times: begins with a digit, or a third are digits, or long hex.
fn is_value(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let first = word.trim_start_matches(['-', '+', '.']).bytes().next().unwrap_or(b' ');
    let is_hex = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    digits > 0 && (first.is_ascii_digit() || digits * 3 >= word.len() || is_hex)
}

impl Miner {
    /// The template of a record. Masking costs a pass over the text, a known template one look-up.
    pub fn template(&mut self, text: &str) -> String {
        let masked = mask(text);
        let mut words: Vec<&str> = masked.split_whitespace().take(WORDS_MAX).collect();
        loop {
            let key = key_of(&words, usize::MAX);
            if self.known.contains_key(&key) {
                break;
            }
            let places = (0..words.len()).filter(|at| words[*at] != WILD);
            let varies = places.clone().find(|at| self.siblings.get(&key_of(&words, *at)).is_some_and(|n| *n >= SIBLINGS_MAX));
            if let Some(at) = varies {
                words[at] = WILD;
                continue;
            }
            for at in places {
                *self.siblings.entry(key_of(&words, at)).or_default() += 1;
            }
            self.known.insert(key, ());
            break;
        }
        words.join(" ")
    }

    /// Templates there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Hash of the words, one place left open.
fn key_of(words: &[&str], open: usize) -> u128 {
    of_parts(open as u64, words.iter().enumerate().map(|(at, word)| if at == open { b"" } else { word.as_bytes() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_words_stay() {
        for (text, masked) in [
            ("took 12.5ms for 10.0.0.1:8080", "took <*> for <*>"),
            ("order 550e8400-e29b-41d4-a716-446655440000 at 2023-11-14T22:13:20Z", "order <*> at <*>"),
            ("user='bob' id=0xdeadbeef1 http2 ok", "user=<*> id=<*> http2 ok"),
            (r#"{"level":"info","n":5}"#, r#"{"level":<*>,"n":<*>}"#),
            ("first\nsecond 2", "first"),
            ("", ""),
            ("it's", "it's"),
            ("code:5 at 12:30:01.5 -7", "code:<*> at <*> -<*>"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    #[test]
    fn a_place_that_varies_becomes_a_wildcard_and_templates_keep_their_text() {
        let mut miner = Miner::default();
        let names = ["ann", "bob", "cid", "dan", "eve", "fay", "ann"];
        let templates: Vec<String> = names.iter().map(|name| miner.template(&format!("user {name} logged in"))).collect();
        assert_eq!(templates[0], "user ann logged in");
        assert_eq!(templates[4], "user <*> logged in");
        assert_eq!(templates[5], templates[4]);
        assert_eq!(templates[6], templates[0]);
        assert_ne!(miner.template("payment failed"), miner.template("payment succeeded"));
    }

    #[test]
    fn the_same_records_give_the_same_templates() {
        let run = || {
            let mut miner = Miner::default();
            (0..500u32)
                .map(|n| miner.template(&format!("w{} x{} did {n}", "abcdefgh".split_at((n % 8) as usize).0, n % 3)))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
