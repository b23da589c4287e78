//! Columns while they grow, by kind, and the tables they make. Called by the walks of what comes in many small requests.
//!
//! Invariant: a table's columns lie side by side in one piece of memory, in the order of its schema, and what they grew in
//! stays with the thread for its next request.

use super::{
    fill::Cells,
    slab::{Laid, Pair, Slab, Spot, room},
};
use arrow_array::{
    Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray,
    types::{ArrowPrimitiveType, Float64Type},
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, LazyLock},
};

/// Tables that hold more than this are not kept for the next request of the thread.
pub(crate) const KEPT_BYTES_MAX: usize = 2 << 20;

/// A growing column.
pub(crate) trait Column: Default {
    /// What it becomes.
    type Array;
    /// Its place in a slab.
    type Spot;

    /// Makes room for so many more rows.
    fn reserve(&mut self, rows: usize);
    /// Bytes that it takes in a slab.
    fn room(&self) -> usize;
    /// Memory held, used or not.
    fn held(&self) -> usize;
    /// Without rows, but as roomy.
    fn clear(&mut self);
    /// Puts it into a slab with room for it.
    fn put(&self, slab: &mut Slab) -> Self::Spot;
    /// The column that was put there.
    fn array(laid: &Laid, spot: Self::Spot) -> Result<Self::Array, ArrowError>;
}

/// Numbers.
pub(crate) struct Numbers<T: ArrowPrimitiveType>(Vec<T::Native>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(crate) fn push(&mut self, number: T::Native) {
        self.0.push(number);
    }
}

impl<T: ArrowPrimitiveType> Column for Numbers<T> {
    type Array = PrimitiveArray<T>;
    type Spot = Spot;

    fn reserve(&mut self, rows: usize) {
        self.0.reserve(rows);
    }

    fn room(&self) -> usize {
        room(&self.0)
    }

    fn held(&self) -> usize {
        size_of::<T::Native>() * self.0.capacity()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn put(&self, slab: &mut Slab) -> Spot {
        slab.put(&self.0)
    }

    fn array(laid: &Laid, spot: Spot) -> Result<Self::Array, ArrowError> {
        Ok(laid.numbers(spot))
    }
}

/// Ids of so many bytes.
#[derive(Default)]
pub(crate) struct Ids<const BYTES: usize>(Vec<[u8; BYTES]>);

impl<const BYTES: usize> Ids<BYTES> {
    /// Adds an id; of another length it is none, which zeros say.
    #[inline]
    pub(crate) fn push(&mut self, id: &[u8]) {
        self.0.push(id.try_into().unwrap_or([0; BYTES]));
    }
}

impl<const BYTES: usize> Column for Ids<BYTES> {
    type Array = FixedSizeBinaryArray;
    type Spot = Spot;

    fn reserve(&mut self, rows: usize) {
        self.0.reserve(rows);
    }

    fn room(&self) -> usize {
        room(&self.0)
    }

    fn held(&self) -> usize {
        BYTES * self.0.capacity()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn put(&self, slab: &mut Slab) -> Spot {
        slab.put(self.0.as_flattened())
    }

    fn array(laid: &Laid, spot: Spot) -> Result<Self::Array, ArrowError> {
        laid.ids(i32::try_from(BYTES).expect("ids are short"), spot)
    }
}

/// Yes or no.
#[derive(Default)]
pub(crate) struct Flags(Vec<bool>);

impl Flags {
    #[inline]
    pub(crate) fn push(&mut self, flag: bool) {
        self.0.push(flag);
    }
}

impl Column for Flags {
    type Array = BooleanArray;
    /// The bits, and how many.
    type Spot = (Spot, usize);

    fn reserve(&mut self, rows: usize) {
        self.0.reserve(rows);
    }

    fn room(&self) -> usize {
        self.0.len().div_ceil(8).next_multiple_of(8)
    }

