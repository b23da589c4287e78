//! What `geophone gen` is asked for.

use super::{drive::drive, report::Report};
use crate::{commands::FormatArg, error::ServiceError, wiring::io_runtime};
use clap::{Args, ValueEnum};
use geophone_client::{Compression, Protocol};
use geophone_proto::{Signal, action::millis, seam::Clock};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Send generated telemetry to an OTLP receiver and measure how it answers.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  geophone gen --duration 10s --connections 4\n  \
    geophone gen --protocol http --signal logs --rate 200 --items-per-request 50 --duration 30s --output json")]
pub struct GenArgs {
    /// Receiver: URL or address [default: 127.0.0.1:4317 for grpc, :4318 for http].
    #[arg(long, env = "GEOPHONE_ENDPOINT", value_name = "URL|ADDR")]
    pub endpoint: Option<String>,
    /// For an `https` endpoint: PEM file with the authorities to trust instead of the public ones.
    #[arg(long, env = "GEOPHONE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Sent with every request, as often as needed: `name=value`, as `authorization=Bearer ...`.
    #[arg(long, env = "GEOPHONE_HEADER", value_name = "NAME=VALUE", hide_env_values = true, value_parser = header)]
    pub header: Vec<(String, String)>,
    /// How requests travel.
    #[arg(long, value_enum, env = "GEOPHONE_PROTOCOL", default_value = "grpc")]
    pub protocol: ProtocolWord,
    /// What is sent.
    #[arg(long, value_enum, env = "GEOPHONE_SIGNAL", default_value = "traces")]
    pub signal: SignalWord,
    /// Requests a second over all connections (open loop); without it each connection sends as fast as it is answered.
    #[arg(long, env = "GEOPHONE_RATE", value_name = "R")]
    pub rate: Option<f64>,
    /// Spans, data points or log records in each request.
    #[arg(long, env = "GEOPHONE_ITEMS_PER_REQUEST", value_name = "N", default_value_t = 100)]
    pub items_per_request: u32,
    /// Connections, each with one request under way.
    #[arg(long, env = "GEOPHONE_CONNECTIONS", value_name = "C", default_value_t = 4)]
    pub connections: u32,
    /// How long to send [default: 10s, unless --requests is given].
    #[arg(long, env = "GEOPHONE_DURATION", value_name = "D", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many requests to send.
    #[arg(long, env = "GEOPHONE_REQUESTS", value_name = "N")]
    pub requests: Option<u64>,
    /// Services that pretend to send; requests take turns.
    #[arg(long, env = "GEOPHONE_SERVICES", value_name = "S", default_value_t = 5)]
    pub services: u32,
    /// How bodies are compressed.
    #[arg(long, value_enum, env = "GEOPHONE_COMPRESSION", default_value = "none")]
    pub compression: CompressionWord,
    /// Seed of ids and durations.
    #[arg(long, env = "GEOPHONE_SEED", value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How to print.
    #[command(flatten)]
    pub format: FormatArg,
}

/// `--protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolWord {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, protobuf.
    Http,
}

/// `--signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SignalWord {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
    /// Samples of one profile.
    Profiles,
}

/// `--compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompressionWord {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

fn duration(text: &str) -> Result<Duration, String> {
    millis::parse(text).filter(|span| !span.is_zero()).ok_or_else(|| format!("`{text}` is not a duration: write `500ms`, `10s` or `2m`"))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is no header: write name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What to do, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Where to.
    pub endpoint: String,
    /// Authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// How requests travel.
    pub protocol: Protocol,
    /// How bodies are compressed.
    pub compression: Compression,
    /// What is sent.
    pub signal: Signal,
    /// Requests a second, or as fast as answered.
    pub rate: Option<f64>,
    /// Items in a request.
    pub items: u32,
    /// Requests under way at most.
    pub connections: u32,
    /// When to stop.
    pub duration: Option<Duration>,
    /// After how many requests to stop.
    pub requests: u64,
    /// Pretended senders.
    pub services: u32,
    /// Of ids and durations.
    pub seed: u64,
}

impl GenArgs {
    /// Checks what was asked for.
    pub fn task(&self) -> Result<Task, ServiceError> {
        let positive = [("items-per-request", self.items_per_request), ("connections", self.connections), ("services", self.services)];
        if self.requests == Some(0) {
            return Err(ServiceError::Usage("--requests is 0: give at least 1".into()));
        }
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(ServiceError::Usage(format!("--{name} is 0: give at least 1")));
        }
        if let Some(rate) = self.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(ServiceError::Usage(format!("--rate is {rate}: give requests a second, more than 0")));
        }
        let (protocol, usual) = match self.protocol {
            ProtocolWord::Grpc => (Protocol::Grpc, "127.0.0.1:4317"),
            ProtocolWord::Http => (Protocol::HttpProtobuf, "127.0.0.1:4318"),
        };
        let compression = match self.compression {
            CompressionWord::None => Compression::None,
            CompressionWord::Gzip => Compression::Gzip,
            CompressionWord::Zstd => Compression::Zstd,
        };
        let signal = match self.signal {
            SignalWord::Traces => Signal::Traces,
            SignalWord::Metrics => Signal::Metrics,
            SignalWord::Logs => Signal::Logs,
            SignalWord::Profiles => Signal::Profiles,
        };
        Ok(Task {
            endpoint: self.endpoint.clone().unwrap_or_else(|| usual.to_owned()),
            ca_file: self.ca_file.clone(),
            headers: self.header.clone(),
            protocol,
            compression,
            signal,
            rate: self.rate,
            items: self.items_per_request,
            connections: self.connections,
            duration: self.duration.or_else(|| self.requests.is_none().then_some(Duration::from_secs(10))),
            requests: self.requests.unwrap_or(u64::MAX),
            services: self.services,
            seed: self.seed,
        })
    }

    /// Sends, then prints what came of it.
    pub fn run(self, clock: Arc<dyn Clock>) -> Result<(), ServiceError> {
        let task = self.task()?;
        let report: Report = io_runtime()?.block_on(drive(task, clock))?;
        report.print(self.format.format())
    }
}
