//! `geophone score`: plain series of numbers through the engine's scorer, row by row.

use super::progress::bar;
use crate::error::ServiceError;
use clap::Args;
use csv::{ReaderBuilder, StringRecord, Writer};
use flate2::read::MultiGzDecoder;
use geophone_engine::score::{Entity, Row, Univariate};
use indicatif::ProgressBar;
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// Score series of numbers in a CSV file.
///
/// Input `series_id,timestamp,value`, or `timestamp,d1..dn` (one entity, named after the file); timestamps in
/// seconds. Output `series_id,timestamp,score,alert`, one line for each input line. A row's score does not
/// depend on later rows. `alert` is 1 in the row where an anomaly begins; `score` stays up for a while after,
/// and is 0.9 or more only where `alert` is 1. What is empty, `NaN` or no number counts as missing; how many
/// were no numbers is said at the end.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  geophone score --input nab.csv.gz --output scores.csv")]
pub struct Score {
    /// Rows to score, .csv or .csv.gz.
    #[arg(long, env = "GEOPHONE_INPUT", value_name = "FILE")]
    input: PathBuf,
    /// Where scores go.
    #[arg(long, env = "GEOPHONE_OUTPUT_FILE", value_name = "FILE")]
    output: PathBuf,
}

/// Series in one file at most: each holds 20 KiB of its past.
const SERIES_MAX: usize = 200_000;

impl Score {
    /// Streams rows through; memory grows with the number of series only.
    pub fn run(self) -> Result<(), ServiceError> {
        let failed = || format!("read {}", self.input.display());
        let file = File::open(&self.input).map_err(ServiceError::io(failed()))?;
        let progress = bar(file.metadata().ok().map(|meta| meta.len()), "of the file");
        let counted = Counted { file, progress: progress.clone() };
        let name = self.input.to_string_lossy();
        let input: Box<dyn Read> =
            if name.ends_with(".gz") { Box::new(MultiGzDecoder::new(BufReader::new(counted))) } else { Box::new(counted) };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(BufReader::with_capacity(1 << 18, input));
        let header = reader.headers().map_err(|error| ServiceError::Usage(format!("{name}: {error}")))?.clone();
        let mut scorer = Scorer::of(&header, &self.input)?;
        if self.output.canonicalize().is_ok_and(|output| self.input.canonicalize().is_ok_and(|input| input == output)) {
            return Err(ServiceError::Usage(format!("--output is the input, {name}: name another file")));
        }
        let output = File::create(&self.output).map_err(ServiceError::io(format!("write {}", self.output.display())))?;
        let mut writer = Writer::from_writer(BufWriter::new(output));
        let mut rubbish = Rubbish { columns: header.len(), ..Rubbish::default() };
        let bad = |error: csv::Error| ServiceError::Negative(format!("{name}: {error}"));
        writer.write_record(["series_id", "timestamp", "score", "alert"]).map_err(bad)?;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(bad)? {
            rubbish.look(&record, scorer.first_number());
            let (id, time, row) = scorer.row(&record)?;
            writer.write_record([id, time, &row.score.to_string(), if row.alert { "1" } else { "0" }]).map_err(bad)?;
        }
        progress.finish_and_clear();
        rubbish.tell(&name);
        let inner = writer.into_inner().map_err(|error| ServiceError::Negative(error.to_string()))?;
        inner
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|mut file| file.flush())
            .map_err(ServiceError::io(format!("write {}", self.output.display())))
    }
}

/// Which of the two layouts, and the state of its series.
enum Scorer {
    Series { known: HashMap<String, Univariate> },
    Entity { id: String, entity: Box<Entity>, values: Vec<f64> },
}

