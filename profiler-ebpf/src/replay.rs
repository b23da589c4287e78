//! A recorded session as a `StackSource`: one JSON sample a line. For tests without privileges, for
//! machines without eBPF, and for stacks that another tool took.

use crate::{attach::attach, sample::Sample};
use geophone_proto::{
    Class,
    seam::{SeamError, StackSource},
    stacks::{StackAnswer, StackRequest},
};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Samples held at most; a session of this size is about 200 MB of text.
const SAMPLES_MAX: usize = 1_000_000;

/// Why a session cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the recorded session {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no sample.
    #[error("line {line} of {path} is no stack sample ({source}): mend or remove it", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Too large to hold.
    #[error("{path} holds more than {SAMPLES_MAX} samples: split it", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl ReplayError {
    /// What it asks of the caller: all of these are mended by naming another file.
    pub const fn class(&self) -> Class {
        Class::Config
    }
}

/// Answers from a recorded session.
#[derive(Debug)]
pub struct ReplaySource {
    samples: Vec<Sample>,
}

impl ReplaySource {
    /// Reads the whole session.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let failed = |source| ReplayError::Read { path: path.into(), source };
        let mut samples = Vec::new();
        for (number, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
            let line = line.map_err(failed)?;
            if line.trim().is_empty() {
                continue;
            }
            if samples.len() == SAMPLES_MAX {
                return Err(ReplayError::TooLarge { path: path.into() });
            }
            let sample = serde_json::from_str(&line).map_err(|source| ReplayError::Line { path: path.into(), line: number + 1, source })?;
            samples.push(sample);
        }
        Ok(Self { samples })
    }

    /// All of them.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

impl StackSource for ReplaySource {
    fn stacks(&mut self, request: &StackRequest) -> Result<StackAnswer, SeamError> {
        Ok(attach(request, &self.samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_broken_line_is_named() {
        let path = std::env::temp_dir().join(format!("geophone-replay-{}.jsonl", std::process::id()));
        let mut file = File::create(&path).expect("the temporary folder is writable");
        writeln!(file, "\n{{\"at\": 1}}").expect("it was just created");
        let message = ReplaySource::open(&path).expect_err("the second line is no sample").to_string();
        std::fs::remove_file(&path).expect("it was just created");
        assert!(message.contains("line 2"), "{message}");
    }
}
