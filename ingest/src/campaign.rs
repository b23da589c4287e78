//! Seeded cases, one after the other, for as long as told: a moment in `cargo test`, minutes in
//! `cargo xtask fuzz`. A case is one number; the number of a case that fails is printed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// How long each campaign lasts, in seconds, and with which case it begins.
const SECONDS: &str = "GEOPHONE_FUZZ_SECONDS";
const SEED: &str = "GEOPHONE_FUZZ_SEED";
/// What `cargo test` grants a campaign.
const SECONDS_IN_TESTS: f64 = 0.5;

/// Runs cases until the time is over, at least one. A case fails by its words or by a panic.
pub(crate) fn campaign(name: &str, mut case: impl FnMut(u64) -> Result<(), String>) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<f64>().ok());
    let time = Duration::from_secs_f64(number(SECONDS).unwrap_or(SECONDS_IN_TESTS));
    let first = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let begun = Instant::now();
    let mut seed: u64 = first;
    loop {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(seed))).unwrap_or_else(|_| Err("panicked, see above".into()));
        if let Err(why) = outcome {
            panic!("{name}: case {seed}: {why}\n  again: {SEED}={seed} {SECONDS}=0 cargo test --lib {name}");
        }
        seed = seed.wrapping_add(1);
        if begun.elapsed() >= time {
            break;
        }
    }
    eprintln!("{name}: {} cases from {first} on in {:.1} s", seed.wrapping_sub(first), begun.elapsed().as_secs_f64());
}
