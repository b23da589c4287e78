//! `geophone profile attach`: calls of one function, how long they take and who makes them.

use super::{
    output::{Format, print_items, print_value, say},
    profile::{failed, interrupted, length, write},
    remote::Remote,
};
use crate::{
    error::ServiceError,
    stacks::{Form, report},
};
use clap::{Args, ValueEnum};
use geophone_profiler_ebpf::probe;
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a server watches calls.
const PATH: &str = "/api/v1/profile:attach";

#[derive(Debug, Args)]
pub struct Attach {
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
    #[command(flatten)]
    remote: Remote,
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

impl CallForm {
    /// Of stacks; none for the histogram.
    const fn of_stacks(self) -> Option<Form> {
        match self {
            Self::Table | Self::Json | Self::Ndjson => None,
            Self::Svg => Some(Form::Svg),
            Self::Pprof => Some(Form::Pprof),
            Self::Folded => Some(Form::Folded),
            Self::Otlp => Some(Form::Otlp),
        }
    }
}

impl Attach {
    /// Watches and writes.
    pub fn run(self) -> Result<(), ServiceError> {
        let Some((binary, function)) = self.uprobe.split_once(':').filter(|(binary, function)| !binary.is_empty() && !function.is_empty())
        else {
            return Err(ServiceError::Usage(format!("--uprobe is `{}`: write BIN:FUNCTION", self.uprobe)));
        };
        let length = length(self.seconds)?;
        let form = self.output.unwrap_or(if stdout().is_terminal() { CallForm::Table } else { CallForm::Json });
        let stacks = form.of_stacks();
        if self.remote.is_named() {
            let mut wish = json!({"uprobe": self.uprobe, "pid": self.pid, "seconds": self.seconds});
            if let Some(stacks) = stacks {
                wish["output"] = json!(stacks.as_str());
                return write(&self.remote.post_for_file(PATH, &wish, length)?, stacks != Form::Folded, self.file.as_deref());
            }
            let seen = self.remote.post_for_file(PATH, &wish, length)?;
            let seen =
                serde_json::from_slice(&seen).map_err(|error| ServiceError::Remote(format!("the server's answer is no JSON: {error}")))?;
            return show(form, &seen);
        }
        let seen = probe(Path::new(binary), function, self.pid, (length, &interrupted())).map_err(|error| failed(&error))?;
        match stacks {
            None => show(form, &report(&seen, &self.uprobe)),
            Some(form) => {
                let written = form.write("geophone profile", &seen.samples, 0).map_err(|error| failed(&error))?;
                write(&written, form != Form::Folded, self.file.as_deref())
            }
        }
    }
}

fn show(form: CallForm, report: &Value) -> Result<(), ServiceError> {
    match form {
        CallForm::Table => histogram(report),
        CallForm::Ndjson => print_value(Format::Ndjson, report),
        _ => print_value(Format::Json, report),
    }
}

fn histogram(report: &Value) -> Result<(), ServiceError> {
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mean = Duration::from_nanos(number(report, "mean_ns"));
    let (uprobe, seconds) = (report["uprobe"].as_str().unwrap_or_default(), report["seconds"].as_f64().unwrap_or(0.0));
    say(&format!("{uprobe}: {} calls in {seconds:.1} s, {mean:?} on average", number(report, "calls")))?;
    let buckets = report["histogram"].as_array().map_or(&[][..], Vec::as_slice);
    let most = buckets.iter().map(|bucket| number(bucket, "calls")).max().unwrap_or(1).max(1);
    let row = |bucket: &Value| {
        let (from, calls) = (Duration::from_nanos(number(bucket, "from_ns")), number(bucket, "calls"));
        let bar = "#".repeat(usize::try_from(calls * 40 / most).unwrap_or(40));
        json!({"from": format!("{from:?}"), "calls": calls, "bar": bar})
    };
    let rows: Vec<Value> = buckets.iter().map(row).collect();
    print_items(Format::Table, &json!(rows), &rows, &[("at least", "/from"), ("calls", "/calls"), ("", "/bar")])
}
