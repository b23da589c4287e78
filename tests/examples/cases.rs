//! Writes labelled cases as OTLP files, replays them with the real binary and judges what it says.
//!
//! `cases write FOLDER [PATTERN]` writes one folder a case; `cases judge GEOPHONE [PATTERN]` writes each
//! case whose name contains the pattern to a temporary folder, runs `GEOPHONE replay` there without telling
//! it anything, and prints a line a case and a table a system. The data sets lie beside the repository.

use geophone_tests::{
    cases::{
        Story,
        judge::{self, Outcome},
        nezha, otlp, petshop,
    },
    place,
};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", folder, pattern @ ..] => each_story(pattern.first().copied().unwrap_or(""), &mut |story| {
            otlp::write(&Path::new(folder).join(&story.truth.case), &story.requests)
        }),
        ["judge", binary, pattern @ ..] => judge_all(Path::new(binary), pattern.first().copied().unwrap_or("")),
        _ => Err("usage: cases write FOLDER [PATTERN] | cases judge GEOPHONE [PATTERN]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Calls with every case whose name contains the pattern.
fn each_story(pattern: &str, call: &mut dyn FnMut(Story) -> Result<(), String>) -> Result<(), String> {
    let datasets = place::datasets().ok_or("the data sets do not lie beside the repository (../shared/datasets)")?;
    for day in nezha::read(&datasets)? {
        for at in 0..day.cases.len() {
            if day.cases[at].id.contains(pattern) {
                call(day.story(at))?;
            }
        }
        let quiet = day.quiet_story();
        if quiet.truth.case.contains(pattern) {
            call(quiet)?;
        }
    }
    petshop::read(&datasets)?.into_iter().filter(|case| case.truth.case.contains(pattern)).try_for_each(|case| call(case.story()))
}

fn judge_all(binary: &Path, pattern: &str) -> Result<(), String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut out = std::io::stdout();
    each_story(pattern, &mut |story| {
        let incidents = replay(binary, &story)?;
        let outcome = judge::judge(&story.truth, &incidents);
        let printed = out.write_all(judge::lines(std::slice::from_ref(&outcome)).as_bytes()).and_then(|()| out.flush());
        printed.map_err(|error| error.to_string())?;
        outcomes.push(outcome);
        Ok(())
    })?;
    out.write_all(judge::table(&outcomes).as_bytes()).map_err(|error| error.to_string())
}

fn replay(binary: &Path, story: &Story) -> Result<Vec<judge::Seen>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    otlp::write(folder.path(), &story.requests)?;
    let paths: Vec<PathBuf> = vec![folder.path().to_owned()];
    let output = Command::new(binary).arg("replay").args(paths).args(["--output", "json"]).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", story.truth.case, String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map(|json| judge::seen(&json)).map_err(|error| format!("{}: {error}", story.truth.case))
}
