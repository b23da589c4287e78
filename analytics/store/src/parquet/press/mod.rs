//! Spans to Parquet without a dataframe between: rows go from a batch's columns straight into what a row group
//! holds. Texts that repeat are numbered once (`words`), attributes pair by pair (`pairs`); nothing is compressed, since the
//! dictionaries are what a general codec would find, at a tenth of its cost.

mod joined;
mod pages;
mod pairs;
mod runs;
mod spans;
mod words;

pub(crate) use joined::Joined;
pub(crate) use pages::Columns;
pub(crate) use spans::SpanPress;
