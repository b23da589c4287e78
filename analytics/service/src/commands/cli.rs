//! The list of commands.

use super::{
    actions, anomalies, check, completion, doctor, glibc, incidents, models, profile, query, replay, score, serve, token, validate,
};
use crate::{
    demo::{DemoArgs, Till},
    error::ServiceError,
    r#gen::GenArgs,
    wiring::SystemClock,
};
use clap::{Parser, Subcommand};
use std::{
    io::{IsTerminal, stderr},
    sync::Arc,
};
use tracing_subscriber::EnvFilter;

/// Finds what is wrong in distributed systems, and why, from their telemetry.
///
/// Without arguments to configure, without an account, on this machine only.
#[derive(Debug, Parser)]
#[command(name = "geophone", version, propagate_version = true, arg_required_else_help = true, max_term_width = 120)]
#[command(
    after_help = "Examples:\n  geophone serve\n  geophone incidents list\n  geophone query \"SELECT service, count(*) AS n FROM spans GROUP BY service\""
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(DemoArgs),
    /// The demo's real process.
    #[command(hide = true)]
    DemoTill(Till),
    Gen(GenArgs),
    Replay(replay::Replay),
    Score(score::Score),
    Query(query::Query),
    Incidents(incidents::Incidents),
    Anomalies(anomalies::Anomalies),
    Models(models::Models),
    Actions(actions::Actions),
    Check(check::Check),
    Token(token::Token),
    Profile(profile::Profile),
    Validate(validate::Validate),
    Doctor(doctor::Doctor),
    Completion(completion::Completion),
}

impl Cli {
    /// Runs the chosen command.
    pub fn run(self) -> Result<(), ServiceError> {
        log_to_stderr();
        if matches!(self.command, Command::Serve(_) | Command::Replay(_) | Command::Score(_)) {
            glibc::start_over();
        }
        match self.command {
            Command::Serve(command) => command.run(),
            Command::Demo(command) => command.run(Arc::new(SystemClock)),
            Command::DemoTill(command) => command.run(Arc::new(SystemClock)),
            Command::Gen(command) => command.run(Arc::new(SystemClock)),
            Command::Replay(command) => command.run(),
            Command::Score(command) => command.run(),
            Command::Query(command) => command.run(),
            Command::Incidents(command) => command.run(),
            Command::Anomalies(command) => command.run(),
            Command::Models(command) => command.run(),
            Command::Actions(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Token(command) => command.run(),
            Command::Profile(command) => command.run(),
            Command::Validate(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Completion(command) => command.run(),
        }
    }
}

/// Diagnostics go to stderr; `GEOPHONE_LOG` says how much (`info`, `geophone_store=debug`).
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("GEOPHONE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,geophone_service=info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    // Somebody else's subscriber (a test's) may stay.
    let _ = log.try_init();
}