impl Scorer {
    fn of(header: &StringRecord, input: &Path) -> Result<Self, ServiceError> {
        let names: Vec<String> = header.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["series_id", "timestamp", "value", ..] => Ok(Self::Series { known: HashMap::new() }),
            ["timestamp", dimensions @ ..] if !dimensions.is_empty() && !dimensions.contains(&"series_id") => {
                let name = input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                let id = name.trim_end_matches(".gz").trim_end_matches(".csv").to_owned();
                let entity = Box::new(Entity::new(names.len() - 1));
                Ok(Self::Entity { id, entity, values: Vec::new() })
            }
            _ => Err(ServiceError::Usage(format!(
                "{}: the first line is `{}`: must be `series_id,timestamp,value` or `timestamp,d1,...`",
                input.display(),
                names.join(",")
            ))),
        }
    }

    /// Column of the timestamp; after it, only numbers.
    const fn first_number(&self) -> usize {
        match self {
            Self::Series { .. } => 1,
            Self::Entity { .. } => 0,
        }
    }

    /// Id and time as they stand in the line, and what the row got.
    fn row<'a>(&'a mut self, record: &'a StringRecord) -> Result<(&'a str, &'a str, Row), ServiceError> {
        let number = |place: usize| record.get(place).and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(f64::NAN);
        let text = |place: usize| record.get(place).unwrap_or_default();
        match self {
            Self::Series { known } => {
                let id = text(0);
                if !known.contains_key(id) {
                    if known.len() >= SERIES_MAX {
                        return Err(ServiceError::Negative(format!("more than {SERIES_MAX} series: split the file")));
                    }
                    known.insert(id.to_owned(), Univariate::default());
                }
                let row = known.get_mut(id).map(|series| series.row(number(1), number(2))).unwrap_or_default();
                Ok((id, text(1), row))
            }
            Self::Entity { id, entity, values } => {
                values.clear();
                values.extend((1..record.len()).map(number));
                let row = entity.row(number(0), values);
                Ok((id, text(0), row))
            }
        }
    }
}

/// Lines that do not hold what the first line says: they are scored as far as they go, and told.
#[derive(Default)]
struct Rubbish {
    columns: usize,
    lines: u64,
    first: Option<String>,
}

impl Rubbish {
    fn look(&mut self, record: &StringRecord, first_number: usize) {
        let is_fine = |text: &str| text.is_empty() || text.parse::<f64>().is_ok() || is_missing(text);
        let wrong = record.iter().skip(first_number).map(str::trim).find(|text| !is_fine(text));
        if record.len() == self.columns && wrong.is_none() {
            return;
        }
        self.lines += 1;
        self.first.get_or_insert_with(|| {
            let line = record.position().map_or(0, csv::Position::line);
            wrong.map_or_else(
                || format!("line {line}, with {} columns instead of {}", record.len(), self.columns),
                |text| format!("line {line}, with `{text}`"),
            )
        });
    }

    fn tell(&self, name: &str) {
        if let Some(first) = &self.first {
            tracing::warn!("{name}: {} lines hold something else than numbers, which counts as missing; the first is {first}", self.lines);
        }
    }
}

/// How programs write that there is no value.
fn is_missing(text: &str) -> bool {
    ["null", "none", "na", "n/a"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Counts bytes read, so that progress is that of the file and not of what is in it.
struct Counted {
    file: File,
    progress: ProgressBar,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.inc(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_hold_no_numbers_are_counted_and_missing_values_are_not() {
        let mut rubbish = Rubbish { columns: 3, ..Rubbish::default() };
        for line in [["a", "1", "2"], ["b", "1.5", ""], ["c", "1", "NaN"], ["d", "1", "null"], ["e", "1", "-inf"]] {
            rubbish.look(&StringRecord::from(line.to_vec()), 1);
        }
        assert_eq!((rubbish.lines, rubbish.first.as_deref()), (0, None));
        rubbish.look(&StringRecord::from(vec!["a", "2026-01-01", "2"]), 1);
        rubbish.look(&StringRecord::from(vec!["a", "1"]), 1);
        assert_eq!((rubbish.lines, rubbish.first.as_deref()), (2, Some("line 0, with `2026-01-01`")));
    }

    #[test]
    fn the_first_line_says_which_layout_it_is() {
        let of = |line: &str| Scorer::of(&StringRecord::from(line.split(',').collect::<Vec<_>>()), Path::new("m-1.csv.gz"));
        assert!(matches!(of("series_id,timestamp,value"), Ok(Scorer::Series { .. })));
        assert!(matches!(of("Series_ID, Timestamp, Value"), Ok(Scorer::Series { .. })));
        assert!(matches!(of("timestamp,d1,d2"), Ok(Scorer::Entity { id, .. }) if id == "m-1"));
        for other in ["", "timestamp", "timestamp,series_id,value", "a,1700000000,3"] {
            assert!(of(other).is_err(), "{other}");
        }
    }
}
