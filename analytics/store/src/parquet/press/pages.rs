//! Pages of a row group and the file they go to, by way of polars' own Parquet library.

use super::{
    runs::{bits, pack, pack_or_run, run, width_of},
    words::Words,
};
use crate::{blocks::Blocks, parquet::Type};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_parquet::{
    parquet::{
        CowBuffer,
        encoding::Encoding,
        error::ParquetError,
        page::{DataPage, DataPageHeader, DataPageHeaderV1, DictPage, Page},
        statistics::PrimitiveStatistics,
        write::{Compressor, DynIter, DynStreamingIterator, FileWriter, Version, WriteOptions},
    },
    write::{CompressionOptions, Descriptor, ParquetType, SchemaDescriptor, to_parquet_type},
};
use std::io;

/// A column of a row group, as its pages hold it.
pub(crate) enum Pressed {
    /// Length and bytes of each text.
    Texts(Vec<u8>),
    Ints(Vec<i64>),
    /// A page of words, their count, and a number for each row.
    Words((Vec<u8>, usize), Vec<u32>),
    /// The same for rows that share their word with their neighbours: number and length of each run.
    Runs((Vec<u8>, usize), Vec<(u32, u32)>),
    /// Lists of words: numbers, and for each row how many.
    Lists((Vec<u8>, usize), Vec<u32>, Vec<u32>),
}

/// A Parquet file that takes pressed columns.
pub(crate) struct Columns {
    writer: FileWriter<Blocks>,
}

/// The type of a column, never null.
fn parquet_type(name: &str, kind: Type, is_list: bool) -> Result<ParquetType, ParquetError> {
    let text = || ArrowDataType::Utf8View;
    let dtype = match kind {
        Type::Int => ArrowDataType::Int64,
        _ if is_list => ArrowDataType::LargeList(Box::new(Field::new("element".into(), text(), false))),
        _ => text(),
    };
    to_parquet_type(&Field::new(name.into(), dtype, false)).map_err(|error| ParquetError::InvalidParameter(error.to_string()))
}

impl Columns {
    /// Begins a file; `lists` names the columns that hold lists of texts.
    pub(crate) fn new(file: Blocks, columns: &[(&str, Type)], lists: &[&str]) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(|(name, kind)| parquet_type(name, *kind, lists.contains(name))).collect::<Result<_, _>>()?;
        let schema = SchemaDescriptor::new("geophone".into(), fields);
        let options = WriteOptions { write_statistics: false, version: Version::V1 };
        Ok(Self { writer: FileWriter::new(file, schema, options, Some("geophone".to_owned())) })
    }

    /// Appends a row group: a column for each of the file's.
    pub(crate) fn write(&mut self, rows: usize, columns: Vec<Pressed>) -> Result<(), ParquetError> {
        let descriptors: Vec<Descriptor> = self.writer.schema().columns().iter().map(|column| column.descriptor.clone()).collect();
        let chunks = columns.into_iter().zip(descriptors).map(move |(column, descriptor)| {
            let pages = column.pages(rows, descriptor).into_iter().map(Ok);
            Ok::<_, ParquetError>(DynStreamingIterator::new(Compressor::new(pages, CompressionOptions::Uncompressed, Vec::new())))
        });
        self.writer.write(rows as u64, DynIter::new(chunks))
    }

    /// Writes the footer.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.writer.end(None).map_err(|error| io::Error::other(error.to_string()))?;
        let mut file = self.writer.into_inner();
        Blocks::flush(&mut file)?;
        file.trim()
    }
}

/// Takes what is there and leaves room for as much: the next row group will need it.
pub(crate) fn fresh<T>(taken: &mut Vec<T>) -> Vec<T> {
    let room = taken.len() + taken.len() / 16;
    std::mem::replace(taken, Vec::with_capacity(room))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).expect("a row group has a few thousand rows")
}

impl Pressed {
    fn pages(self, rows: usize, descriptor: Descriptor) -> Vec<Page> {
        let mut statistics = None;
        let (words, values, encoding, body) = match self {
            Self::Texts(page) => (None, rows, Encoding::Plain, page),
            Self::Ints(numbers) => {
                let whole = PrimitiveStatistics {
                    primitive_type: descriptor.primitive_type.clone(),
                    null_count: Some(0),
                    distinct_count: None,
                    min_value: numbers.iter().min().copied(),
                    max_value: numbers.iter().max().copied(),
                };
                statistics = Some(whole.serialize());
                let mut body = Vec::with_capacity(8 * numbers.len());
                numbers.iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
                (None, rows, Encoding::Plain, body)
            }
            Self::Words(words, numbers) => {
                let (mut body, width) = begun(words.1);
                pack_or_run(&numbers, width, &mut body);
                (Some(words), rows, Encoding::RleDictionary, body)
            }
            Self::Runs(words, runs) => {
                let (mut body, width) = begun(words.1);
                runs.iter().for_each(|(number, length)| run(*number, *length as usize, width, &mut body));
                (Some(words), rows, Encoding::RleDictionary, body)
            }
            // Nothing but empty lists: a page of no words needs no dictionary.
            Self::Lists(_, numbers, lengths) if numbers.is_empty() => {
                let (body, levels) = levels(&lengths);
                (None, levels, Encoding::Plain, body)
            }
            Self::Lists(words, numbers, lengths) => {
                let (mut body, levels) = levels(&lengths);
                let width = width_of(words.1);
                body.push(u8::try_from(width).expect("at most 32"));
                pack(&numbers, width, &mut body);
                (Some(words), levels, Encoding::RleDictionary, body)
            }
        };
        let header = DataPageHeaderV1 {
            num_values: count(values),
            encoding: encoding.into(),
            definition_level_encoding: Encoding::Rle.into(),
            repetition_level_encoding: Encoding::Rle.into(),
            statistics,
        };
        let words = words.map(|(page, words)| Page::Dict(DictPage::new(CowBuffer::Owned(page), words, false)));
        let data = DataPage::new(DataPageHeader::V1(header), CowBuffer::Owned(body), descriptor, rows);
        words.into_iter().chain([Page::Data(data)]).collect()
    }
}

