//! How long a request takes at a fixed rate, in an open loop, for each server in turn.

use super::{
    median,
    open::{Heard, Pace},
    payload,
    subject::Subject,
};
use std::{collections::BTreeMap, time::Instant};

/// Spans of a request.
const SPANS: u64 = 10;
/// At the beginning, not measured: every series is known by then.
const WARM_SECONDS: f64 = 3.0;
const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// What one run has shown.
struct Shown {
    /// Milliseconds at each of the quantiles, and the most.
    took: [f64; 5],
    late: [f64; 5],
    cores: f64,
    /// MiB: anonymous, resident.
    memory: [u64; 2],
    refused: u64,
}

/// Runs every server at every rate and prints what it has shown.
pub fn measure(rates: &[f64], seconds: f64, repeats: u64, servers: &[String], start: impl Fn(&str) -> Option<Subject>) {
    let templates = payload::templates(SPANS);
    let mut shown: BTreeMap<(usize, usize), Vec<Shown>> = BTreeMap::new();
    for _ in 0..repeats {
        for (place, rate) in rates.iter().enumerate() {
            for (number, server) in servers.iter().enumerate() {
                let Some(subject) = start(server) else {
                    println!("{server} is not here, hence left out");
                    continue;
                };
                let run = run(&subject, &templates, *rate, seconds);
                println!("{rate} a second, {server}: p50 {:.2} ms, p99 {:.2} ms, {} refused", run.took[0], run.took[2], run.refused);
                shown.entry((place, number)).or_default().push(run);
            }
        }
    }
    println!(
        "\n| requests a second | server | p50, p95, p99, p99.9, most, ms | written late: p50, p99, ms | cores | MiB: anonymous, resident | refused |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((place, number), runs) in &shown {
        let of = |figure: fn(&Shown) -> f64| median(runs.iter().map(figure));
        let took: Vec<String> = (0..5).map(|at| format!("{:.2}", median(runs.iter().map(|run| run.took[at])))).collect();
        println!(
            "| {} | {} | {} | {:.2}, {:.2} | {:.2} | {:.0}, {:.0} | {:.0} |",
            rates[*place],
            servers[*number],
            took.join(", "),
            of(|run| run.late[0]),
            of(|run| run.late[2]),
            of(|run| run.cores),
            of(|run| run.memory[0] as f64),
            of(|run| run.memory[1] as f64),
            of(|run| run.refused as f64),
        );
    }
}

fn run(subject: &Subject, templates: &[payload::Template], rate: f64, seconds: f64) -> Shown {
    let (warm, measured) = ((rate * WARM_SECONDS) as u64, (rate * seconds) as u64);
    let pace = Pace { address: &subject.grpc, templates, rate, requests: warm + measured, warm };
    let (before, began) = (subject.cpu_ns(), Instant::now());
    let Heard { took, late, acked, refused } = pace.send();
    let cores = (subject.cpu_ns() - before) as f64 / began.elapsed().as_nanos() as f64;
    let memory = [subject.memory_mib("RssAnon"), subject.memory_mib("VmRSS")];
    if let Some(found) = subject.spans() {
        assert!(found == acked * SPANS, "{} spans were acknowledged, a query counts {found}", acked * SPANS);
    }
    Shown { took: quantiles(took), late: quantiles(late), cores, memory, refused }
}

/// Milliseconds at the quantiles, and the most.
fn quantiles(mut ns: Vec<u64>) -> [f64; 5] {
    ns.sort_unstable();
    let at = |share: f64| ns[((ns.len() - 1) as f64 * share).round() as usize] as f64 / 1e6;
    let [a, b, c, d] = QUANTILES.map(at);
    [a, b, c, d, at(1.0)]
}
