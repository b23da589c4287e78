//! Drafts of windows leave no trace, and spare the closing of a window most of its work.

use super::*;
use crate::{
    detect::baseline::LargestDeviation,
    fixture::{TestPoint, at, points, span, spans},
};
use geophone_proto::{Batch, Signal, Tenant, Transport, feature::FeatureFrame, model::ModelCard, record::Export, seam::SeamError};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// The baseline, which counts the rows that it is asked about.
struct Counting {
    model: LargestDeviation,
    asked: Arc<AtomicUsize>,
}

impl Model for Counting {
    fn card(&self) -> &ModelCard {
        self.model.card()
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        self.asked.fetch_add(frame.len(), Ordering::Relaxed);
        self.model.score(frame, scores)
    }
}

/// An odd number, so that distributions, which have two series each, reach over the ends of blocks.
const GAUGES: usize = 2_401;
const DISTRIBUTIONS: usize = 601;
const SECONDS: u64 = 1_400;

/// A repeatable number from 0 to 1.
fn luck(number: u64) -> f64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd1b5_4a32_d192_ed03) >> 40) as f64 / f64::from(1u32 << 24)
}

fn record(signal: Signal, batch: Batch) -> Record {
    let (tenant, wire) = (Tenant::default(), Default::default());
    let at = batch.arrived_at;
    let export = Export { tenant, signal, transport: Transport::File, wire, decoded: Some(Arc::new(batch)) };
    Record { at, body: RecordBody::Batch(export) }
}

/// Gauges and distributions; some come late, some come twice, some begin or end under way, one jumps.
fn metrics(names: &[&'static str], second: u64, arrived: u64, late_s: f64) -> Record {
    let is_there = |number: usize| match number % 100 {
        7 => second > 700,
        8 => second < 300,
        _ => true,
    };
    let row = |number: usize| {
        let late = if number.is_multiple_of(37) { late_s } else { 0.0 };
        let service = if number % 100 == 8 { "old" } else { "fleet" };
        let at_ns = at(second as f64 - late);
        let noise = luck(number as u64 * 100_003 + second);
        if number >= GAUGES {
            let count = second * 10 + number as u64 % 3;
            let buckets = vec![count as f64 / 2.0 - noise, count as f64 / 2.0 + noise, 0.0];
            let point = TestPoint { service, metric: names[number], kind: 2, temporality: 2, at_ns, ..TestPoint::default() };
            return TestPoint { count, bounds: vec![0.1, 1.0], buckets, ..point };
        }
        let jump = if number == 1_500 && (900..1_100).contains(&second) { 40.0 } else { 0.0 };
        TestPoint { service, metric: names[number], at_ns, value: number as f64 + noise + jump, ..TestPoint::default() }
    };
    let mut rows: Vec<TestPoint> = (0..names.len()).filter(|number| is_there(*number)).map(row).collect();
    let again = rows.iter().step_by(51).cloned().map(|row| TestPoint { value: row.value - 0.5, ..row });
    rows.extend(again.collect::<Vec<_>>());
    record(Signal::Metrics, points(arrived, &rows))
}

/// Metrics every five seconds, and now and then some that change a window that has ended and is still open, or one that
/// is closed; and spans, of which some come late.
fn log() -> Vec<Record> {
    let names: Vec<&'static str> = (0..GAUGES + DISTRIBUTIONS).map(|number| &*format!("load.{number}").leak()).collect();
    let mut records = Vec::new();
    for second in (0..SECONDS).step_by(5) {
        let arrived = at(second as f64 + 0.2);
        records.push(metrics(&names, second, arrived, if [0, 45].contains(&(second % 60)) { 13.0 } else { 0.0 }));
        if second.is_multiple_of(20) && second > 0 {
            records.push(metrics(&names[..900], second + 1, arrived + 1_000_000_000, 3.0));
        }
        let ends = |id: u64| second as f64 - if id.is_multiple_of(11) { 14.0 } else { 0.0 };
        let of_shop = (0..20).map(|n| second * 100 + n + 1).map(|id| span("shop", "GET /", id, ends(id), 5 + id % 7));
        records.push(record(Signal::Traces, spans(arrived, &of_shop.collect::<Vec<_>>())));
        if second == 0 {
            // Numbers of spans in between those of metrics.
            records.swap(0, 1);
        }
        records.push(Record { at: UnixNanos(arrived + 1_000_000), body: RecordBody::Tick });
    }
    records
}

fn brain() -> (Brain, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let settings = Settings { delay: Some(Duration::from_secs(4)), ..Settings::default() };
    (Brain::new(settings, Box::new(Counting { model: LargestDeviation::default(), asked: asked.clone() })), asked)
}

/// What a brain says that drafts up to so many blocks after each record, and what closing asks of the model.
fn run(records: &[Record], drafts: usize) -> (Vec<String>, Vec<u8>, usize) {
    let (mut brain, asked) = brain();
    let (mut said, mut when_closing) = (Vec::new(), 0);
    for (seq, record) in (1..).zip(records) {
        let before = asked.load(Ordering::Relaxed);
        said.push(format!("{:?}", brain.step(Seq(seq), record)));
        when_closing += asked.load(Ordering::Relaxed) - before;
        let _: usize = (0..drafts).take_while(|_| brain.draft()).count();
    }
    (said, brain.snapshot(), when_closing)
}

// Scenario: thousands of metrics beside spans; points that come late, twice, after their window was drafted; series that
// begin and end; a level that jumps. One brain never drafts, one does so as far as it goes, one a block at a time.
// Guarantees: the same effects record by record and the same state; with drafts a closing window asks the model little.
#[test]
fn drafts_leave_no_trace_and_spare_the_closing() {
    let records = log();
    let (said, state, asked) = run(&records, 0);
    assert!(said.iter().any(|said| said.contains("Anomaly(")), "the jump is told");
    for drafts in [1, 100] {
        let (drafted, drafted_state, when_closing) = run(&records, drafts);
        let differs = said.iter().zip(&drafted).position(|(one, other)| one != other);
        assert_eq!(differs, None, "with {drafts} drafts after each record");
        assert!(state == drafted_state, "with {drafts} drafts after each record");
        // The first and the last block of four have spans, and in one window of three something in each block comes late.
        let spared = asked - when_closing;
        assert!(
            spared * 3 > asked,
            "of {asked} rows {spared} were scored before their window closed, with {drafts} drafts after each record"
        );
    }
}
