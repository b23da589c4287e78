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
/// and is 0.9 or more only where `alert` is 1.
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
        let output = File::create(&self.output).map_err(ServiceError::io(format!("write {}", self.output.display())))?;
        let mut writer = Writer::from_writer(BufWriter::new(output));
        let mut scorer = Scorer::of(&header, &self.input)?;
        let bad = |error: csv::Error| ServiceError::Negative(format!("{name}: {error}"));
        writer.write_record(["series_id", "timestamp", "score", "alert"]).map_err(bad)?;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(bad)? {
            let (id, time, row) = scorer.row(&record)?;
            writer.write_record([id, time, &row.score.to_string(), if row.alert { "1" } else { "0" }]).map_err(bad)?;
        }
        progress.finish_and_clear();
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
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        match names.as_slice() {
            ["series_id", "timestamp", "value", ..] => Ok(Self::Series { known: HashMap::new() }),
            ["timestamp", _, ..] => {
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
