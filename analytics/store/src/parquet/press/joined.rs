//! Files of pressed rows put one behind the other: row groups are copied as they are, and the footers become one. What
//! that costs is reading and writing, a hundredth of decoding and encoding the rows again.

use crate::blocks::Blocks;
use polars_parquet_format::{
    FileMetaData, RowGroup,
    thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 4] = b"PAR1";
/// Length of the footer and magic, at the end of a file.
const END_BYTES: u64 = 8;
/// Row groups smaller than this on average are better made anew: each has a header for each of its columns.
const ROWS_MIN: i64 = 2048;
const PIECE_BYTES: usize = 256 * 1024;

/// A file whose row groups are copied.
struct Part {
    file: File,
    footer: FileMetaData,
    /// Where its pages end.
    end: u64,
}

fn broken(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("not a file of pressed rows: {what}"))
}

impl Part {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let at = length.checked_sub(END_BYTES).ok_or_else(|| broken("it is too short"))?;
        let mut end = [0; END_BYTES as usize];
        file.read_exact_at(&mut end, at)?;
        let [a, b, c, d, magic @ ..] = end;
        let bytes = u32::from_le_bytes([a, b, c, d]);
        let end = at.checked_sub(u64::from(bytes)).filter(|_| magic == *MAGIC).ok_or_else(|| broken("it has no footer"))?;
        let mut footer = vec![0; bytes as usize];
        file.read_exact_at(&mut footer, end)?;
        let room = footer.len().saturating_mul(32) + 1024;
        let footer = FileMetaData::read_from_in_protocol(&mut TCompactInputProtocol::new(&footer[..], room)).map_err(broken)?;
        Ok(Self { file, footer, end })
    }
}

/// Files that can be joined.
pub(crate) struct Joined(Vec<Part>);

impl Joined {
    /// Looks at the files; `None` if they are better made anew, or were not written here.
    pub(crate) fn open(files: &[PathBuf]) -> io::Result<Option<Self>> {
        let parts: Vec<Part> = files.iter().map(|path| Part::open(path)).collect::<Result<_, _>>()?;
        let Some(first) = parts.first() else { return Ok(None) };
        let groups: usize = parts.iter().map(|part| part.footer.row_groups.len()).sum();
        let rows: i64 = parts.iter().map(|part| part.footer.num_rows).sum();
        let is_like = |part: &Part| part.footer.schema == first.footer.schema && part.footer.created_by.as_deref() == Some("geophone");
        let is_worth = i64::try_from(groups).is_ok_and(|groups| rows / groups.max(1) >= ROWS_MIN);
        Ok((is_worth && parts.iter().all(is_like)).then_some(Self(parts)))
    }

    /// Writes them to an empty file; how many rows.
    pub(crate) fn write(self, file: &mut Blocks) -> io::Result<u64> {
        file.put(MAGIC)?;
        let mut whole: Option<FileMetaData> = None;
        let mut piece = vec![0; PIECE_BYTES];
        for Part { file: from, footer, end } in self.0 {
            let mut at = MAGIC.len() as u64;
            let by = i64::try_from(file.len()).map_err(broken)? - MAGIC.len() as i64;
            while at < end {
                let length = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                from.read_exact_at(&mut piece[..length], at)?;
                file.put(&piece[..length])?;
                at += length as u64;
            }
            let whole = whole.get_or_insert_with(|| FileMetaData { row_groups: Vec::new(), num_rows: 0, ..footer.clone() });
            whole.num_rows += footer.num_rows;
            for mut group in footer.row_groups {
                shift(&mut group, by);
                group.ordinal = i16::try_from(whole.row_groups.len()).ok();
                whole.row_groups.push(group);
            }
        }
        let whole = whole.ok_or_else(|| broken("there is none"))?;
        let start = file.len();
        whole.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut *file)).map_err(broken)?;
        let length = u32::try_from(file.len() - start).map_err(broken)?;
        file.put(&length.to_le_bytes())?;
        file.put(MAGIC)?;
        Blocks::flush(file)?;
        file.trim()?;
        u64::try_from(whole.num_rows).map_err(broken)
    }
}

/// Moves every place that a row group names.
fn shift(group: &mut RowGroup, by: i64) {
    let move_some = |place: &mut Option<i64>| {
        if let Some(place) = place {
            *place += by;
        }
    };
    move_some(&mut group.file_offset);
    for column in &mut group.columns {
        column.file_offset += by;
        move_some(&mut column.offset_index_offset);
        move_some(&mut column.column_index_offset);
        if let Some(meta) = &mut column.meta_data {
            meta.data_page_offset += by;
            [&mut meta.index_page_offset, &mut meta.dictionary_page_offset, &mut meta.bloom_filter_offset].into_iter().for_each(move_some);
        }
    }
}
