//! `geophone profile`: what processes do, on the CPU or off it; here, or where a named server runs.

use super::{attach::Attach, remote::Remote};
use crate::{
    error::ServiceError,
    stacks::{Form, emptiness},
};
use clap::{Args, Subcommand};
use geophone_profiler_ebpf::{ProfilerError, Subject, Wish, profile};
use serde_json::json;
use std::{
    io::{ErrorKind, IsTerminal, Write, stdout},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Record stacks for some seconds; no server is needed, but one that is named with --endpoint records instead.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Examples:\n  geophone profile --pid 4711 --output svg --file cart.svg\n  geophone profile --service cart --off-cpu --seconds 30\n  \
geophone profile --all --output pprof --file all.pb.gz\n  geophone profile attach --uprobe /usr/lib/x86_64-linux-gnu/libc.so.6:malloc --seconds 5"
)]
pub struct Profile {
    #[command(subcommand)]
    attach: Option<What>,
    #[command(flatten)]
    whom: Whom,
    /// For how long.
    #[arg(long, env = "GEOPHONE_SECONDS", value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Time blocked (locks, disk, network, sleep) instead of time on the CPU.
    #[arg(long, env = "GEOPHONE_OFF_CPU")]
    off_cpu: bool,
    /// Samples a second on each busy CPU, 19 to 997.
    #[arg(long, env = "GEOPHONE_FREQUENCY", value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u64).range(19..=997))]
    frequency: u64,
    /// What to write.
    #[arg(long, value_enum, env = "GEOPHONE_PROFILE_OUTPUT", value_name = "FORMAT", default_value = "folded")]
    output: Form,
    /// Where to; else stdout.
    #[arg(long, env = "GEOPHONE_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// This process.
    #[arg(long, env = "GEOPHONE_PID", value_name = "PID")]
    pid: Option<u32>,
    /// All processes that say they are this service (process context, or `OTEL_SERVICE_NAME`).
    #[arg(long, env = "GEOPHONE_SERVICE", value_name = "NAME")]
    service: Option<String>,
    /// Everybody.
    #[arg(long, env = "GEOPHONE_ALL")]
    all: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How long calls of one function take, and who calls it. Needs CAP_SYS_ADMIN.
    #[command(after_help = "Example:\n  geophone profile attach --uprobe ./cart:cart::checkout --seconds 10 --output json")]
    Attach(Attach),
}

pub(super) fn failed(error: &ProfilerError) -> ServiceError {
    // Wrong words are usage; all else is work that failed.
    ServiceError::Negative(error.to_string())
}

pub(super) fn length(seconds: f64) -> Result<Duration, ServiceError> {
    let fine = (0.1..=86_400.0).contains(&seconds);
    if fine { Ok(Duration::from_secs_f64(seconds)) } else { Err(ServiceError::Usage(format!("--seconds is {seconds}: give 0.1 to 86400"))) }
}

impl Profile {
    /// Records and writes.
    pub fn run(self) -> Result<(), ServiceError> {
        if let Some(What::Attach(attach)) = self.attach {
            return attach.run();
        }
        let written = if self.remote.is_named() { self.recorded_there()? } else { self.recorded_here()? };
        write(&written, self.output != Form::Folded, self.file.as_deref())
    }

    fn recorded_here(&self) -> Result<Vec<u8>, ServiceError> {
        let subject = match (self.whom.pid, &self.whom.service) {
            (Some(pid), _) => Subject::Process(pid),
            (None, Some(service)) => Subject::Service(service.clone()),
            (None, None) => Subject::Everybody,
        };
        let wish = Wish { subject, length: length(self.seconds)?, frequency_hz: self.frequency, off_cpu: self.off_cpu };
        let seen = profile(&wish, &interrupted()).map_err(|error| failed(&error))?;
        if seen.samples.is_empty() {
            return Err(ServiceError::Negative(emptiness(seen.length.as_secs_f64(), self.off_cpu)));
        }
        tracing::info!(samples = seen.samples.len(), seconds = seen.length.as_secs_f64(), "recorded");
        self.output.write("geophone profile", &seen.samples, seen.period_ns).map_err(|error| failed(&error))
    }

    fn recorded_there(&self) -> Result<Vec<u8>, ServiceError> {
        let mut wish =
            json!({"seconds": self.seconds, "frequency": self.frequency, "off_cpu": self.off_cpu, "output": self.output.as_str()});
        match (self.whom.pid, &self.whom.service) {
            (Some(pid), _) => wish["pid"] = json!(pid),
            (None, Some(service)) => wish["service"] = json!(service),
            (None, None) => wish["all"] = json!(true),
        }
        self.remote.post_for_file("/api/v1/profile", &wish, length(self.seconds)?)
    }
}

/// True once Ctrl-C was pressed: what was recorded until then is written.
pub(super) fn interrupted() -> impl Fn() -> bool {
    let pressed = Arc::new(AtomicBool::new(false));
    let sign = pressed.clone();
    let waiting = crate::wiring::plain("interrupt", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            sign.store(true, Ordering::Release);
        }
    });
    // Without that thread Ctrl-C ends the program as usual.
    drop(waiting);
    move || pressed.load(Ordering::Acquire)
}

pub(super) fn write(bytes: &[u8], is_for_programs: bool, file: Option<&Path>) -> Result<(), ServiceError> {
    if let Some(file) = file {
        return std::fs::write(file, bytes).map_err(ServiceError::io(format!("write {}", file.display())));
    }
    if is_for_programs && stdout().is_terminal() {
        return Err(ServiceError::Usage("this is no text for a terminal: give --file FILE, or send it on with `> FILE`".into()));
    }
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ServiceError::io("write to stdout")),
    }
}