/// A page of numbers begins with their width.
fn begun(words: usize) -> (Vec<u8>, u32) {
    let width = width_of(words);
    (vec![u8::try_from(width).expect("at most 32")], width)
}

/// Where lists begin (0, then 1 for each further item) and whether there is an item at all (an empty list has one
/// level and no item), and how many levels that makes.
fn levels(lengths: &[u32]) -> (Vec<u8>, usize) {
    let count: usize = lengths.iter().map(|length| (*length).max(1) as usize).sum();
    let mut out = Vec::with_capacity(count / 4 + 32);
    framed(&mut out, |out| bits(count, lengths.iter().map(|length| (false, length.saturating_sub(1))), out));
    framed(&mut out, |out| {
        if lengths.iter().all(|length| *length > 0) {
            run(1, count, 1, out);
        } else {
            bits(count, lengths.iter().map(|length| (*length > 0, length.saturating_sub(1))), out);
        }
    });
    (out, count)
}

/// Levels stand behind their length.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start - 4).expect("a page is a few MiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Words with a number for each row.
#[derive(Default)]
pub(crate) struct Worded {
    pub(crate) words: Words,
    numbers: Vec<u32>,
}

impl Worded {
    /// Adds a row; `write` says what stands for a key that is new.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        // Neighbours are often alike, and comparing is cheaper than hashing.
        let number = match self.numbers.last() {
            Some(last) if self.words.is(*last, key) => *last,
            _ => self.words.number(key, write),
        };
        self.numbers.push(number);
    }

    /// Adds a row whose key is its text.
    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        self.push(text.as_bytes(), |page| page.extend_from_slice(text.as_bytes()));
    }

    /// The number of each row's word.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// Room for so many more rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.numbers.reserve(rows);
    }

    pub(crate) fn take(&mut self) -> Pressed {
        Pressed::Words(self.words.take(), fresh(&mut self.numbers))
    }
}

/// Words that mostly follow from another column's: a route from a name.
#[derive(Default)]
pub(crate) struct Led {
    pub(crate) column: Worded,
    /// For each word of the other column, the number last met with it.
    guesses: Vec<u32>,
}

impl Led {
    /// Adds a row whose text mostly is that of the last row with the same `leader`.
    #[inline]
    pub(crate) fn text(&mut self, leader: u32, text: &str) {
        let leader = leader as usize;
        if leader >= self.guesses.len() {
            self.guesses.resize(leader + 1, 0);
        }
        let (words, guess) = (&mut self.column.words, &mut self.guesses[leader]);
        if (*guess as usize) >= words.len() || !words.is(*guess, text.as_bytes()) {
            *guess = words.number(text.as_bytes(), |page| page.extend_from_slice(text.as_bytes()));
        }
        self.column.numbers.push(*guess);
    }

    pub(crate) fn take(&mut self) -> Pressed {
        self.guesses.clear();
        self.column.take()
    }
}

/// One of a few words, chosen by a small number.
#[derive(Default)]
pub(crate) struct Chosen {
    column: Worded,
    /// Number + 1 of the word of each choice.
    known: [u32; 8],
}

impl Chosen {
    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, choice: u8, word: impl FnOnce() -> &'static str) {
        let known = &mut self.known[usize::from(choice & 7)];
        if *known == 0 {
            let word = word();
            *known = 1 + self.column.words.number(word.as_bytes(), |page| page.extend_from_slice(word.as_bytes()));
        }
        self.column.numbers.push(*known - 1);
    }

    pub(crate) fn take(&mut self) -> Pressed {
        self.known = [0; 8];
        self.column.take()
    }
}

/// Words that neighbours share.
#[derive(Default)]
pub(crate) struct Shared {
    words: Words,
    runs: Vec<(u32, u32)>,
}

impl Shared {
    pub(crate) fn number(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        self.words.number(key, write)
    }

    #[inline]
    pub(crate) fn push(&mut self, number: u32, rows: u32) {
        match self.runs.last_mut() {
            Some((last, length)) if *last == number => *length += rows,
            _ => self.runs.push((number, rows)),
        }
    }

    pub(crate) fn take(&mut self) -> Pressed {
        Pressed::Runs(self.words.take(), std::mem::take(&mut self.runs))
    }
}
