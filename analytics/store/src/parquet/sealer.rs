//! Log records to Parquet files by hour of event time, in bounded memory.

use super::{
    Telemetry,
    cells::Part,
    press::SpanPress,
    writer::{FilePlan, FileWriter},
};
use crate::{catalog::FileEntry, durable::Failpoint, error::StoreError};
use geophone_proto::{Batch, UnixNanos};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Rows that wait for their row group, in all files together: what they say then fits into a core's own cache.
const PENDING_ROWS: usize = 16 * 1024;
/// Columns of other tables that wait for their row group; few rows can hold much.
const PENDING_BYTES_MAX: usize = 32 << 20;
/// Distinct texts of one row group of spans: rows that share nothing must not make it huge.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Rows of further hours share one file: wild timestamps must not make thousands of files.
const HOURS_MAX: usize = 48;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Name of an hour (in hours since 1970), as it stands in paths.
pub(crate) fn hour_name(hour: u64) -> String {
    let mut name = UnixNanos(hour.saturating_mul(HOUR_NS)).to_string();
    name.truncate(13);
    name
}

/// A file and the rows that wait for its next row group.
struct Open {
    writer: FileWriter,
    /// Of all tables but `spans`.
    pending: Vec<Part>,
    press: SpanPress,
    rows: usize,
    /// Of `pending`.
    bytes: usize,
}

/// Collects batches and writes them.
pub(crate) struct Sealer {
    dir: PathBuf,
    next_file: Arc<AtomicU64>,
    failpoint: Option<Failpoint>,
    open: BTreeMap<(Telemetry, Option<u64>), Open>,
    pending: usize,
    rows: HashMap<Telemetry, u64>,
}

impl Sealer {
    /// `next_file` is the number of the next file, never used before.
    pub(crate) fn new(dir: PathBuf, next_file: Arc<AtomicU64>, failpoint: Option<Failpoint>) -> Self {
        Self { dir, next_file, failpoint, open: BTreeMap::new(), pending: 0, rows: HashMap::new() }
    }

    /// Takes the batch of the record at `seq`, which arrived at `at`.
    pub(crate) fn push(&mut self, seq: u64, at: UnixNanos, batch: &Arc<Batch>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let table = Telemetry::of(batch);
        *self.rows.entry(table).or_default() += batch.len() as u64;
        for (hour, rows, range) in by_hour(batch.event_times()) {
            let key = self.partition(table, hour);
            let count = rows.as_ref().map_or(batch.len(), Vec::len);
            let open = self.open.entry(key).or_insert_with(|| {
                let hour = key.1.map_or_else(|| "mixed".to_owned(), hour_name);
                let plan = FilePlan { table: table.as_str().to_owned(), hour, number: self.next_file.fetch_add(1, Ordering::Relaxed) };
                Open {
                    writer: FileWriter::new(&self.dir, plan, self.failpoint.clone()),
                    pending: Vec::new(),
                    press: SpanPress::default(),
                    rows: 0,
                    bytes: 0,
                }
            });
            let entry = open.writer.entry();
            entry.min_ns = entry.min_ns.min(range.0);
            entry.max_ns = entry.max_ns.max(range.1);
            entry.first_seq = if entry.first_seq == 0 { seq } else { entry.first_seq };
            entry.last_seq = seq;
            entry.arrived_ns = entry.arrived_ns.max(at.0);
            if table == Telemetry::Spans {
                for piece in in_pieces(batch, rows.as_deref()) {
                    let count = piece.as_deref().map_or(count, <[u32]>::len);
                    open.rows += count;
                    self.pending += count;
                    open.press.push(batch, piece.as_deref());
                    if open.press.text_bytes() > TEXT_BYTES_MAX {
                        self.pending -= open.rows;
                        write(table, open)?;
                    }
                }
            } else {
                open.rows += count;
                self.pending += count;
                open.bytes += batch.memory_bytes();
                open.pending.push(Part { batch: batch.clone(), rows });
                if open.bytes > PENDING_BYTES_MAX {
                    self.pending -= open.rows;
                    write(table, open)?;
                }
            }
        }
        while self.pending > PENDING_ROWS {
            self.write_largest()?;
        }
        Ok(())
    }

    fn partition(&self, table: Telemetry, hour: u64) -> (Telemetry, Option<u64>) {
        let key = (table, Some(hour));
        let hours = self.open.range((table, None)..=(table, Some(u64::MAX))).count();
        if self.open.contains_key(&key) || hours < HOURS_MAX { key } else { (table, None) }
    }

    fn write_largest(&mut self) -> Result<(), StoreError> {
        let largest = self.open.iter_mut().max_by_key(|(_, open)| open.rows);
        if let Some(((table, _), open)) = largest {
            self.pending -= open.rows;
            write(*table, open)?;
        }
        Ok(())
    }

