//! Builds polars columns from rows of batches. One pass per column; what belongs to a resource or a
//! scope is written once and shared by its rows.

use geophone_proto::{
    Batch, Columns,
    columns::{Logs, Points, Samples, Spans},
};
use polars::prelude::{
    BooleanChunked, ChunkTake, Column, DataType, Float64Type, IdxCa, IdxSize, IntoColumn, IntoSeries, ListBuilderTrait,
    ListPrimitiveChunkedBuilder, NewChunkedArray, PolarsResult, StringChunked, StringChunkedBuilder,
};
use polars::prelude::{Float64Chunked, Int64Chunked};
use std::{collections::HashMap, sync::Arc};

/// Rows of one batch; all of them, or those listed.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) batch: Arc<Batch>,
    pub(crate) rows: Option<Vec<u32>>,
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.batch.len(), Vec::len)
    }

    fn each(&self, mut visit: impl FnMut(usize)) {
        match &self.rows {
            Some(rows) => rows.iter().for_each(|row| visit(*row as usize)),
            None => (0..self.batch.len()).for_each(visit),
        }
    }
}

/// A table's rows inside a batch.
pub(crate) trait RowsOf: Sized {
    /// The rows, if the batch is of this signal.
    fn of(batch: &Batch) -> Option<&Self>;
    /// Row of the resources that `row` points to.
    fn resource_of(&self, row: usize) -> usize;
    /// Row of the scopes that `row` points to.
    fn scope_of(&self, row: usize) -> usize;
}

macro_rules! rows_of {
    ($table:ident, $signal:ident) => {
        impl RowsOf for $table {
            fn of(batch: &Batch) -> Option<&Self> {
                if let Columns::$signal(rows) = &batch.columns { Some(rows) } else { None }
            }
            fn resource_of(&self, row: usize) -> usize {
                self.resource().value(row) as usize
            }
            fn scope_of(&self, row: usize) -> usize {
                self.scope().value(row) as usize
            }
        }
    };
}
rows_of!(Spans, Traces);
rows_of!(Points, Metrics);
rows_of!(Logs, Logs);
rows_of!(Samples, Profiles);

fn count(parts: &[Part]) -> usize {
    parts.iter().map(Part::len).sum()
}

/// Calls `visit` for every row of every part that is of table `T`.
fn each<T: RowsOf>(parts: &[Part], mut visit: impl FnMut(&T, usize)) {
    for part in parts {
        if let Some(rows) = T::of(&part.batch) {
            part.each(|row| visit(rows, row));
        }
    }
}

/// A text column whose values are written to a scratch string.
pub(crate) fn text<T: RowsOf>(name: &str, parts: &[Part], write: impl Fn(&T, usize, &mut String)) -> Column {
    let mut builder = StringChunkedBuilder::new(name.into(), count(parts));
    let mut scratch = String::new();
    each(parts, |rows: &T, row| {
        scratch.clear();
        write(rows, row, &mut scratch);
        builder.append_value(&scratch);
    });
    builder.finish().into_series().into_column()
}

/// A text column whose values lie in the batch already.
pub(crate) fn text_ref<T: RowsOf>(name: &str, parts: &[Part], get: impl for<'a> Fn(&'a T, usize) -> &'a str) -> Column {
    let mut builder = StringChunkedBuilder::new(name.into(), count(parts));
    each(parts, |rows: &T, row| builder.append_value(get(rows, row)));
    builder.finish().into_series().into_column()
}

/// A column of integers.
pub(crate) fn ints<T: RowsOf>(name: &str, parts: &[Part], get: impl Fn(&T, usize) -> i64) -> Column {
    let mut values = Vec::with_capacity(count(parts));
    each(parts, |rows: &T, row| values.push(get(rows, row)));
    Int64Chunked::from_vec(name.into(), values).into_series().into_column()
}

/// A column of floats; NaN stays NaN.
pub(crate) fn floats<T: RowsOf>(name: &str, parts: &[Part], get: impl Fn(&T, usize) -> f64) -> Column {
    let mut values = Vec::with_capacity(count(parts));
    each(parts, |rows: &T, row| values.push(get(rows, row)));
    Float64Chunked::from_vec(name.into(), values).into_series().into_column()
}

/// A column of flags.
pub(crate) fn flags<T: RowsOf>(name: &str, parts: &[Part], get: impl Fn(&T, usize) -> bool) -> Column {
    let mut values = Vec::with_capacity(count(parts));
    each(parts, |rows: &T, row| values.push(get(rows, row)));
    BooleanChunked::from_slice(name.into(), &values).into_series().into_column()
}

/// A column of lists of floats.
pub(crate) fn lists<T: RowsOf>(name: &str, parts: &[Part], get: impl Fn(&T, usize) -> Vec<f64>) -> Column {
    let rows = count(parts);
    let mut builder = ListPrimitiveChunkedBuilder::<Float64Type>::new(name.into(), rows, rows, DataType::Float64);
    each(parts, |table: &T, row| builder.append_slice(&get(table, row)));
    builder.finish().into_series().into_column()
}

/// A text column of something that many rows share: each distinct text is kept once.
pub(crate) fn shared<T: RowsOf>(
    name: &str,
    parts: &[Part],
    owner_of: impl Fn(&T, usize) -> usize,
    write: impl Fn(&Batch, usize, &mut String),
) -> PolarsResult<Column> {
    let mut indices: Vec<IdxSize> = Vec::with_capacity(count(parts));
    let mut numbers: HashMap<String, IdxSize> = HashMap::new();
    let mut texts: Vec<String> = Vec::new();
    for part in parts {
        let Some(rows) = T::of(&part.batch) else { continue };
        // Text number of each owner of this batch, once it was met.
        let mut known: Vec<Option<IdxSize>> = Vec::new();
        part.each(|row| {
            let owner = owner_of(rows, row);
            if owner >= known.len() {
                known.resize(owner + 1, None);
            }
            let number = *known[owner].get_or_insert_with(|| {
                let mut text = String::new();
                write(&part.batch, owner, &mut text);
                *numbers.entry(text).or_insert_with_key(|text| {
                    texts.push(text.clone());
                    IdxSize::try_from(texts.len() - 1).unwrap_or(IdxSize::MAX)
                })
            });
            indices.push(number);
        });
    }
    let distinct = StringChunked::from_iter_values(name.into(), texts.iter().map(String::as_str));
    let indices = IdxCa::from_vec("".into(), indices);
    Ok(distinct.take(&indices)?.into_series().into_column())
}
