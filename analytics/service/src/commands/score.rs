//! `geophone score`: plain series of numbers through the live detector, row by row.

use super::progress::bar;
use crate::{error::ServiceError, models};
use clap::Args;
use csv::{ReaderBuilder, StringRecord, Writer};
use flate2::read::MultiGzDecoder;
use geophone_engine::score::{Entity, Row, Univariate};
use geophone_proto::{
    feature::FeatureFrame,
    model::ModelCard,
    seam::{Model, SeamError},
};
use indicatif::ProgressBar;
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Score series of numbers in a CSV file.
///
/// Input `series_id,timestamp,value`, or `timestamp,d1..dn` (one entity, named after the file); timestamps in
/// seconds. Output `series_id,timestamp,score,alert`, one line for each input line. A row's score does not
/// depend on later rows.
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

/// Series in one file at most: each holds its past.
const SERIES_MAX: usize = 1_000_000;

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
    Series { model: Shared, known: HashMap<String, Univariate> },
    Entity { id: String, entity: Box<Entity>, values: Vec<f64> },
}

impl Scorer {
    fn of(header: &StringRecord, input: &Path) -> Result<Self, ServiceError> {
        let model = Shared::shipped()?;
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        match names.as_slice() {
            ["series_id", "timestamp", "value", ..] => Ok(Self::Series { model, known: HashMap::new() }),
            ["timestamp", _, ..] => {
                let name = input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                let id = name.trim_end_matches(".gz").trim_end_matches(".csv").to_owned();
                let entity = Box::new(Entity::with_model(&id, names.len() - 1, Box::new(model)));
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
            Self::Series { model, known } => {
                let id = text(0);
                if !known.contains_key(id) {
                    if known.len() >= SERIES_MAX {
                        return Err(ServiceError::Negative(format!("more than {SERIES_MAX} series: split the file")));
                    }
                    known.insert(id.to_owned(), Univariate::with_model(id, Box::new(model.clone())));
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

/// One session of the shipped model for all series: it holds no state between rows.
#[derive(Clone)]
struct Shared {
    card: Arc<ModelCard>,
    model: Arc<Mutex<Box<dyn Model>>>,
}

impl Shared {
    fn shipped() -> Result<Self, ServiceError> {
        let model = models::load("default", Path::new("."))?;
        Ok(Self { card: Arc::new(model.card().clone()), model: Arc::new(Mutex::new(model)) })
    }
}

impl Model for Shared {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).score(frame, scores)
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