    /// Writes what waits and closes all files; they are durable, but nobody sees them yet. Returns the
    /// rows of each table. On an error `entries` holds the files that were finished.
    pub(crate) fn finish(mut self, entries: &mut Vec<FileEntry>) -> Result<HashMap<Telemetry, u64>, StoreError> {
        for ((table, _), mut open) in std::mem::take(&mut self.open) {
            write(table, &mut open)?;
            entries.extend(open.writer.finish()?);
        }
        Ok(self.rows)
    }
}

fn write(table: Telemetry, open: &mut Open) -> Result<(), StoreError> {
    (open.rows, open.bytes) = (0, 0);
    if table == Telemetry::Spans {
        return open.writer.write_pressed(&mut open.press);
    }
    let names: Vec<&str> = table.columns().iter().map(|(name, _)| *name).collect();
    let frame = table.frame(&names, &open.pending).map_err(|error| StoreError::columns("make columns", error))?;
    open.pending.clear();
    open.writer.write(&frame)
}

/// Rows of a batch in as many lists as it has times the bytes that a row group may have; a batch of usual size as it is.
fn in_pieces<'r>(batch: &Batch, rows: Option<&'r [u32]>) -> Vec<Option<Cow<'r, [u32]>>> {
    let pieces = batch.memory_bytes() / TEXT_BYTES_MAX + 1;
    if pieces == 1 {
        return vec![rows.map(Cow::Borrowed)];
    }
    let all: Vec<u32> = rows.map_or_else(|| (0..).take(batch.len()).collect(), <[u32]>::to_vec);
    all.chunks(all.len().div_ceil(pieces).max(1)).map(|piece| Some(Cow::Owned(piece.to_vec()))).collect()
}

/// An hour, its rows (`None` = all), and their least and greatest time.
type HourRows = (u64, Option<Vec<u32>>, (u64, u64));

fn by_hour(times: &[u64]) -> Vec<HourRows> {
    let (min, max) = times.iter().fold((u64::MAX, 0), |(min, max), time| (min.min(*time), max.max(*time)));
    if min / HOUR_NS == max / HOUR_NS {
        return vec![(min / HOUR_NS, None, (min, max))];
    }
    let mut hours: BTreeMap<u64, (Vec<u32>, (u64, u64))> = BTreeMap::new();
    for (row, time) in (0u32..).zip(times) {
        let (rows, range) = hours.entry(time / HOUR_NS).or_insert_with(|| (Vec::new(), (u64::MAX, 0)));
        rows.push(row);
        *range = (range.0.min(*time), range.1.max(*time));
    }
    hours.into_iter().map(|(hour, (rows, range))| (hour, Some(rows), range)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use geophone_proto::{Record, RecordBody};

    #[test]
    fn every_row_goes_to_its_hour_once() {
        assert_eq!(by_hour(&[0, 5]), [(0, None, (0, 5))]);
        let split = by_hour(&[HOUR_NS, 3, HOUR_NS + 1, u64::MAX]);
        let rows: Vec<_> = split.iter().map(|(_, rows, _)| rows.clone().expect("more than one hour")).collect();
        assert_eq!(rows, [vec![1], vec![0, 2], vec![3]]);
    }

    #[test]
    fn a_large_batch_is_taken_in_pieces_and_every_row_once() {
        let decoded = |record: Record| {
            let RecordBody::Batch(export) = record.body else { panic!("spans are a batch") };
            fixture::decoder()(&export, record.at)
        };
        let small = decoded(fixture::spans("small", &[fixture::NOON; 9]));
        assert_eq!(in_pieces(&small, None), [None]);
        assert_eq!(in_pieces(&small, Some(&[3, 5])), [Some(Cow::Borrowed([3, 5].as_slice()))]);
        let large = decoded(fixture::spans("large", &vec![fixture::NOON; 200_000]));
        let pieces = in_pieces(&large, None);
        assert_eq!(pieces.len(), large.memory_bytes() / TEXT_BYTES_MAX + 1);
        let rows: Vec<u32> = pieces.into_iter().flatten().flat_map(Cow::into_owned).collect();
        assert_eq!(rows, (0..200_000).collect::<Vec<_>>());
        assert_eq!(in_pieces(&large, Some(&[7])), [Some(Cow::Borrowed([7].as_slice()))], "a piece has a row");
    }

    #[test]
    fn hours_are_named_like_the_beginning_of_a_time() {
        assert_eq!(hour_name(0), "1970-01-01T00");
        assert_eq!(hour_name(1_795_500_000_000_000_000 / HOUR_NS), "2026-11-24T06");
    }
}
