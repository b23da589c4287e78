//! One stack sample, whoever took it: the kernel's profiler or a recorded session.

use geophone_proto::{SpanId, TraceId, UnixNanos, stacks::ThreadState};
use serde::{Deserialize, Serialize};

/// One function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Function name, demangled.
    pub function: String,
    /// Source file, or empty.
    #[serde(default)]
    pub file: String,
    /// Line, or 0.
    #[serde(default)]
    pub line: u32,
}

/// What one thread did at one moment (on the CPU) or over one interval (blocked, waiting).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Middle of what it stands for.
    pub at: UnixNanos,
    /// Time it stands for: the sampling period, or the interval's length.
    pub weight_ns: u64,
    /// Running, blocked or waiting.
    pub state: ThreadState,
    /// `service.name` of the process, or empty where unknown.
    #[serde(default)]
    pub service: String,
    /// `service.instance.id` of the process, or empty where unknown.
    #[serde(default)]
    pub instance: String,
    /// Name of the process.
    pub process: String,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// What the thread context said, or none.
    #[serde(default)]
    pub trace_id: Option<TraceId>,
    /// What the thread context said, or none.
    #[serde(default)]
    pub span_id: Option<SpanId>,
    /// Outermost first.
    pub stack: Vec<Frame>,
}
