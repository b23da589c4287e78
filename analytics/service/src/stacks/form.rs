//! Samples as a file: the forms in which a profile by hand is handed over, by the command as by the API.

use super::packed;
use clap::ValueEnum;
use geophone_profiler_ebpf::{Probe, ProfilerError, Sample, attach::folded, output};
use prost::Message as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// Forms of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A flame graph.
    Svg,
    /// For `go tool pprof` and friends.
    Pprof,
    /// `process;[state];outer;...;inner NANOSECONDS`.
    #[default]
    Folded,
    /// An OTLP export request of profiles (protobuf).
    Otlp,
}

impl Form {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pprof => "pprof",
            Self::Folded => "folded",
            Self::Otlp => "otlp",
        }
    }

    /// The samples in this form; `period_ns` is what one on the CPU stands for.
    pub fn write(self, title: &str, samples: &[Sample], period_ns: u64) -> Result<Vec<u8>, ProfilerError> {
        Ok(match self {
            Self::Folded => folded(samples).into_bytes(),
            Self::Pprof => packed(&folded(samples)),
            Self::Svg => output::flame_graph(title, &folded(samples))?,
            Self::Otlp => output::otlp(samples, period_ns).encode_to_vec(),
        })
    }
}

/// Why a profile is empty, and what to try.
pub fn emptiness(seconds: f64, off_cpu: bool) -> String {
    let hint = if off_cpu { "nothing slept for a millisecond or more" } else { "nothing ran: is it idle? ask for time off the CPU" };
    format!("no sample in {seconds:.1} s: {hint}")
}

/// What was seen of a function, as JSON.
pub fn report(seen: &Probe, uprobe: &str) -> Value {
    let calls = seen.calls.count();
    json!({
        "uprobe": uprobe,
        "seconds": seen.length.as_secs_f64(),
        "calls": calls,
        "mean_ns": seen.calls.total_ns().checked_div(calls).unwrap_or(0),
        "histogram": seen.calls.buckets(),
        "folded": folded(&seen.samples),
    })
}
