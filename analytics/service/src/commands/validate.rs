//! `geophone validate`: whether a configuration file can be used, without starting anything.

use super::output::{Format, FormatArg, print_items, print_value};
use crate::{
    config::{Config, Spec},
    error::ServiceError,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Check a configuration file and print the values in force.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  geophone validate geophone.yaml")]
pub struct Validate {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    format: FormatArg,
}

impl Validate {
    /// Lists every problem on stderr and exits 1, or prints the values in force.
    pub fn run(self) -> Result<(), ServiceError> {
        let env = |name: &str| std::env::var(name).ok();
        match Config::from_spec(&Spec::read(&self.file, &env)) {
            Ok(config) => self.show(&config),
            Err(problems) => {
                let error = ServiceError::Config(problems.clone());
                if self.format.format() == Format::Json {
                    print_value(Format::Json, &json!({"valid": false, "problems": problems}))?;
                }
                // The answer is no; the question was asked rightly.
                Err(ServiceError::Negative(format!("{}: {error}", self.file.display())))
            }
        }
    }

    fn show(&self, config: &Config) -> Result<(), ServiceError> {
        let rows: Vec<_> = config.effective.iter().map(|(path, value)| json!({"key": path, "value": value})).collect();
        let whole = json!({"valid": true, "effective": config.effective});
        print_items(self.format.format(), &whole, &rows, &[("key", "/key"), ("value", "/value")])
    }
}