    fn held(&self) -> usize {
        self.0.capacity()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn put(&self, slab: &mut Slab) -> Self::Spot {
        let eight = |flags: &[bool]| flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
        (slab.put_each(self.0.chunks(8).map(eight)), self.0.len())
    }

    fn array(laid: &Laid, (spot, rows): Self::Spot) -> Result<Self::Array, ArrowError> {
        Ok(BooleanArray::new(BooleanBuffer::new(laid.slice(spot), 0, rows), None))
    }
}

macro_rules! cells {
    ($(#[$doc:meta])* $column:ident => $array:ident by $make:ident) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $column(Cells);

        impl Deref for $column {
            type Target = Cells;

            #[inline]
            fn deref(&self) -> &Cells {
                &self.0
            }
        }

        impl DerefMut for $column {
            #[inline]
            fn deref_mut(&mut self) -> &mut Cells {
                &mut self.0
            }
        }

        impl Column for $column {
            type Array = $array;
            type Spot = Pair;

            fn reserve(&mut self, rows: usize) {
                self.0.reserve(rows);
            }

            fn room(&self) -> usize {
                self.0.room()
            }

            fn held(&self) -> usize {
                self.0.held()
            }

            fn clear(&mut self) {
                self.0.clear();
            }

            fn put(&self, slab: &mut Slab) -> Pair {
                slab.cells(&self.0)
            }

            fn array(laid: &Laid, spot: Pair) -> Result<Self::Array, ArrowError> {
                laid.$make(spot)
            }
        }
    };
}

cells! {
    /// Texts; whoever adds them has checked that they are.
    Texts => StringArray by texts
}

cells! {
    /// Bytes.
    Blobs => BinaryArray by bytes_of
}

/// Lists of numbers. A list is open until `seal`; `cancel` takes back what a refused row left behind.
pub(crate) struct Lists {
    numbers: Vec<f64>,
    ends: Vec<i32>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { numbers: Vec::new(), ends: vec![0] }
    }
}

impl Lists {
    fn open_at(&self) -> usize {
        self.ends.last().map_or(0, |end| usize::try_from(*end).expect("ends are lengths"))
    }

    /// The open list.
    pub(crate) fn open(&self) -> &[f64] {
        &self.numbers[self.open_at()..]
    }

    /// Where the numbers of the open list are added.
    #[inline]
    pub(crate) fn numbers(&mut self) -> &mut Vec<f64> {
        &mut self.numbers
    }

    /// Ends the open list.
    #[inline]
    pub(crate) fn seal(&mut self) {
        self.ends.push(i32::try_from(self.numbers.len()).expect("the allowance is below 2 GiB"));
    }

    /// Forgets the open list.
    pub(crate) fn cancel(&mut self) {
        self.numbers.truncate(self.open_at());
    }
}

impl Column for Lists {
    type Array = ListArray;
    /// Where lists end, and their numbers.
    type Spot = (Spot, Spot);

    fn reserve(&mut self, rows: usize) {
        self.ends.reserve(rows);
    }

    fn room(&self) -> usize {
        room(&self.numbers) + room(&self.ends)
    }

    fn held(&self) -> usize {
        size_of::<f64>() * self.numbers.capacity() + size_of::<i32>() * self.ends.capacity()
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.ends.truncate(1);
    }

    fn put(&self, slab: &mut Slab) -> Self::Spot {
        (slab.put(&self.ends), slab.put(&self.numbers))
    }

    fn array(laid: &Laid, (ends, numbers): Self::Spot) -> Result<Self::Array, ArrowError> {
        static ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Float64, false)));
        let numbers: Arc<dyn Array> = Arc::new(laid.numbers::<Float64Type>(numbers));
        ListArray::try_new(Arc::clone(&ITEM), laid.offsets(ends), numbers, None)
    }
}

/// Declares the growing columns of a table, in the order of its schema.
macro_rules! growing {
    ($(#[$doc:meta])* $rows:ident => $table:ident { $($column:ident: $kind:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $rows {
            $($column: $kind),+
        }

        thread_local! {
            /// Columns of an earlier request, empty: roomy enough as a rule, and in the core's cache.
            static SPARE: std::cell::Cell<Option<Box<$rows>>> = const { std::cell::Cell::new(None) };
        }

        impl $rows {
            /// Columns for so many rows; a guess that is wrong costs time only.
            fn spare(rows: usize) -> Box<Self> {
                let mut columns: Box<Self> = SPARE.take().unwrap_or_default();
                $(crate::walk::column::Column::reserve(&mut columns.$column, rows);)+
                columns
            }

            /// The table; what it grew in is left to the next request of this thread.
            pub(crate) fn finish(mut self: Box<Self>) -> Result<$table, crate::walk::WalkError> {
                use crate::walk::column::{Column, KEPT_BYTES_MAX};
                let mut slab = crate::walk::slab::Slab::new([$(self.$column.room()),+].into_iter().sum());
                let spots = ($(self.$column.put(&mut slab),)+);
                let laid = slab.finish();
                let ($($column,)+) = spots;
                let columns = ($(<$kind as Column>::array(&laid, $column)?,)+);
                let table = $table::from_columns(laid.bytes(), columns)?;
                let held: usize = [$(self.$column.held()),+].into_iter().sum();
                if held <= KEPT_BYTES_MAX {
                    $(self.$column.clear();)+
                    SPARE.set(Some(self));
                }
                Ok(table)
            }
        }
    };
}

pub(crate) use growing;
