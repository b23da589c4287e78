//! What attaching costs: `cargo bench -p geophone-thread-context`.

use geophone_thread_context::{Ids, attach};
use std::{hint::black_box, time::Instant};

const ROUNDS: u32 = 50_000_000;

#[allow(clippy::print_stdout, reason = "a benchmark tells people")]
fn main() {
    let ids = |number: u32| Ids { trace_id: u128::from(number).to_ne_bytes(), span_id: u64::from(number).to_ne_bytes(), sampled: true };
    let empty = Instant::now();
    for number in 0..ROUNDS {
        black_box(ids(black_box(number)));
    }
    let empty = empty.elapsed();
    let attached = Instant::now();
    for number in 0..ROUNDS {
        let _attached = attach(black_box(ids(black_box(number))));
    }
    let attached = attached.elapsed();
    let ns = attached.saturating_sub(empty).as_secs_f64() * 1e9 / f64::from(ROUNDS);
    println!("attach and detach: {ns:.2} ns (one run of {ROUNDS} rounds, an empty loop subtracted)");
}
