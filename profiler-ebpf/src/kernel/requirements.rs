//! What the kernel and this process must have, each read before anything is tried: the kernel's own
//! messages mislead. Called at the start and by `geophone doctor`.

use crate::error::ProfilerError;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

/// One thing that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// In a few words.
    pub check: &'static str,
    /// What was found, or what is missing.
    pub found: Result<String, String>,
    /// The command that mends it.
    pub mend: &'static str,
    /// Without it nothing is recorded; else it is only worse.
    pub is_needed: bool,
}

/// The host's pid namespace has this number on every Linux.
const HOST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// 5.15 has every helper that the programs call.
const OLDEST: (u32, u32) = (5, 15);

const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

const SETCAP: &str = "sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep \"$(command -v geophone)\"";

/// Everything, read below `root`.
pub fn requirements(root: &Path) -> Vec<Requirement> {
    vec![kernel(root), btf(root), capabilities(root), pid_namespace(root), kernel_names(root)]
}

/// The first that is missing, as an error.
pub(super) fn check(root: &Path) -> Result<(), ProfilerError> {
    if let Err(found) = kernel(root).found {
        return Err(ProfilerError::OldKernel { found });
    }
    btf(root).found.map_err(|_| ProfilerError::NoBtf)?;
    pid_namespace(root).found.map_err(|_| ProfilerError::OwnPidNamespace)?;
    let missing = missing_capabilities(root);
    if missing.is_empty() { Ok(()) } else { Err(ProfilerError::NoCapability { missing: missing.join(" and ") }) }
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn kernel(root: &Path) -> Requirement {
    let release = read(root, "proc/sys/kernel/osrelease").trim().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Requirement {
        check: "kernel version",
        found: if version >= OLDEST { Ok(release) } else { Err(format!("`{release}`, {}.{} or newer is needed", OLDEST.0, OLDEST.1)) },
        mend: "sudo apt-get install linux-image-amd64   # or your distribution's newest kernel, then reboot",
        is_needed: true,
    }
}

fn btf(root: &Path) -> Requirement {
    let there = root.join("sys/kernel/btf/vmlinux").is_file();
    Requirement {
        check: "kernel type information (BTF)",
        found: if there { Ok("/sys/kernel/btf/vmlinux".into()) } else { Err("/sys/kernel/btf/vmlinux is missing".into()) },
        mend: "grep BTF \"/boot/config-$(uname -r)\"   # use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        is_needed: true,
    }
}

/// Names of the capabilities that this process lacks; empty = it may record.
fn missing_capabilities(root: &Path) -> Vec<&'static str> {
    let status = read(root, "proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective >> capability & 1 == 1;
    let wanted =
        [("CAP_BPF", has(BPF) || has(SYS_ADMIN)), ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)), ("CAP_SYS_PTRACE", has(SYS_PTRACE))];
    wanted.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

fn capabilities(root: &Path) -> Requirement {
    let missing = missing_capabilities(root);
    Requirement {
        check: "capabilities",
        found: if missing.is_empty() {
            Ok("CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE".into())
        } else {
            Err(format!("{} missing", missing.join(", ")))
        },
        mend: SETCAP,
        is_needed: true,
    }
}

fn pid_namespace(root: &Path) -> Requirement {
    let own = fs::read_link(root.join("proc/self/ns/pid")).map(|link| link.display().to_string()).unwrap_or_default();
    Requirement {
        check: "pid namespace",
        found: if own == HOST_PID_NAMESPACE {
            Ok("the host's".into())
        } else {
            Err(format!("`{own}` is not the host's: every stack would be nobody's"))
        },
        mend: "docker run --pid=host ...   # in Kubernetes `hostPID: true`",
        is_needed: true,
    }
}

/// The kernel shows the addresses of its functions to those only whom it trusts.
fn kernel_names(root: &Path) -> Requirement {
    let first = fs::File::open(root.join("proc/kallsyms")).ok().and_then(|file| BufReader::new(file).lines().next()?.ok());
    let is_shown = first.is_some_and(|line| line.split(' ').next().is_some_and(|address| address.bytes().any(|digit| digit != b'0')));
    let hidden = "its functions' addresses are hidden: its frames are one `[kernel]`";
    Requirement {
        check: "kernel function names",
        found: if is_shown { Ok("/proc/kallsyms".into()) } else { Err(hidden.into()) },
        mend: "sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_syslog+ep \"$(command -v geophone)\"",
        is_needed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_thing_is_named_with_what_mends_it() {
        let root = std::env::temp_dir().join(format!("geophone-requirements-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).and_then(|()| fs::write(path, text)).expect("writable");
        };
        write("proc/sys/kernel/osrelease", "5.4.0-150-generic\n");
        write("proc/self/status", "Name:\tgeophone\nCapEff:\t0000008000000000\n");
        write("proc/kallsyms", "0000000000000000 A fixed_percpu_data\n");
        let found = requirements(&root);
        assert!(found.iter().all(|requirement| requirement.found.is_err() && !requirement.mend.is_empty()), "{found:?}");
        assert_eq!(missing_capabilities(&root), ["CAP_PERFMON", "CAP_SYS_PTRACE"]);
        write("proc/sys/kernel/osrelease", "6.18.1\n");
        write("proc/self/status", "CapEff:\t000001ffffffffff\n");
        write("sys/kernel/btf/vmlinux", "");
        write("proc/kallsyms", "ffffffff81000000 T _text\n");
        std::os::unix::fs::symlink(HOST_PID_NAMESPACE, root.join("proc/self/ns").join("pid"))
            .or_else(|_| {
                fs::create_dir_all(root.join("proc/self/ns"))
                    .and_then(|()| std::os::unix::fs::symlink(HOST_PID_NAMESPACE, root.join("proc/self/ns/pid")))
            })
            .expect("writable");
        assert!(check(&root).is_ok(), "{:?}", requirements(&root));
        assert!(requirements(&root).iter().all(|requirement| requirement.found.is_ok()), "{:?}", requirements(&root));
        fs::remove_dir_all(&root).expect("made above");
    }
}
