//! Growing columns: plain vectors that become Arrow arrays at the end. Called by the walks only.
//!
//! Invariant: a cell is open until `seal`; `cancel` takes back what a refused row left behind.

use super::{slab::room, wire::put_varint};
use arrow_array::{Array, BinaryArray, FixedSizeBinaryArray, StringArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// Bytes of different lengths. Offsets fit `i32`: `Allowance` ends a walk long before.
#[derive(Debug)]
pub(crate) struct Cells {
    pub(crate) bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Default for Cells {
    fn default() -> Self {
        Self::new()
    }
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), ends: vec![0] }
    }

    /// Makes room for so many more rows; their bytes find room as they come.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.ends.reserve(rows);
    }

    /// Where cells end, behind a zero.
    pub(crate) fn ends(&self) -> &[i32] {
        &self.ends
    }

    /// Room that the column takes in a slab.
    pub(crate) fn room(&self) -> usize {
        room(&self.ends) + room(&self.bytes)
    }

    /// Memory held, used or not.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity() + size_of::<i32>() * self.ends.capacity()
    }

    /// Without cells, but as roomy.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.truncate(1);
    }

    /// Number of sealed cells.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.ends.len() - 1).expect("each row costs wire bytes, which are below 2 GiB")
    }

    /// Adds a whole cell.
    #[inline]
    pub(crate) fn push(&mut self, cell: &[u8]) {
        self.bytes.extend_from_slice(cell);
        self.seal();
    }

    /// Adds a field as it came (key, length, payload) as field 1 to the open cell.
    #[inline]
    pub(crate) fn item(&mut self, framed: &[u8]) {
        let start = self.bytes.len();
        let key_bytes = 1 + framed.iter().take_while(|byte| **byte >= 0x80).count();
        // A key of one byte is the rule, so this copies once.
        self.bytes.extend_from_slice(&framed[key_bytes.saturating_sub(1)..]);
        self.bytes[start] = 0x0a;
    }

    /// Adds fields that follow each other in the message, as field 1 each: `keys` says where they begin in `run`.
    /// Their keys have one byte.
    #[inline]
    pub(crate) fn items(&mut self, run: &[u8], keys: &[u32]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(run);
        keys.iter().for_each(|key| self.bytes[start + *key as usize] = 0x0a);
    }

    /// Adds a message as field 1 to the open cell.
    pub(crate) fn message(&mut self, message: &[u8]) {
        self.bytes.push(0x0a);
        put_varint(&mut self.bytes, message.len() as u64);
        self.bytes.extend_from_slice(message);
    }

    /// Ends the open cell.
    #[inline]
    pub(crate) fn seal(&mut self) {
        self.ends.push(i32::try_from(self.bytes.len()).expect("the allowance is below 2 GiB"));
    }

    fn open_at(&self) -> usize {
        self.ends.last().map_or(0, |end| usize::try_from(*end).expect("offsets are lengths"))
    }

    /// What the open cell holds so far.
    pub(crate) fn open(&self) -> &[u8] {
        &self.bytes[self.open_at()..]
    }

    /// Forgets the open cell.
    #[inline]
    pub(crate) fn cancel(&mut self) {
        self.bytes.truncate(self.open_at());
    }

    fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }

    pub(crate) fn into_binary(self) -> Result<Arc<dyn Array>, ArrowError> {
        Ok(Arc::new(BinaryArray::try_new(Self::offsets(self.ends), self.bytes.into(), None)?))
    }

    pub(crate) fn into_text(self) -> Result<Arc<dyn Array>, ArrowError> {
        Ok(Arc::new(StringArray::try_new(Self::offsets(self.ends), self.bytes.into(), None)?))
    }
}

/// Fields of one number that follow each other, on their way into a cell: copied at once, not one by one.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    whole: &'a [u8],
    start: usize,
    end: usize,
    keys: [u32; RUN_MAX],
    count: usize,
}

/// More fields make another run.
const RUN_MAX: usize = 32;

impl<'a> Run<'a> {
    /// Of fields of this message.
    pub(crate) const fn of(whole: &'a [u8]) -> Self {
        Self { whole, start: 0, end: 0, keys: [0; RUN_MAX], count: 0 }
    }

    /// Takes the field `framed`, which begins at `at` in the message.
    #[inline(always)]
    pub(crate) fn take(&mut self, at: usize, framed: &[u8], cells: &mut Cells) {
        if framed.first().is_none_or(|key| *key >= 0x80) {
            self.end(cells);
            cells.item(framed);
            return;
        }
        if at != self.end || self.count == RUN_MAX {
            self.end(cells);
            self.start = at;
        }
        self.keys[self.count] = u32::try_from(at - self.start).expect("a message is below 2 GiB");
        self.count += 1;
        self.end = at + framed.len();
    }

    /// Puts what was taken into the cell.
    #[inline]
    pub(crate) fn end(&mut self, cells: &mut Cells) {
        if self.count > 0 {
            cells.items(&self.whole[self.start..self.end], &self.keys[..self.count]);
            self.count = 0;
        }
    }
}

/// Ids of one width.
pub(crate) fn ids(width: i32, bytes: Vec<u8>) -> Result<Arc<dyn Array>, ArrowError> {
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, bytes.into(), None)?))
}

/// Takes the number of an enum that has values up to `max`; unknown ones are unspecified.
pub(crate) fn enum_u8(number: u32, max: u8) -> u8 {
    u8::try_from(number).ok().filter(|number| *number <= max).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_what_its_items_say() {
        // Three fields, one with a long key, then another field between, then forty more.
        let mut whole = vec![0x4a, 1, b'a', 0x4a, 0, 0xca, 0x00, 1, b'b', 0x4a, 1, b'c', 0x10, 7];
        (0..40).for_each(|n| whole.extend_from_slice(&[0x4a, 1, n]));
        let fields = [(0, 3), (3, 2), (5, 4), (9, 3)].into_iter().chain((0..40).map(|n| (14 + 3 * n, 3)));
        let (mut one, mut other, mut run) = (Cells::new(), Cells::new(), Run::of(&whole));
        for (at, length) in fields {
            one.item(&whole[at..at + length]);
            run.take(at, &whole[at..at + length], &mut other);
        }
        run.end(&mut other);
        assert_eq!(one.bytes, other.bytes);
    }

    #[test]
    fn an_item_is_field_one_however_its_key_was_written() {
        let mut cells = Cells::new();
        // Field 9, its key in one byte, then in three; the length in one byte, then in two.
        cells.item(&[0x4a, 2, b'a', b'b']);
        cells.item(&[0xca, 0x80, 0x00, 0x82, 0x00, b'c', b'd']);
        assert_eq!(cells.bytes, [0x0a, 2, b'a', b'b', 0x0a, 0x82, 0x00, b'c', b'd']);
        cells.cancel();
        cells.push(b"x");
        assert_eq!((cells.bytes.as_slice(), cells.len()), (b"x".as_slice(), 1));
    }
}
