//! Columns of a request side by side in one piece of memory: each would else be pieces of its own, made on one thread and
//! given back on another. Called by the walks of what comes in many small requests.
//!
//! Invariant: every column begins at a multiple of eight bytes, so each may hold any number.

use super::fill::Cells;
use arrow_array::{BinaryArray, FixedSizeBinaryArray, PrimitiveArray, StringArray, types::ArrowPrimitiveType};
use arrow_buffer::{ArrowNativeType, Buffer, MutableBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

/// Where columns are put one after another.
pub(crate) struct Slab(MutableBuffer);

/// A column's place, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    at: usize,
    bytes: usize,
}

/// The places of a column of cells: where they end, and what they say.
#[derive(Clone, Copy)]
pub(crate) struct Pair(Spot, Spot);

const fn whole(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

/// Room that a column of numbers takes.
pub(crate) const fn room<T>(numbers: &[T]) -> usize {
    whole(size_of_val(numbers))
}

impl Slab {
    /// A slab with room for so many bytes: the sum of what its columns take.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(MutableBuffer::with_capacity(bytes))
    }

    /// Puts a column of numbers.
    pub(crate) fn put<T: ArrowNativeType>(&mut self, numbers: &[T]) -> Spot {
        let at = self.0.len();
        self.0.extend_from_slice(numbers);
        let bytes = self.0.len() - at;
        self.0.extend_zeros(whole(bytes) - bytes);
        Spot { at, bytes }
    }

    /// Puts bytes one after another, room for whose sum there is.
    pub(crate) fn put_each(&mut self, bytes: impl Iterator<Item = u8>) -> Spot {
        let at = self.0.len();
        bytes.for_each(|byte| self.0.push(byte));
        let bytes = self.0.len() - at;
        self.0.extend_zeros(whole(bytes) - bytes);
        Spot { at, bytes }
    }

    /// Puts a column of cells.
    pub(crate) fn cells(&mut self, cells: &Cells) -> Pair {
        Pair(self.put(cells.ends()), self.put(&cells.bytes))
    }

    /// All columns are put.
    pub(crate) fn finish(self) -> Laid {
        Laid(self.0.into())
    }
}

/// The finished piece.
pub(crate) struct Laid(Buffer);

impl Laid {
    /// Bytes of all columns.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The bytes of a column.
    pub(crate) fn slice(&self, spot: Spot) -> Buffer {
        self.0.slice_with_length(spot.at, spot.bytes)
    }

    /// A column of numbers.
    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, spot: Spot) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(self.slice(spot)), None)
    }

    /// A column of ids of one width.
    pub(crate) fn ids(&self, width: i32, spot: Spot) -> Result<FixedSizeBinaryArray, ArrowError> {
        FixedSizeBinaryArray::try_new(width, self.slice(spot), None)
    }

    /// Where the cells or lists of a column end.
    pub(crate) fn offsets(&self, spot: Spot) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.slice(spot)))
    }

    /// A column of texts.
    pub(crate) fn texts(&self, Pair(ends, bytes): Pair) -> Result<StringArray, ArrowError> {
        StringArray::try_new(self.offsets(ends), self.slice(bytes), None)
    }

    /// A column of bytes.
    pub(crate) fn bytes_of(&self, Pair(ends, bytes): Pair) -> Result<BinaryArray, ArrowError> {
        BinaryArray::try_new(self.offsets(ends), self.slice(bytes), None)
    }
}
