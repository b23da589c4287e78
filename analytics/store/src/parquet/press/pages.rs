//! Pages of a row group and the file they go to, by way of polars' own Parquet library.

use super::{
    runs::{pack, pack_or_run, run, width_of},
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
                (None, rows, Encoding::Plain, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
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
    let mut begins = Vec::new();
    let mut are = Vec::new();
    for length in lengths {
        begins.push(0);
        are.push(u32::from(*length > 0));
        let further = length.saturating_sub(1) as usize;
        begins.resize(begins.len() + further, 1);
        are.resize(are.len() + further, 1);
    }
    let mut out = Vec::new();
    for levels in [&begins, &are] {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        pack_or_run(levels, 1, &mut out);
        let length = u32::try_from(out.len() - start - 4).expect("a page is a few MiB");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    (out, begins.len())
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

    pub(crate) fn take(&mut self) -> Pressed {
        Pressed::Words(self.words.take(), std::mem::take(&mut self.numbers))
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

/// Lists of words; the same place of the row before is looked at first.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) words: Words,
    numbers: Vec<u32>,
    lengths: Vec<u32>,
    /// Items of the open row, and where those of the row before begin.
    open: u32,
    before: usize,
}

impl Listed {
    /// Adds an item to the open row; gives its number.
    #[inline]
    pub(crate) fn item(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let start = self.numbers.len() - self.open as usize;
        let like = self.before + self.open as usize;
        let number =
            if like < start && self.words.is(self.numbers[like], key) { self.numbers[like] } else { self.words.number(key, write) };
        self.numbers.push(number);
        self.open += 1;
        number
    }

    /// The numbers of the open row.
    pub(crate) fn open(&self) -> &[u32] {
        let start = self.numbers.len() - self.open as usize;
        &self.numbers[start..]
    }

    /// Puts other items in place of those of the open row.
    pub(crate) fn replace(&mut self, items: &[u32]) {
        self.numbers.truncate(self.numbers.len() - self.open as usize);
        self.numbers.extend_from_slice(items);
        self.open = u32::try_from(items.len()).expect("a row has fewer than 2^32 items");
    }

    /// Ends the open row.
    #[inline]
    pub(crate) fn seal(&mut self) {
        self.before = self.numbers.len() - self.open as usize;
        self.lengths.push(std::mem::take(&mut self.open));
    }

    pub(crate) fn take(&mut self) -> Pressed {
        self.before = 0;
        Pressed::Lists(self.words.take(), std::mem::take(&mut self.numbers), std::mem::take(&mut self.lengths))
    }
}
