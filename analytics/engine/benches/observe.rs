//! Cost of observing, in nanoseconds a span: decoded batches to closed windows.
//!
//! `cargo bench -p geophone-engine --bench observe`. Spans of 20 services in traces of 10, batches of
//! 100 and 1000, at 1k and 100k spans a second of event time; with eight attributes, of which some rows
//! are kept to explain anomalies by, and without keeping any. *Cold*: 800 operations, and after every 50 batches other
//! memory goes through the caches, as it does where other threads share the core.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::cast_possible_truncation, missing_docs, reason = "a benchmark")]

#[path = "../src/fixture.rs"]
mod fixture;

use fixture::{TestSpan, at, span, spans};
use geophone_engine::{Settings, observe::Observer};
use geophone_proto::{
    Seq,
    attributes::encode,
    batch::Batch,
    otlp::common::v1::{AnyValue, KeyValue, any_value::Value},
};
use std::fs;

const TRACE_SPANS: u64 = 10;

/// About what an instrumented HTTP server says: 300 bytes.
fn attributes(id: u64) -> Vec<u8> {
    let text = |(key, value): (&str, String)| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let pairs = [
        ("http.request.method", "GET".to_owned()),
        ("http.route", "/cart/{id}".to_owned()),
        ("url.path", format!("/cart/{id}")),
        ("server.address", "cart.shop.example".to_owned()),
        ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
        ("cloud.region", format!("region-{}", id % 5)),
        ("customer.tier", format!("tier-{}", id % 4)),
        ("request.id", format!("{id:032x}")),
    ];
    encode(pairs.into_iter().map(text).collect())
}

/// One trace: a server span that calls the next service, and so on, alternating client and server.
fn trace(number: u64, end_s: f64, operations: u64) -> Vec<TestSpan> {
    let mut spans_of_trace: Vec<TestSpan> = Vec::new();
    for depth in 0..TRACE_SPANS {
        let service = format!("service-{}", (number + depth / 2) % 20);
        let name = format!("operation-{}", (number / 20 + depth) % operations);
        let id = number * TRACE_SPANS + depth + 1;
        let mut next = span(&service, &name, id, end_s - 0.001 * depth as f64, 50 - 4 * depth + number % 7);
        next.attributes = attributes(id);
        next = next.kind(if depth % 2 == 0 { 2 } else { 3 });
        next.trace = number + 1;
        if let Some(parent) = spans_of_trace.last() {
            next = next.under(parent);
        }
        spans_of_trace.push(next);
    }
    spans_of_trace
}

fn batches(count: usize, per_batch: usize, spans_per_second: f64, operations: u64) -> Vec<Batch> {
    let (mut number, mut seconds) = (0, 1.0);
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let mut rows = Vec::with_capacity(per_batch);
        while rows.len() < per_batch {
            seconds += TRACE_SPANS as f64 / spans_per_second;
            rows.extend(trace(number, seconds, operations));
            number += 1;
        }
        made.push(spans(at(seconds + 0.2), &rows));
    }
    made
}

/// CPU time of this thread so far: wall clock would measure the neighbours of a busy machine.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Memory that other threads go through meanwhile.
const OTHERS_BYTES: usize = 8 << 20;
/// Batches between.
const TURN: usize = 50;

fn main() {
    for (per_batch, rate, is_cold) in [(100, 1_000.0, false), (100, 100_000.0, false), (1000, 100_000.0, false), (100, 300_000.0, true)] {
        let total = 200_000;
        let made = batches(total / per_batch, per_batch, rate, if is_cold { 40 } else { 8 });
        for attribute_bytes_max in [0, Settings::default().attribute_bytes_max] {
            let settings = Settings { attribute_bytes_max, ..Settings::default() };
            let mut costs: Vec<f64> = (0..3).map(|_| measure(&made, &settings, is_cold) / total as f64).collect();
            costs.sort_by(f64::total_cmp);
            let rows = if attribute_bytes_max > 0 { "rows kept" } else { "none kept" };
            let caches = if is_cold { ", cold" } else { "" };
            println!(
                "observe: {:.0} ns of CPU a span (batches of {per_batch}, {rate} spans/s of event time, {rows}{caches}, median of 3)",
                costs[1]
            );
        }
    }
}

/// Observes all batches; what it cost.
fn measure(made: &[Batch], settings: &Settings, is_cold: bool) -> f64 {
    let mut others = vec![1_u64; if is_cold { OTHERS_BYTES / 8 } else { 0 }];
    let mut pass = || others.iter_mut().step_by(8).for_each(|place| *place = place.wrapping_mul(3));
    let begun = cpu_ns();
    made.chunks(TURN).for_each(|_| pass());
    let of_others = cpu_ns() - begun;
    let mut observer = Observer::new(settings);
    let begun = cpu_ns();
    for (turn, batches) in made.chunks(TURN).enumerate() {
        for (seq, batch) in (turn * TURN..).zip(batches) {
            observer.batch(batch, Seq(seq as u64));
            observer.new_series();
            std::hint::black_box(observer.drain());
        }
        pass();
    }
    observer.finish();
    (cpu_ns() - begun).saturating_sub(of_others) as f64
}
