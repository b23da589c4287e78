//! `geophone profile`: what processes do, on the CPU or off it, and calls of one function.

use super::output::{Format, print_items, print_value, say};
use crate::{error::ServiceError, stacks::packed};
use clap::{Args, Subcommand, ValueEnum};
use geophone_profiler_ebpf::{Probe, ProfilerError, Sample, Subject, Wish, attach::folded, output, probe, profile};
use prost::Message as _;
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

/// Record stacks for some seconds; no server is needed.
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

#[derive(Debug, Args)]
struct Attach {
    /// Program or library, and the function in it.
    #[arg(long, env = "GEOPHONE_UPROBE", value_name = "BIN:FUNCTION")]
    uprobe: String,
    /// For how long.
    #[arg(long, env = "GEOPHONE_SECONDS", value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Only in this process.
    #[arg(long, env = "GEOPHONE_PID", value_name = "PID")]
    pid: Option<u32>,
    /// What to write: a histogram as table or JSON, or the callers' stacks.
    #[arg(long, value_enum, env = "GEOPHONE_PROFILE_OUTPUT", value_name = "FORMAT")]
    output: Option<CallForm>,
    /// Where stacks go; else stdout.
    #[arg(long, env = "GEOPHONE_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Forms of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A flame graph.
    Svg,
    /// For `go tool pprof` and friends.
    Pprof,
    /// `process;[state];outer;...;inner NANOSECONDS`.
    Folded,
    /// An OTLP export request of profiles (protobuf).
    Otlp,
}

/// Forms of what was seen of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CallForm {
    Table,
    Json,
    Ndjson,
    Svg,
    Pprof,
    Folded,
    Otlp,
}

fn failed(error: &ProfilerError) -> ServiceError {
    // Wrong words are usage; all else is work that failed.
    ServiceError::Negative(error.to_string())
}

fn length(seconds: f64) -> Result<Duration, ServiceError> {
    let fine = (0.1..=86_400.0).contains(&seconds);
    if fine { Ok(Duration::from_secs_f64(seconds)) } else { Err(ServiceError::Usage(format!("--seconds is {seconds}: give 0.1 to 86400"))) }
}

impl Profile {
    /// Records and writes.
    pub fn run(self) -> Result<(), ServiceError> {
        if let Some(What::Attach(attach)) = self.attach {
            return attach.run();
        }
        let subject = match (self.whom.pid, self.whom.service) {
            (Some(pid), _) => Subject::Process(pid),
            (None, Some(service)) => Subject::Service(service),
            (None, None) => Subject::Everybody,
        };
        let wish = Wish { subject, length: length(self.seconds)?, frequency_hz: self.frequency, off_cpu: self.off_cpu };
        let seen = profile(&wish, &interrupted()).map_err(|error| failed(&error))?;
        if seen.samples.is_empty() {
            let hint = if self.off_cpu { "nothing slept for a millisecond or more" } else { "nothing ran: is it idle? try --off-cpu" };
            return Err(ServiceError::Negative(format!("no sample in {:.1} s: {hint}", seen.length.as_secs_f64())));
        }
        tracing::info!(samples = seen.samples.len(), seconds = seen.length.as_secs_f64(), "recorded");
        write(&form(self.output, &seen.samples, seen.period_ns)?, self.output != Form::Folded, self.file.as_deref())
    }
}

/// True once Ctrl-C was pressed: what was recorded until then is written.
fn interrupted() -> impl Fn() -> bool {
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

fn form(form: Form, samples: &[Sample], period_ns: u64) -> Result<Vec<u8>, ServiceError> {
    Ok(match form {
        Form::Folded => folded(samples).into_bytes(),
        Form::Pprof => packed(&folded(samples)),
        Form::Svg => output::flame_graph("geophone profile", &folded(samples)).map_err(|error| failed(&error))?,
        Form::Otlp => output::otlp(samples, period_ns).encode_to_vec(),
    })
}

fn write(bytes: &[u8], is_for_programs: bool, file: Option<&Path>) -> Result<(), ServiceError> {
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

impl Attach {
    fn run(self) -> Result<(), ServiceError> {
        let Some((binary, function)) = self.uprobe.split_once(':').filter(|(binary, function)| !binary.is_empty() && !function.is_empty())
        else {
            return Err(ServiceError::Usage(format!("--uprobe is `{}`: write BIN:FUNCTION", self.uprobe)));
        };
        let seen = probe(Path::new(binary), function, self.pid, length(self.seconds)?).map_err(|error| failed(&error))?;
        let stacks = |wanted| form(wanted, &seen.samples, 0);
        match self.output.unwrap_or(if stdout().is_terminal() { CallForm::Table } else { CallForm::Json }) {
            CallForm::Table => histogram(&seen, &self.uprobe),
            CallForm::Json => print_value(Format::Json, &report(&seen, &self.uprobe)),
            CallForm::Ndjson => print_value(Format::Ndjson, &report(&seen, &self.uprobe)),
            CallForm::Svg => write(&stacks(Form::Svg)?, true, self.file.as_deref()),
            CallForm::Pprof => write(&stacks(Form::Pprof)?, true, self.file.as_deref()),
            CallForm::Folded => write(&stacks(Form::Folded)?, false, self.file.as_deref()),
            CallForm::Otlp => write(&stacks(Form::Otlp)?, true, self.file.as_deref()),
        }
    }
}

fn report(seen: &Probe, uprobe: &str) -> serde_json::Value {
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

fn histogram(seen: &Probe, uprobe: &str) -> Result<(), ServiceError> {
    let calls = seen.calls.count();
    let mean = Duration::from_nanos(seen.calls.total_ns().checked_div(calls).unwrap_or(0));
    say(&format!("{uprobe}: {calls} calls in {:.1} s, {mean:?} on average", seen.length.as_secs_f64()))?;
    let buckets = seen.calls.buckets();
    let most = buckets.iter().map(|bucket| bucket.calls).max().unwrap_or(1);
    let rows: Vec<_> = buckets
        .iter()
        .map(|bucket| {
            let bar = "#".repeat(usize::try_from(bucket.calls * 40 / most).unwrap_or(40));
            json!({"from": format!("{:?}", Duration::from_nanos(bucket.from_ns)), "calls": bucket.calls, "bar": bar})
        })
        .collect();
    print_items(Format::Table, &json!(rows), &rows, &[("at least", "/from"), ("calls", "/calls"), ("", "/bar")])
}
