//! The binary `geophone`: one command line, one exit code.

use clap::Parser;
use geophone_service::commands::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = error.to_string();
            if !message.is_empty() {
                eprintln!("error: {message}");
            }
            ExitCode::from(error.class().exit_code())
        }
    }
}
