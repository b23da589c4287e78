//! `cargo xtask`: the chores of the repository, in the words that CI uses. Runs commands, knows nothing.

use std::{
    env,
    process::{Command, ExitCode},
};

const USAGE: &str =
    "usage: cargo xtask quick | check | bench | fuzz [--minutes N] [--seed S] | soak [--seeds N] [--kills N] | quality [--bless] | golden --bless | demo-data

  quick           format and house rules, in seconds after a first build
  check           all that CI looks at beside `cargo test`: format, lints, the demo's own check
  bench           every benchmark, one after the other
  quality         scores the public data sets beside the checkout and prints every figure; fails when one has fallen
                  (with --bless: makes them the new baseline)
  fuzz            random and mutated bytes for each parser, N minutes in all (default 10); another seed, other cases
  soak            the simulations over N seeds (default 10000 of the log alone, of brain and log a tenth) and the real
                  binary killed under load N times (default 1000)
  golden --bless  writes the golden files anew from the sample data; read the difference before you commit it
  demo-data       writes the sample data of the tests anew (seeded)";

type Step = &'static [&'static str];

const FORMAT: Step = &["cargo", "fmt", "--all", "--check"];
const LINTS: Step = &["cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
const HOUSE: Step = &["cargo", "test", "--package", "geophone-tests", "--test", "house"];
/// By way of a test that needs the binary: features are then those of `cargo test`, and nothing heavy is built a
/// second time with others.
const BINARY: Step = &["cargo", "test", "--quiet", "--no-run", "--test", "whole"];
const DEMO: Step = &["geophone", "demo", "--seed", "1", "--check", "--speed", "600", "--http-endpoint", "127.0.0.1:0"];
const BENCHES: Step = &["cargo", "bench", "--workspace", "--benches"];
const QUALITY: Step = &["cargo", "test", "--release", "--package", "geophone-engine", "--test", "quality", "--", "--nocapture"];
const BLESS: Step = &["cargo", "test", "--package", "geophone-tests", "--test", "golden"];
const DEMO_DATA: Step =
    &["cargo", "run", "--package", "geophone-client", "--example", "shop_files", "--", "tests/data", "1", "binpb.zst", "sample"];

const SOAK_LOG: Step = &["cargo", "test", "--test", "simulation", "no_power_cut", "--", "--nocapture"];
const SOAK_BRAIN: Step = &["cargo", "test", "--test", "simulation", "--", "--nocapture", "--skip", "no_power_cut"];
const SOAK_KILLS: Step = &["cargo", "test", "--test", "survival", "--", "--nocapture"];

/// Runs each test whose name begins with `fuzz_`, one after the other.
const FUZZ: Step = &["cargo", "test", "--lib", "fuzz_", "--", "--nocapture", "--test-threads=1"];
/// How many there are.
const CAMPAIGNS: f64 = 8.0;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["fuzz", options @ ..] = words.as_slice() {
        return fuzz(options);
    }
    if let ["soak", options @ ..] = words.as_slice() {
        return soak(options);
    }
    let steps: &[Step] = match words.as_slice() {
        ["quick"] => &[FORMAT, HOUSE],
        ["check"] => &[FORMAT, LINTS, BINARY, DEMO],
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
    let settings: &[(&str, String)] = if bless { &[("GEOPHONE_BLESS", "1".into())] } else { &[] };
    if steps.iter().all(|step| run(step, settings)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whole numbers given by name; `None` where a name is unknown or a number is none.
fn numbers<const N: usize>(options: &[&str], names: [&str; N], usual: [u64; N]) -> Option<[u64; N]> {
    let mut found = usual;
    for option in options.chunks(2) {
        let [name, number] = option else { return None };
        let place = names.iter().position(|known| known == name)?;
        found[place] = number.parse().ok()?;
    }
    Some(found)
}

/// The simulations and the kills, for long.
fn soak(options: &[&str]) -> ExitCode {
    let Some([seeds, kills]) = numbers(options, ["--seeds", "--kills"], [10_000, 1_000]) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_well = run(SOAK_LOG, &[("GEOPHONE_SEEDS", seeds.to_string())])
        && run(SOAK_BRAIN, &[("GEOPHONE_SEEDS", (seeds / 10).max(1).to_string())])
        && run(SOAK_KILLS, &[("GEOPHONE_KILLS", kills.to_string())]);
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shares the minutes out among the campaigns.
fn fuzz(options: &[&str]) -> ExitCode {
    let (mut minutes, mut seed) = (10.0, 1_u64);
    for option in options.chunks(2) {
        match option {
            ["--minutes", number] if number.parse::<f64>().is_ok_and(|number| number > 0.0) => minutes = number.parse().unwrap_or(minutes),
            ["--seed", number] if number.parse::<u64>().is_ok() => seed = number.parse().unwrap_or(seed),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let seconds = (minutes * 60.0 / CAMPAIGNS).to_string();
    let settings = [("GEOPHONE_FUZZ_SECONDS", seconds), ("GEOPHONE_FUZZ_SEED", seed.to_string())];
    if run(FUZZ, &settings) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one command to its end; says which one failed.
fn run(step: Step, settings: &[(&str, String)]) -> bool {
    eprintln!("+ {}", step.join(" "));
    // Our own binary lies beside this one.
    let beside = |name: &str| env::current_exe().ok().map(|own| own.with_file_name(name));
    let program = if step[0] == "geophone" { beside("geophone") } else { None };
    let mut command = Command::new(program.unwrap_or_else(|| step[0].into()));
    // What cargo tells us of ourselves is part of some build scripts' fingerprints: passed on, it would have half of all
    // dependencies built again.
    let of_xtask = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_xtask)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(&step[1..]).envs(settings.iter().map(|(name, value)| (name, value)));
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
