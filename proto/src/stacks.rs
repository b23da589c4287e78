//! Stacks of flagged spans: what the profiler is asked and what it answers.

use crate::{
    ids::{SpanId, TraceId},
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};

/// How surely a stack belongs to a span, surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkClass {
    /// The thread said which span it ran.
    Span,
    /// Same thread and time.
    Thread,
    /// Same process and time.
    Process,
    /// Same service and time.
    Service,
}

/// What a thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// Running.
    OnCpu,
    /// Asleep: lock, disk, network.
    Blocked,
    /// Runnable, waiting for a core.
    Waiting,
}

/// A span whose stacks are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedSpan {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
}

/// Where a span ran, as its own attributes say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanPlace {
    /// The span.
    pub span_id: SpanId,
    /// `process.pid`, or 0.
    pub pid: u32,
    /// `thread.id`, or 0.
    pub tid: u32,
    /// `service.instance.id`, or empty.
    pub instance: String,
}

/// The brain's question, back in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRequest {
    /// The anomaly that asks.
    pub anomaly_id: String,
    /// `service.name` of the spans.
    pub service: String,
    /// `service.instance.id` where known, or empty.
    pub instance: String,
    /// Flagged spans.
    pub flagged: Vec<WantedSpan>,
    /// Normal spans of the same operation, for the difference.
    pub baseline: Vec<WantedSpan>,
    /// Where the spans ran, as far as they say; filled in after the brain by who can read attributes.
    #[serde(default)]
    pub places: Vec<SpanPlace>,
}

/// One row of the table of functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopFunction {
    /// Function name.
    pub function: String,
    /// Source file, or empty.
    pub file: String,
    /// Line, or 0.
    pub line: u32,
    /// Doing what.
    pub state: ThreadState,
    /// Time with this function on top.
    pub self_ns: u64,
    /// Time with this function anywhere in the stack.
    pub total_ns: u64,
    /// The same of the baseline, scaled to as many normal spans.
    pub baseline_total_ns: u64,
}

/// The one function in which flagged spans spend what normal ones do not, whatever the thread was doing there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// Function name.
    pub function: String,
    /// Source file, or empty.
    pub file: String,
    /// Line, or 0.
    pub line: u32,
    /// Time in it, less that of as many normal spans.
    pub excess_ns: u64,
    /// Running, in flagged spans.
    pub on_cpu_ns: u64,
    /// Asleep, in flagged spans.
    pub blocked_ns: u64,
    /// Waiting for a core, in flagged spans.
    pub waiting_ns: u64,
}

/// The stacks of an anomaly, as the API shows them. Sums are over flagged spans that have a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stacks {
    /// The weakest link used.
    pub link: LinkClass,
    /// Spans asked for.
    pub spans_flagged: u64,
    /// Of these, with a stack.
    pub spans: u64,
    /// Samples.
    pub samples: u64,
    /// Running.
    pub on_cpu_ns: u64,
    /// Asleep.
    pub blocked_ns: u64,
    /// Waiting for a core.
    pub waiting_ns: u64,
    /// Where most of the extra time is; none where nobody has most of it.
    #[serde(default)]
    pub culprit: Option<Culprit>,
    /// One row per function and state, largest excess over the baseline first.
    pub top: Vec<TopFunction>,
    /// URL of the folded text.
    pub folded: String,
    /// URL of the pprof file.
    pub pprof: String,
}

/// The profiler's answer; comes back through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackAnswer {
    /// The anomaly that asked.
    pub anomaly_id: String,
    /// The table; `None` where nothing was found.
    pub stacks: Option<Stacks>,
    /// Folded lines `process;[state];outer;...;inner NANOSECONDS`.
    pub folded_text: String,
    /// The same of the baseline, scaled to as many normal spans.
    #[serde(default)]
    pub baseline_text: String,
    /// Why there is none, or empty.
    pub note: String,
}
