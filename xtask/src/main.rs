//! `cargo xtask`: the chores of the repository, in the words that CI uses. Runs commands, knows nothing.

use std::{
    env,
    process::{Command, ExitCode},
};

const USAGE: &str = "usage: cargo xtask quick | check | bench | quality [--bless] | golden --bless | demo-data

  quick           format and house rules, in seconds after a first build
  check           all that CI looks at beside `cargo test`: format, lints, the demo's own check
  bench           every benchmark, one after the other
  quality         scores the public data sets beside the checkout and prints every figure; fails when one has fallen
                  (with --bless: makes them the new baseline)
  golden --bless  writes the golden files anew from the sample data; read the difference before you commit it
  demo-data       writes the sample data of the tests anew (seeded)";

type Step = &'static [&'static str];

const FORMAT: Step = &["cargo", "fmt", "--all", "--check"];
const LINTS: Step = &["cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
const HOUSE: Step = &["cargo", "test", "--package", "geophone-tests", "--test", "house"];
const DEMO: Step = &["cargo", "run", "--quiet", "--", "demo", "--seed", "1", "--check", "--speed", "600", "--http-endpoint", "127.0.0.1:0"];
const BENCHES: Step = &["cargo", "bench", "--workspace", "--benches"];
const QUALITY: Step = &["cargo", "test", "--release", "--package", "geophone-engine", "--test", "quality", "--", "--nocapture"];
const BLESS: Step = &["cargo", "test", "--package", "geophone-tests", "--test", "golden"];
const DEMO_DATA: Step =
    &["cargo", "run", "--package", "geophone-client", "--example", "shop_files", "--", "tests/data", "1", "binpb.zst", "sample"];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let steps: &[Step] = match words.as_slice() {
        ["quick"] => &[FORMAT, HOUSE],
        ["check"] => &[FORMAT, LINTS, DEMO],
        ["bench"] => &[BENCHES],
        ["quality"] | ["quality", "--bless"] => &[QUALITY],
        ["golden", "--bless"] => &[BLESS],
        ["demo-data"] => &[DEMO_DATA],
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let bless = words.contains(&"--bless");
    if steps.iter().all(|step| run(step, bless)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one command to its end; says which one failed.
fn run(step: Step, bless: bool) -> bool {
    eprintln!("+ {}", step.join(" "));
    let mut command = Command::new(step[0]);
    command.args(&step[1..]);
    if bless {
        command.env("GEOPHONE_BLESS", "1");
    }
    match command.status() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            eprintln!("`{}` failed: {status}", step.join(" "));
            false
        }
        Err(error) => {
            eprintln!("`{}` could not be started: {error}", step[0]);
            false
        }
    }
}
