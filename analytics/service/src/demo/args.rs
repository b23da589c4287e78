//! What `geophone demo` is asked for.

use super::session::Session;
use crate::{commands::FormatArg, error::ServiceError, wiring::io_runtime};
use clap::Args;
use geophone_client::shop::{FileFormat, Pace, Schedule, export_files};
use geophone_proto::{
    seam::Clock,
    time::{SECOND_NS, UnixNanos},
};
use std::{path::PathBuf, sync::Arc};

/// Watch a simulated shop: ten services, five faults, three harmless events.
///
/// Serves in a temporary folder; the page shows what was found, the terminal what was injected.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  geophone demo\n  geophone demo --seed 7 --check --output json")]
pub struct DemoArgs {
    /// Which day at the shop: moves faults to other services and times.
    #[arg(long, env = "GEOPHONE_SEED", value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Run the schedule to its end, then exit 0 only if every fault was found with the right first suspect and nothing else opened.
    #[arg(long, env = "GEOPHONE_CHECK")]
    pub check: bool,
    /// Where page and API are served [default: 127.0.0.1:8080, or any free port if that is taken].
    #[arg(long, env = "GEOPHONE_HTTP_ENDPOINT", value_name = "ADDR")]
    pub http_endpoint: Option<String>,
    /// Where OTLP over gRPC is received; port 0 = any free one.
    #[arg(long, env = "GEOPHONE_OTLP_GRPC_ENDPOINT", value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub otlp_grpc_endpoint: String,
    /// Where OTLP over HTTP is received; port 0 = any free one.
    #[arg(long, env = "GEOPHONE_OTLP_HTTP_ENDPOINT", value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub otlp_http_endpoint: String,
    /// How many seconds pass in the shop while one passes here, until the schedule is over.
    #[arg(long, env = "GEOPHONE_SPEED", value_name = "X", default_value_t = 60.0)]
    pub speed: f64,
    /// Undisturbed minutes before the first fault.
    #[arg(long, env = "GEOPHONE_WARM_UP_MINUTES", value_name = "M", default_value_t = 45.0, hide = true)]
    pub warm_up_minutes: f64,
    /// Write the telemetry to files in this folder instead, as the Collector's file exporter does, and serve nothing.
    #[arg(long, env = "GEOPHONE_EXPORT", value_name = "DIR", hide = true)]
    pub export: Option<PathBuf>,
    /// Form of those files: jsonl, binpb, jsonl.zst or binpb.zst.
    #[arg(long, env = "GEOPHONE_EXPORT_FORMAT", value_name = "FORMAT", default_value = "jsonl", hide = true)]
    pub export_format: String,
    /// How to print.
    #[command(flatten)]
    pub format: FormatArg,
}

/// Exported files always begin at this moment, so that the same seed gives the same bytes.
const EXPORT_START: UnixNanos = UnixNanos(1_767_261_600 * SECOND_NS);

impl DemoArgs {
    /// Runs the demo, or writes files.
    pub fn run(self, clock: Arc<dyn Clock>) -> Result<(), ServiceError> {
        let limits = [("speed", self.speed, 0.1..=10_000.0), ("warm-up-minutes", self.warm_up_minutes, 0.0..=1440.0)];
        if let Some((name, value, range)) = limits.into_iter().find(|(_, value, range)| !range.contains(value)) {
            return Err(ServiceError::Usage(format!("--{name} is {value}: give {} to {}", range.start(), range.end())));
        }
        if let Some(dir) = &self.export {
            return self.write_files(dir);
        }
        io_runtime()?.block_on(Session::start(self, clock)?.run())
    }

    /// How long things last.
    pub fn pace(&self) -> Pace {
        Pace { warm_up_s: self.warm_up_minutes * 60.0, ..Pace::default() }
    }

    fn write_files(&self, dir: &std::path::Path) -> Result<(), ServiceError> {
        let format = match self.export_format.as_str() {
            "jsonl" => FileFormat::JsonLines,
            "binpb" => FileFormat::Protobuf,
            "jsonl.zst" => FileFormat::JsonLinesZstd,
            "binpb.zst" => FileFormat::ProtobufZstd,
            other => {
                return Err(ServiceError::Usage(format!("`{other}` is no format of files: write jsonl, binpb, jsonl.zst or binpb.zst")));
            }
        };
        let schedule = Schedule::seeded(self.seed, EXPORT_START, &self.pace());
        let report = export_files(dir, format, &schedule).map_err(|error| ServiceError::Negative(error.to_string()))?;
        tracing::info!(requests = report.requests, items = report.items, dir = %dir.display(), "telemetry written");
        Ok(())
    }
}
