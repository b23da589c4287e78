//! `geophone check`: whether another server keeps the rules that its senders rely on.

use super::output::{Format, FormatArg, print_items};
use crate::{
    config::parse_size,
    error::ServiceError,
    wiring::{SystemClock, io_runtime},
};
use clap::{Args, Subcommand};
use geophone_client::{
    Trust,
    conformance::{self, Finding, Outcome, Target, TargetError},
};
use geophone_proto::{action::millis, seam::Clock};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// Check whether a server keeps the rules of its protocol.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  geophone check otlp localhost")]
pub struct Check {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    Otlp(CheckOtlp),
}

/// Put every rule of OTLP to a receiver, ours or others'. Sends a few hundred small requests and some that
/// are larger than allowed; what it accepts is of the service `geophone-check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone check otlp localhost\n  \
    geophone check otlp --grpc collector:4317 --http http://collector:4318 --header authorization='Bearer ...' --output json")]
pub struct CheckOtlp {
    /// Host (default ports) or address, for the transports that no flag names [default: 127.0.0.1].
    endpoint: Option<String>,
    /// Address of OTLP over gRPC.
    #[arg(long, env = "GEOPHONE_GRPC", value_name = "ADDR")]
    grpc: Option<String>,
    /// URL of OTLP over HTTP, without `/v1/traces`.
    #[arg(long, env = "GEOPHONE_HTTP", value_name = "URL")]
    http: Option<String>,
    /// Size above which the endpoint refuses requests.
    #[arg(long, env = "GEOPHONE_LIMIT", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    limit: u64,
    /// Fill open requests with so many bytes, to see how the endpoint answers when it is full.
    #[arg(long, env = "GEOPHONE_OVERLOAD", value_name = "SIZE", default_value = "0", value_parser = size)]
    overload: u64,
    /// Sent with every request, as often as needed: `name=value`.
    #[arg(long, env = "GEOPHONE_HEADER", value_name = "NAME=VALUE", hide_env_values = true)]
    header: Vec<String>,
    /// For `https` addresses: PEM file with the authorities to trust instead of the public ones.
    #[arg(long, env = "GEOPHONE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Longest wait for one answer.
    #[arg(long, env = "GEOPHONE_TIMEOUT", value_name = "D", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    format: FormatArg,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("`{text}` is no size, write e.g. 64MiB"))
}

fn duration(text: &str) -> Result<Duration, String> {
    millis::parse(text).filter(|wait| !wait.is_zero()).ok_or_else(|| format!("`{text}` is no duration, write e.g. 10s"))
}

impl Check {
    /// Runs the chosen check.
    pub fn run(self) -> Result<(), ServiceError> {
        let Protocol::Otlp(command) = self.protocol;
        command.run()
    }
}

impl CheckOtlp {
    fn run(self) -> Result<(), ServiceError> {
        let target = self.target().map_err(|error| ServiceError::Usage(error.to_string()))?;
        let findings = io_runtime()?.block_on(conformance::check(target)).map_err(|error| match error {
            TargetError::Unreachable { .. } => ServiceError::Remote(error.to_string()),
            other => ServiceError::Usage(other.to_string()),
        })?;
        self.print(&findings)?;
        let broken: Vec<String> = findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Fail)
            .map(|finding| format!("{} ({})", finding.rule, finding.transport))
            .collect();
        if broken.is_empty() { Ok(()) } else { Err(ServiceError::Negative(format!("{} broken: {}", broken.len(), broken.join(", ")))) }
    }

    fn target(&self) -> Result<Target, TargetError> {
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let mut target = Target::new(SystemClock.now());
        (target.request_bytes_max, target.overload_bytes, target.timeout) = (bytes(self.limit), bytes(self.overload), self.timeout);
        if let Some(path) = &self.ca_file {
            target.trust = Some(Trust::of(Some(path))?);
        }
        for header in &self.header {
            target = target.with_header(header)?;
        }
        if let Some(grpc) = &self.grpc {
            target = target.with_grpc(grpc)?;
        }
        if let Some(http) = &self.http {
            target = target.with_http(http)?;
        }
        match &self.endpoint {
            Some(endpoint) => target.with_endpoint(endpoint),
            None if target.grpc.is_none() && target.http.is_none() => target.with_endpoint("127.0.0.1"),
            None => Ok(target),
        }
    }

    fn print(&self, findings: &[Finding]) -> Result<(), ServiceError> {
        let format = self.format.format();
        // People read why something is not kept; that it is kept is a word.
        let shown = |finding: &Finding| {
            let detail = if format == Format::Table && finding.outcome == Outcome::Pass { "" } else { &finding.detail };
            json!({"rule": finding.rule, "transport": finding.transport, "outcome": finding.outcome, "detail": detail, "about": finding.about})
        };
        let items: Vec<_> = findings.iter().map(shown).collect();
        let columns = [("rule", "/rule"), ("transport", "/transport"), ("outcome", "/outcome"), ("about", "/about"), ("detail", "/detail")];
        print_items(format, &json!(items), &items, &columns)?;
        if format == Format::Table {
            let count = |outcome: Outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
            let [pass, fail, skipped] = [Outcome::Pass, Outcome::Fail, Outcome::Skipped].map(count);
            super::output::say(&format!("{pass} passed, {fail} failed, {skipped} skipped"))?;
        }
        Ok(())
    }
}
