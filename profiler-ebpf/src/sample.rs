//! One stack sample, whoever took it: the kernel's profiler or a recorded session.

use geophone_proto::{SpanId, TraceId, UnixNanos, stacks::ThreadState};
use serde::{Deserialize, Serialize};

/// One function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Function name, demangled.
    pub function: String,
    /// Source file, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Line, or 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub line: u32,
    /// Name of the program or library, `[kernel]`, or empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub module: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(line: &u32) -> bool {
    *line == 0
}

impl Frame {
    /// Of a program or a library of its own, not of the language, the C library or the kernel, in which all programs look alike.
    pub fn is_own(&self) -> bool {
        const SYSTEM: [&str; 8] = ["[", "libc.so", "libc-", "libpthread", "libm.so", "libstdc++", "libgcc_s", "ld-linux"];
        const LANGUAGE: [&str; 8] = ["std::", "core::", "alloc::", "<std::", "<core::", "<alloc::", "__rust", "__libc"];
        const TRAITS: [&str; 3] = [" as core::", " as std::", " as alloc::"];
        let is_one = |starts: &[&str], name: &str| starts.iter().any(|start| name.starts_with(start));
        let is_trait = self.function.starts_with('<') && TRAITS.iter().any(|of| self.function.contains(of));
        let of_the_language =
            is_trait || self.file.contains("/rustc/") || self.file.starts_with("library/") || is_one(&LANGUAGE, &self.function);
        !(is_one(&SYSTEM, &self.module) || of_the_language || is_one(&["[", "sys_"], &self.function))
    }
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
