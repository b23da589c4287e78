//! `geophone doctor`: what this machine lacks, each with the command that mends it.

use super::{
    output::{Format, FormatArg, print_items},
    settings::ServiceArgs,
};
use crate::{config::Config, error::ServiceError};
use clap::Args;
use geophone_profiler_ebpf::{Facts, Requirement, requirements, survey, survey_frames};
use serde::Serialize;
use serde_json::json;
use std::{net::TcpListener, path::Path, time::Duration};

/// How long services are watched.
const LOOK: Duration = Duration::from_secs(1);

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
        let may_record = findings.iter().all(|finding| finding.fine || !finding.is_for_profiler);
        findings.push(thread_context(may_record));
        findings.push(frame_pointers(may_record));
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

/// What the profiler needs of the kernel and of us, read below `root`.
fn kernel(root: &Path) -> Vec<Finding> {
    let finding =
        |needed: Requirement| Finding { is_for_profiler: needed.is_needed, ..Finding::new(needed.check, needed.found, needed.mend) };
    requirements(root).into_iter().map(finding).collect()
}

/// Some of these processes, by service and number.
fn named(processes: &[&Facts]) -> String {
    let shown = processes.iter().take(5).map(|facts| format!("{} ({})", facts.identity.service, facts.pid));
    let more = if processes.len() > 5 { ", ..." } else { "" };
    shown.collect::<Vec<_>>().join(", ") + more
}

/// Whether services here say which span each thread runs; without it stacks are only tied to spans by time.
fn thread_context(may_record: bool) -> Finding {
    let services = survey();
    let silent: Vec<&Facts> = services.iter().filter(|facts| !facts.has_context).collect();
    let seen = if may_record { "here" } else { "of those that may be read" };
    let found = match (services.len(), silent.len()) {
        (0, _) => Ok(format!("no process {seen} says that it belongs to a service")),
        (all, 0) => Ok(format!("all {all} processes of services publish it")),
        (all, some) => Err(format!("{some} of {all} processes of services do not publish it: {}", named(&silent))),
    };
    Finding::new("thread context", found, "cargo add geophone-thread-context   # Rust; others: OpenTelemetry's library for OTEP 4947")
}

/// Whether the kernel alone can unwind the services that are busy now; else it is done from copies of their stacks.
fn frame_pointers(may_record: bool) -> Finding {
    let mend = "RUSTFLAGS=\"-C force-frame-pointers=yes\" cargo build --release   # C and C++: -fno-omit-frame-pointer";
    let judged = if may_record { survey_frames(LOOK).map_err(|error| error.to_string()) } else { Err("nothing can be recorded".into()) };
    let found = match judged {
        Err(why) => Ok(format!("not looked at: {why}")),
        Ok(services) => {
            let without: Vec<&Facts> = services.iter().filter(|facts| facts.needs_snapshot).collect();
            match (services.len(), without.len()) {
                (0, _) => Ok(format!("no service was busy in the last {LOOK:?}")),
                (all, 0) => Ok(format!("all {all} busy processes of services have them")),
                (all, some) => Err(format!(
                    "{some} of {all} busy processes of services lack them and are unwound by .eh_frame, which costs more and ends after 16 KiB: {}",
                    named(&without)
                )),
            }
        }
    };
    Finding::new("frame pointers", found, mend)
}
