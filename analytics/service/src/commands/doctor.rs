//! `geophone doctor`: what this machine lacks, each with the command that mends it.

use super::{
    output::{Format, FormatArg, print_items},
    settings::ServiceArgs,
};
use crate::{config::Config, error::ServiceError};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{fs, net::TcpListener, path::Path};

/// Look at what the service and the profiler need on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  geophone doctor")]
pub struct Doctor {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    format: FormatArg,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: String,
    fine: bool,
    found: String,
    mend: String,
    #[serde(skip)]
    is_for_profiler: bool,
}

impl Finding {
    fn new(check: impl Into<String>, found: Result<String, String>, mend: impl Into<String>) -> Self {
        let fine = found.is_ok();
        let found = found.unwrap_or_else(|missing| missing);
        Self { check: check.into(), fine, found, mend: if fine { String::new() } else { mend.into() }, is_for_profiler: false }
    }

    fn for_profiler(self) -> Self {
        Self { is_for_profiler: true, ..self }
    }
}

impl Doctor {
    /// Prints a line for each thing; exit 1 if the profiler cannot run.
    pub fn run(self) -> Result<(), ServiceError> {
        let config = self.service.resolve()?;
        let mut findings = vec![folder(&config.data_dir)];
        let ports = [("OTLP gRPC", config.otlp_grpc), ("OTLP HTTP", config.otlp_http), ("page and API", config.api.endpoint)];
        findings.extend(ports.map(|(name, address)| {
            let bound = TcpListener::bind(address).map(|_| format!("{address} is free")).map_err(|error| format!("{address}: {error}"));
            Finding::new(
                format!("port for {name}"),
                bound,
                format!("ss -ltnp 'sport = :{}'   # who has it; else choose another", address.port()),
            )
        }));
        findings.push(runtime());
        findings.extend(kernel(Path::new("/")));
        self.print(&config, &findings)?;
        let missing: Vec<&str> =
            findings.iter().filter(|finding| finding.is_for_profiler && !finding.fine).map(|finding| &*finding.check).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(ServiceError::Negative(format!("the profiler cannot run here: {}", missing.join(", "))))
        }
    }

    fn print(&self, _config: &Config, findings: &[Finding]) -> Result<(), ServiceError> {
        let items: Vec<_> = findings.iter().map(|finding| json!(finding)).collect();
        let shown: Vec<_> = findings.iter().map(|finding| json!({"fine": if finding.fine { "ok" } else { "MISSING" }, "check": finding.check, "found": finding.found, "mend": finding.mend})).collect();
        match self.format.format() {
            Format::Table => print_items(
                Format::Table,
                &json!(items),
                &shown,
                &[("", "/fine"), ("check", "/check"), ("found", "/found"), ("mend with", "/mend")],
            ),
            format => print_items(format, &json!(items), &items, &[]),
        }
    }
}

/// Writes a file in the folder, or in the nearest one above that exists.
fn folder(dir: &Path) -> Finding {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let there = absolute.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
    let written = tempfile::tempfile_in(there).map(|_| format!("{} can be written", absolute.display()));
    Finding::new(
        "data folder",
        written.map_err(|error| format!("{}: {error}", there.display())),
        format!("sudo install -d -o \"$USER\" {}", absolute.display()),
    )
}

fn runtime() -> Finding {
    let runtime = geophone_models::runtime();
    let path = runtime.path.map(|path| format!(" in {}", path.display())).unwrap_or_default();
    let found = format!("{}{path}: {}", runtime.name, runtime.note);
    let named = std::env::var_os("ORT_DYLIB_PATH").is_some();
    let found = if named && path.is_empty() { Err(found) } else { Ok(found) };
    Finding::new("model runtime", found, "export ORT_DYLIB_PATH=/usr/lib/libonnxruntime.so   # a library that exists")
}

/// What the profiler needs of the kernel, read below `root`.
fn kernel(root: &Path) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let release = read("proc/sys/kernel/osrelease").trim().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let new_enough = if version >= (5, 8) { Ok(release.clone()) } else { Err(format!("`{release}`, 5.8 or newer is needed")) };
    let btf = root.join("sys/kernel/btf/vmlinux").is_file();
    let btf = if btf { Ok("/sys/kernel/btf/vmlinux".into()) } else { Err("/sys/kernel/btf/vmlinux is missing".to_owned()) };
    let status = read("proc/self/status");
    let effective =
        status.lines().find_map(|line| line.strip_prefix("CapEff:")).and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective >> capability & 1 == 1;
    // CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39.
    let able = if has(21) || (has(38) && has(39)) {
        Ok("CAP_BPF and CAP_PERFMON".into())
    } else {
        Err("CAP_BPF or CAP_PERFMON is missing".to_owned())
    };
    vec![
        Finding::new("kernel version", new_enough, "upgrade the kernel").for_profiler(),
        Finding::new("kernel type information (BTF)", btf, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y").for_profiler(),
        Finding::new("capabilities", able, "sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep \"$(command -v geophone)\"").for_profiler(),
    ]
}
