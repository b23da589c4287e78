//! `check.parquet`: rows with their expected scores, by which a model proves that it computes here
//! what it computed where it was made.

use crate::error::{ModelError, panic_sentence, sentence};
use geophone_proto::model::ModelCard;
use polars::prelude::{Column, DataFrame, DataType, ParquetReader, SerReader};
use std::{io::Cursor, panic::catch_unwind};

/// Fewer rows prove too little.
pub const ROWS_MIN: usize = 16;
/// More rows cost more than they prove.
pub const ROWS_MAX: usize = 65_536;

/// The rows, row-major, and what each must score.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckRows {
    pub width: usize,
    pub x: Vec<f32>,
    pub expected: Vec<f32>,
}

impl CheckRows {
    /// Reads the file: one float32 column per feature of the card, in any order, and `expected`.
    pub fn read(bytes: &[u8], card: &ModelCard) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::CheckRows { reason };
        let owned = bytes.to_vec();
        let frame = catch_unwind(move || ParquetReader::new(Cursor::new(owned)).finish());
        let frame = frame
            .map_err(|payload| refuse(format!("it is not readable: {}", panic_sentence(payload.as_ref()))))?
            .map_err(|error| refuse(format!("it is not readable: {}", sentence(&error.to_string()))))?;
        let rows = frame.height();
        if rows > ROWS_MAX {
            return Err(refuse(format!("it has {rows} rows, at most {ROWS_MAX} are wanted")));
        }
        let expected = column(&frame, "expected")?;
        let columns = card.features.iter().map(|name| column(&frame, name)).collect::<Result<Vec<_>, _>>()?;
        let x = (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
        Ok(Self { width: card.features.len(), x, expected })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// There are enough rows of finite numbers.
    pub fn verify(&self, card: &ModelCard) -> Result<(), ModelError> {
        let refuse = |reason: String| Err(ModelError::CheckRows { reason });
        if self.len() < ROWS_MIN {
            return refuse(format!("it has {} rows, at least {ROWS_MIN} are wanted", self.len()));
        }
        if let Some(place) = self.x.iter().position(|value| !value.is_finite()) {
            return refuse(format!("`{}` of row {} is NaN or infinite", card.features[place % self.width], place / self.width));
        }
        match self.expected.iter().position(|value| !value.is_finite()) {
            Some(row) => refuse(format!("`expected` of row {row} is NaN or infinite")),
            None => Ok(()),
        }
    }
}

/// A float32 column without gaps.
fn column(frame: &DataFrame, name: &str) -> Result<Vec<f32>, ModelError> {
    let refuse = |reason: String| ModelError::CheckRows { reason };
    let column: &Column = frame.column(name).map_err(|_| refuse(format!("the column `{name}` is missing")))?;
    if column.dtype() != &DataType::Float32 {
        return Err(refuse(format!("the column `{name}` is {}, float32 is wanted", column.dtype())));
    }
    let values = column.as_materialized_series().f32().map_err(|error| refuse(sentence(&error.to_string())))?;
    values.iter().enumerate().map(|(row, value)| value.ok_or_else(|| refuse(format!("`{name}` of row {row} is missing")))).collect()
}
