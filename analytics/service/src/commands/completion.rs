//! `geophone completion`: scripts that complete our words in a shell.

use super::{cli::Cli, output::say};
use crate::error::ServiceError;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Print a script that completes commands and flags.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  geophone completion bash > /etc/bash_completion.d/geophone")]
pub struct Completion {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub fn run(self) -> Result<(), ServiceError> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "geophone", &mut script);
        say(String::from_utf8_lossy(&script).trim_end())
    }
}
