//! `geophone validate`: whether a configuration file can be used, without starting anything.

use super::output::{Format, FormatArg, print_items, print_value};
use crate::{
    config::{Config, Problem, Spec},
    error::ServiceError,
    models,
};
use clap::Args;
use geophone_ingest::{Tls, TlsFiles};
use serde_json::json;
use std::path::PathBuf;

/// Check a configuration file and print the values in force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone validate geophone.yaml\n  geophone validate geophone.yaml --syntax-only")]
pub struct Validate {
    /// The file.
    file: PathBuf,
    /// Look at this file alone, not at the certificates, models and recordings that it names.
    #[arg(long)]
    syntax_only: bool,
    #[command(flatten)]
    format: FormatArg,
}

impl Validate {
    /// Lists every problem on stderr and exits 1, or prints the values in force.
    pub fn run(self) -> Result<(), ServiceError> {
        let env = |name: &str| std::env::var(name).ok();
        let config = Config::from_spec(&Spec::read(&self.file, &env));
        let checked = config.and_then(|config| {
            let problems = if self.syntax_only { Vec::new() } else { named_files(&config) };
            if problems.is_empty() { Ok(config) } else { Err(problems) }
        });
        match checked {
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

/// What is wrong with the files that a configuration names: read as the service reads them when it starts.
fn named_files(config: &Config) -> Vec<Problem> {
    let model = models::find_checked(&config.models.active, &config.data_dir, config.memory_limit, &config.models.trust);
    let model = model.err().map(|error| Problem::new("models.active", error.to_string()));
    let doors = [
        ("receivers.otlp.protocols.grpc.tls", &config.certificates.grpc),
        ("receivers.otlp.protocols.http.tls", &config.certificates.http),
        ("api.tls", &config.certificates.api),
    ];
    let doors = doors.into_iter().filter_map(|(path, files)| Some(Problem::new(path, unusable(files.as_ref()?)?)));
    let recording = config.profiler.recording.as_ref().and_then(|path| Some((path, std::fs::metadata(path).err()?)));
    let recording = recording.map(|(path, error)| Problem::new("profiler.recording", format!("cannot read `{}`: {error}", path.display())));
    doors.chain(model).chain(recording).collect()
}

fn unusable(files: &TlsFiles) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(Tls::load(files.clone())).err().map(|error| error.to_string()),
        Err(error) => Some(format!("cannot be looked at: {error}")),
    }
}
