//! A day of the shop as files, the way the Collector's file exporter writes them.
//!
//! `traces`, `metrics` and `logs`, each as JSON lines or as protobuf with a 4-byte big-endian length
//! before every message, optionally in zstd; beside them `schedule.json` with what was injected.

use super::{
    schedule::{Schedule, nanos},
    simulation::{Sent, Shop},
};
use crate::json::to_json;
use geophone_proto::{Signal, time::UnixNanos};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// The files are written once and read often.
const ZSTD_LEVEL: i32 = 9;

/// How requests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One request a line, OTLP/JSON.
    JsonLines,
    /// Length and protobuf message.
    Protobuf,
    /// JSON lines in zstd.
    JsonLinesZstd,
    /// Length and protobuf message in zstd.
    ProtobufZstd,
}

impl FileFormat {
    const fn ending(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Protobuf => "binpb",
            Self::JsonLinesZstd => "jsonl.zst",
            Self::ProtobufZstd => "binpb.zst",
        }
    }

    const fn is_json(self) -> bool {
        matches!(self, Self::JsonLines | Self::JsonLinesZstd)
    }

    const fn is_zstd(self) -> bool {
        matches!(self, Self::JsonLinesZstd | Self::ProtobufZstd)
    }
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; choose a folder that can be written to")]
pub struct ExportError {
    path: String,
    source: io::Error,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Requests.
    pub requests: u64,
    /// Spans, data points and log records.
    pub items: u64,
}

enum Sink {
    Plain(BufWriter<File>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Zstd(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Zstd(file) => file.flush(),
        }
    }
}

/// Writes requests to the file of their signal.
pub struct Recorder {
    format: FileFormat,
    files: [(PathBuf, Sink); 3],
    report: FileReport,
}

impl Recorder {
    /// Creates the folder and three empty files.
    pub fn create(dir: &Path, format: FileFormat) -> Result<Self, ExportError> {
        std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
        let open = |signal: Signal| {
            let path = dir.join(format!("{}.{}", signal.as_str(), format.ending()));
            let file = File::create(&path).map(BufWriter::new);
            let sink = if format.is_zstd() {
                file.and_then(|file| zstd::Encoder::new(file, ZSTD_LEVEL)).map(Sink::Zstd)
            } else {
                file.map(Sink::Plain)
            };
            sink.map_err(|source| failed(&path, source)).map(|sink| (path.clone(), sink))
        };
        let files = [open(Signal::Traces)?, open(Signal::Metrics)?, open(Signal::Logs)?];
        Ok(Self { format, files, report: FileReport::default() })
    }

    /// Appends one request.
    pub fn write(&mut self, sent: &Sent) -> Result<(), ExportError> {
        let (path, sink) = &mut self.files[match sent.request.signal() {
            Signal::Traces => 0,
            Signal::Metrics => 1,
            Signal::Logs => 2,
            Signal::Profiles => return Err(failed(Path::new("profiles"), io::Error::other("the shop makes none"))),
        }];
        let written = if self.format.is_json() {
            let mut line = to_json(&sent.request).to_string();
            line.push('\n');
            sink.write_all(line.as_bytes())
        } else {
            let message = sent.request.encode();
            let length = u32::try_from(message.len()).map_err(io::Error::other);
            length.and_then(|length| sink.write_all(&length.to_be_bytes())).and_then(|()| sink.write_all(&message))
        };
        written.map_err(|source| failed(path, source))?;
        self.report.requests += 1;
        self.report.items += sent.request.items();
        Ok(())
    }

    /// Completes the files.
    pub fn finish(self) -> Result<FileReport, ExportError> {
        for (path, sink) in self.files {
            let done = match sink {
                Sink::Plain(mut file) => file.flush(),
                Sink::Zstd(file) => file.finish().and_then(|mut file| file.flush()),
            };
            done.map_err(|source| failed(&path, source))?;
        }
        Ok(self.report)
    }
}

/// Writes a whole schedule's telemetry and `schedule.json` into a folder.
pub fn export_files(dir: &Path, format: FileFormat, schedule: &Schedule) -> Result<FileReport, ExportError> {
    export_shop(dir, format, schedule, Shop::new(schedule.seed, schedule.start, schedule))
}

/// The same of a shop that has been told the schedule.
pub(super) fn export_shop(dir: &Path, format: FileFormat, schedule: &Schedule, mut shop: Shop) -> Result<FileReport, ExportError> {
    let mut recorder = Recorder::create(dir, format)?;
    let mut at = schedule.start;
    while at < schedule.end {
        at = UnixNanos(at.plus(nanos(10.0)).0.min(schedule.end.0));
        for sent in shop.advance(at) {
            recorder.write(&sent)?;
        }
    }
    let path = dir.join("schedule.json");
    let text = serde_json::to_string_pretty(schedule).map_err(|source| failed(&path, source.into()))?;
    std::fs::write(&path, text + "\n").map_err(|source| failed(&path, source))?;
    recorder.finish()
}

fn failed(path: &Path, source: io::Error) -> ExportError {
    ExportError { path: path.display().to_string(), source }
}
