//! Texts of one column and row group, numbered in the order of their coming. A dictionary page in the making.

use super::pairs::is_like;
use xxhash_rust::xxh3::xxh3_64;

/// Numbers texts. What is looked up (`key`) and what is written may differ: attributes are found by their wire
/// bytes and written as JSON.
#[derive(Default)]
pub(crate) struct Words {
    /// Number + 1 of the word whose hash leads here; 0: free. A power of two long, at most half full.
    slots: Vec<u32>,
    hashes: Vec<u32>,
    keys: Vec<u8>,
    /// End of each key.
    ends: Vec<usize>,
    /// Length and bytes of each text: a dictionary page.
    page: Vec<u8>,
}

impl Words {
    /// Number of words.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the page so far.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page.len()
    }

    /// The key of a word.
    pub(crate) fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[number]]
    }

    /// Whether a word has this key.
    #[inline]
    pub(crate) fn is(&self, number: u32, key: &[u8]) -> bool {
        is_like(self.key(number), key)
    }

    /// The word's number; `write` is called where it is new.
    pub(crate) fn number(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        if self.slots.len() <= 2 * self.ends.len() {
            self.grow();
        }
        let hash = xxh3_64(key);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let (mut place, check) = (hash as usize & mask, (hash >> 32) as u32);
        while let Some(number) = self.slots[place].checked_sub(1) {
            if self.hashes[number as usize] == check && self.is(number, key) {
                return number;
            }
            place = (place + 1) & mask;
        }
        let number = u32::try_from(self.ends.len()).expect("a row group ends long before 2^32 words");
        self.slots[place] = number + 1;
        self.hashes.push(check);
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
        let start = self.page.len();
        self.page.extend_from_slice(&[0; 4]);
        write(&mut self.page);
        let length = u32::try_from(self.page.len() - start - 4).expect("a text is part of one request");
        self.page[start..start + 4].copy_from_slice(&length.to_le_bytes());
        number
    }

    fn grow(&mut self) {
        let size = (2 * self.slots.len()).max(64);
        self.slots.clear();
        self.slots.resize(size, 0);
        // The low bits of hashes are not kept: as rare as growing is, they are taken again.
        for number in 0..u32::try_from(self.ends.len()).expect("fewer than 2^32") {
            #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
            let mut place = xxh3_64(self.key(number)) as usize & (size - 1);
            while self.slots[place] != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = number + 1;
        }
    }

    /// The page and how many words it has; empty again, but as large.
    pub(crate) fn take(&mut self) -> (Vec<u8>, usize) {
        let count = self.ends.len();
        self.slots.fill(0);
        self.hashes.clear();
        self.keys.clear();
        self.ends.clear();
        let room = self.page.len();
        (std::mem::replace(&mut self.page, Vec::with_capacity(room)), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_number_however_many_there_are() {
        let mut words = Words::default();
        let text = |n: u32| format!("word {}", n % 1000);
        for round in 0..3u32 {
            for n in 0..1000 {
                let number = words.number(text(n).as_bytes(), |page| page.extend_from_slice(text(n).as_bytes()));
                assert_eq!(number, n, "round {round}");
            }
        }
        assert_eq!((words.len(), words.key(17)), (1000, b"word 17".as_slice()));
        let (page, count) = words.take();
        assert_eq!((count, &page[..10]), (1000, b"\x06\0\0\0word 0".as_slice()));
        assert_eq!(words.number(b"b", |_| ()), 0);
    }
}
