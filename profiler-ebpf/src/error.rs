//! Why the profiler cannot run or cannot answer.

use geophone_proto::Class;
use std::path::PathBuf;

/// What went wrong, and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum ProfilerError {
    /// The kernel was built without its type information.
    #[error("the kernel has no type information in /sys/kernel/btf/vmlinux: use a kernel built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf,
    /// Privileges are missing.
    #[error("{missing} missing: start as root, or once `sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep \"$(command -v geophone)\"`")]
    NoCapability {
        /// Their names.
        missing: String,
    },
    /// The kernel counts processes that we cannot see by these numbers.
    #[error(
        "geophone runs in a pid namespace of its own, where the kernel's process ids mean nothing: start it in the host's (`hostPID: true`, `--pid=host`)"
    )]
    OwnPidNamespace,
    /// Too old.
    #[error("kernel {found} is older than 5.15: upgrade it")]
    OldKernel {
        /// What runs.
        found: String,
    },
    /// The kernel refused a program, map or attachment.
    #[error("the kernel refused {what}: {why}")]
    Refused {
        /// Which.
        what: String,
        /// In the kernel's words.
        why: String,
    },
    /// There is no such process, service or function.
    #[error("{0}")]
    NotFound(String),
    /// A file that must be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A picture that cannot be drawn.
    #[error("no flame graph can be drawn: {0}")]
    Drawing(String),
}

impl ProfilerError {
    /// What it asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::NoBtf | Self::NoCapability { .. } | Self::OwnPidNamespace | Self::OldKernel { .. } | Self::Refused { .. } => {
                Class::Config
            }
            Self::NotFound(_) | Self::Read { .. } | Self::Drawing(_) => Class::Reject,
        }
    }
}
