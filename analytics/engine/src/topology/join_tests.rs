//! Joins in any order, and within bounds.

use super::*;
use geophone_proto::{
    UnixNanos,
    ids::{SpanId, TraceId},
};

fn key(trace: u64, id: u64) -> u128 {
    if id == 0 { 0 } else { span_key(&[trace.to_be_bytes(), trace.to_be_bytes()].concat(), &id.to_be_bytes()) }
}

fn span(trace: u64, id: u64, parent: u64, service: u32, ms: (u64, u64)) -> Span {
    let trace_id = TraceId::from_slice(&[trace.to_be_bytes(), trace.to_be_bytes()].concat()).expect("16 bytes");
    let at =
        WantedSpan { trace_id, span_id: SpanId(id.to_be_bytes()), start: UnixNanos(ms.0 * 1_000_000), end: UnixNanos(ms.1 * 1_000_000) };
    let (operation, kind, failed, peer, window) = (u32::try_from(id).expect("small"), 2, false, NOBODY, 0);
    Span { at, parent: key(trace, parent), operation, service, kind, failed, peer, window }
}

/// Exclusive nanoseconds by operation, and calls, once the window is closed.
fn outcome(order: &[usize], spans: &[Span]) -> (BTreeMap<u32, LogSample>, BTreeMap<(u32, u32), LogSample>) {
    let (mut table, mut out) = (SpanTable::default(), Vec::new());
    for (at, index) in order.iter().enumerate() {
        if at == spans.len() / 2 {
            table.close(0, &mut out);
        }
        let span = spans[*index].clone();
        assert!(table.arrive(key(1, u64::from(span.operation)), span, &mut out));
    }
    table.close(0, &mut out);
    let (mut exclusive, mut calls) = (BTreeMap::new(), BTreeMap::new());
    for event in out {
        match event {
            Joined::Exclusive { operation, taken_back, sample, .. } => assert_eq!(exclusive.insert(operation, sample), taken_back),
            Joined::Call(call) => assert!(calls.insert((call.caller, call.callee), call.gap).is_none()),
            Joined::Peer { .. } | Joined::Entry(_) | Joined::Inner(_) => {}
        }
    }
    (exclusive, calls)
}

#[test]
fn every_order_of_four_spans_yields_the_same() {
    // A root with two overlapping children of its own service and a call abroad.
    let spans = [span(1, 1, 0, 0, (0, 100)), span(1, 2, 1, 0, (10, 40)), span(1, 3, 1, 0, (30, 60)), span(1, 4, 1, 7, (500, 520))];
    let expected = outcome(&[0, 1, 2, 3], &spans);
    assert_eq!(expected.0[&1], LogSample::of(30_000_000, EXCLUSIVE_FLOOR_NS), "100 - 50 of its own - 20 abroad");
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| *c != a && *c != b) {
                assert_eq!(outcome(&[a, b, c, 6 - a - b - c], &spans), expected);
            }
        }
    }
}

#[test]
fn the_same_span_again_is_refused() {
    let (mut table, mut out) = (SpanTable::default(), Vec::new());
    assert!(table.arrive(key(1, 1), span(1, 1, 0, 0, (0, 1)), &mut out));
    assert!(!table.arrive(key(1, 1), span(1, 1, 0, 0, (0, 1)), &mut out));
}

#[test]
fn the_table_is_bounded_and_keeps_whole_traces() {
    let (mut table, mut out) = (SpanTable::default(), Vec::new());
    for trace in 0..80_000u64 {
        let root = span(trace, 1, 0, 0, (0, 10));
        if table.keeps(&root.at.trace_id.0) {
            table.arrive(key(trace, 1), root, &mut out);
            table.arrive(key(trace, 2), span(trace, 2, 1, 1, (0, 5)), &mut out);
        }
        assert!(table.len() <= SPANS_MAX + 1);
    }
    assert!(table.weight() > 1);
    let calls = out.iter().filter(|event| matches!(event, Joined::Call(_))).count();
    assert!(calls > SPANS_MAX / 4);
    (0..10).for_each(|_| table.evict(0));
    assert!(table.is_empty());
    assert_eq!(table.weight(), 1);
}
