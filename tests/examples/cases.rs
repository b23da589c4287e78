//! Writes labelled cases as OTLP files, replays them with the real binary and judges what it says.
//!
//! `cases write FOLDER [PATTERN]` writes one folder a case; `cases judge GEOPHONE [PATTERN]` writes each
//! case whose name contains the pattern to a temporary folder, runs `GEOPHONE replay` there without telling
//! it anything, and prints a line a case and a table a system; `cases day GEOPHONE [PATTERN]` replays each
//! recorded day as a whole, gaps and all, and judges its cases; `cases shop GEOPHONE SEEDS` does so with seeds
//! 1 to SEEDS of the simulated shop. A pattern that begins with `made` means faults made by hand (`cases::made`).
//! The data sets lie beside the repository, or where `GEOPHONE_DATASETS` says.

use geophone_client::shop::{FileFormat, Pace, Schedule, export_files};
use geophone_proto::time::{SECOND_NS, UnixNanos};
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

/// How long after a fault's end its incident may still open.
const GRACE_NS: u64 = 120 * SECOND_NS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", folder, pattern @ ..] => each_story(pattern.first().copied().unwrap_or(""), &mut |story| {
            otlp::write(&Path::new(folder).join(&story.truth.case), &story.requests)
        }),
        ["judge", binary, pattern @ ..] => judge_all(Path::new(binary), pattern.first().copied().unwrap_or("")),
        ["day", binary, pattern @ ..] => judge_days(Path::new(binary), pattern.first().copied().unwrap_or("")),
        ["shop", binary, seeds] => judge_shop(Path::new(binary), seeds),
        _ => Err("usage: cases write FOLDER [PATTERN] | cases judge|day GEOPHONE [PATTERN] | cases shop GEOPHONE SEEDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Calls with every case whose name contains the pattern; with those made by hand only if it begins as their names do.
fn each_story(pattern: &str, call: &mut dyn FnMut(Story) -> Result<(), String>) -> Result<(), String> {
    let datasets = datasets()?;
    for day in nezha::read(&datasets)? {
        if pattern.starts_with("made") {
            day.made(&mut |story| if story.truth.case.contains(pattern) { call(story) } else { Ok(()) })?;
            continue;
        }
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

fn datasets() -> Result<PathBuf, String> {
    place::datasets().ok_or("the data sets do not lie beside the repository (../shared/datasets, or $GEOPHONE_DATASETS)".into())
}

/// Days whose first case's name contains the pattern.
fn judge_days(binary: &Path, pattern: &str) -> Result<(), String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for day in nezha::read(&datasets()?)? {
        let (requests, truths) = day.whole();
        if truths.first().is_some_and(|truth| truth.case.contains(pattern)) {
            outcomes.extend(judge::judge_day(&truths, &replay(binary, &requests)?));
        }
    }
    let text = judge::lines(&outcomes) + &judge::table(&outcomes);
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

/// Faults of the shop that were found with their cause, and incidents that are no fault or a second one.
fn judge_shop(binary: &Path, seeds: &str) -> Result<(), String> {
    let last: u64 = seeds.parse().map_err(|_| format!("{seeds} is no number of seeds"))?;
    let (mut faults, mut right, mut false_or_twice) = (0, 0, 0);
    for seed in 1..=last {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let schedule = Schedule::seeded(seed, UnixNanos(1_767_261_600 * SECOND_NS), &Pace::default());
        export_files(folder.path(), FileFormat::Protobuf, &schedule).map_err(|error| error.to_string())?;
        // What is known of the day is no telemetry.
        std::fs::remove_file(folder.path().join("schedule.json")).map_err(|error| error.to_string())?;
        let incidents = replay_folder(binary, folder.path())?;
        let mut left = incidents.len();
        for fault in &schedule.faults {
            let until = fault.to.plus(GRACE_NS);
            let own: Vec<_> = incidents.iter().filter(|one| (fault.from.0..=until.0).contains(&one.opened_ns)).collect();
            left -= own.len();
            false_or_twice += own.len().saturating_sub(1);
            let is_named = own.iter().any(|one| one.suspects.first().is_some_and(|first| fault.right_suspects.contains(first)));
            (faults, right) = (faults + 1, right + usize::from(is_named));
        }
        false_or_twice += left;
    }
    let text = format!("seeds 1 to {last}: {right} of {faults} faults with their cause, {false_or_twice} incidents false or twice\n");
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn judge_all(binary: &Path, pattern: &str) -> Result<(), String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut out = std::io::stdout();
    each_story(pattern, &mut |story| {
        let incidents = replay(binary, &story.requests)?;
        let outcome = judge::judge(&story.truth, &incidents);
        let printed = out.write_all(judge::lines(std::slice::from_ref(&outcome)).as_bytes()).and_then(|()| out.flush());
        printed.map_err(|error| error.to_string())?;
        outcomes.push(outcome);
        Ok(())
    })?;
    out.write_all(judge::table(&outcomes).as_bytes()).map_err(|error| error.to_string())
}

fn replay(binary: &Path, requests: &[otlp::Sent]) -> Result<Vec<judge::Seen>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    otlp::write(folder.path(), requests)?;
    replay_folder(binary, folder.path())
}

fn replay_folder(binary: &Path, folder: &Path) -> Result<Vec<judge::Seen>, String> {
    let output = Command::new(binary).arg("replay").arg(folder).args(["--output", "json"]).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
    if !output.status.success() {
        return Err(format!("the replay failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map(|json| judge::seen(&json)).map_err(|error| error.to_string())
}
