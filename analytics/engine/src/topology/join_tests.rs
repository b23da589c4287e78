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
            Joined::Peer { .. } | Joined::Entry(_) | Joined::Inner(_) | Joined::Incomplete { .. } => {}
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
fn a_call_has_no_time_of_its_own_and_none_beside_it_either() {
    // A handler beside the call that it waits for, as asynchronous frameworks have it; kinds unspecified.
    let mut spans = [span(1, 1, 0, 0, (0, 100)), span(1, 2, 1, 0, (2, 98)), span(1, 3, 1, 0, (5, 95)), span(1, 4, 3, 7, (900, 970))];
    spans.iter_mut().for_each(|span| span.kind = 0);
    let expected = outcome(&[0, 1, 2, 3], &spans);
    assert_eq!(expected.0[&3], LogSample::of(0, EXCLUSIVE_FLOOR_NS), "the call's time is the edge's gap");
    assert_eq!(expected.1[&(3, 4)], LogSample::of(20_000_000, GAP_FLOOR_NS));
    assert_eq!(expected.0[&2], LogSample::of(6_000_000, EXCLUSIVE_FLOOR_NS), "96 - 90 of the call beside it");
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| *c != a && *c != b) {
                assert_eq!(outcome(&[a, b, c, 6 - a - b - c], &spans), expected);
            }
        }
    }
}

#[test]
fn clocks_of_other_hosts_do_not_matter() {
    // A front that calls a cart twice, once beside a handler; the cart's clock is off by half a second.
    let spans = [
        span(1, 1, 0, 0, (1000, 1100)),
        span(1, 2, 1, 0, (1002, 1098)),
        span(1, 3, 1, 0, (1005, 1050)),
        span(1, 4, 3, 7, (1010, 1040)),
        span(1, 5, 4, 7, (1015, 1030)),
        span(1, 6, 1, 0, (1060, 1090)),
        span(1, 7, 6, 7, (1065, 1080)),
    ];
    let spans = spans.map(|span| Span { kind: 0, ..span });
    let order = [0, 1, 2, 3, 4, 5, 6];
    let expected = outcome(&order, &spans);
    for skew_ms in [-500i64, -3, 7, 500] {
        let skewed = spans.clone().map(|mut span| {
            if span.service == 7 {
                let moved = |at: UnixNanos| UnixNanos(at.0.saturating_add_signed(skew_ms * 1_000_000));
                (span.at.start, span.at.end) = (moved(span.at.start), moved(span.at.end));
            }
            span
        });
        assert_eq!(outcome(&order, &skewed), expected, "{skew_ms} ms");
    }
}

/// A caller (1) whose callee's entry (2) does its work in 3, and 3 in 4; windows of four such traces each.
fn worked(table: &mut SpanTable, window: u64, (with_work, kind): (bool, u8), out: &mut Vec<Joined>) {
    for trace in 0..4 {
        let trace = window * 10 + trace;
        let mut spans = vec![span(trace, 3, 2, 7, (20, 60)), span(trace, 2, 1, 7, (10, 70)), span(trace, 1, 0, 0, (0, 100))];
        if with_work {
            spans.insert(0, span(trace, 4, 3, 7, (30, 50)));
        }
        for span in spans {
            let key = key(trace, u64::from(span.operation));
            table.arrive(key, Span { kind, window, ..span }, out);
        }
    }
    table.close(window, out);
}

#[test]
fn a_request_that_leaves_out_what_it_always_does_is_incomplete_at_its_entry_once() {
    for (kind, expected) in [(0, 4), (2, 0)] {
        let (mut table, mut out) = (SpanTable::default(), Vec::new());
        (0..20).for_each(|window| worked(&mut table, window, (true, kind), &mut out));
        assert!(!out.iter().any(|event| matches!(event, Joined::Incomplete { .. })));
        worked(&mut table, 20, (false, kind), &mut out);
        let told: Vec<_> = out
            .iter()
            .filter_map(|event| match event {
                Joined::Incomplete { operation, window, caller } => Some((*operation, *window, *caller)),
                _ => None,
            })
            .collect();
        assert_eq!(told, vec![(2, 20, Some((1, 20))); expected], "not 3, which left it out, and not the caller");
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

// Scenario: calls to an address are answered by a service; then one gets no answer; then another service answers there, too.
// Guarantees: who answered before is who was called; where several answer it is the address; a late answer takes it back.
#[test]
fn an_address_is_whoever_answers_there() {
    const ADDRESS: u32 = 90;
    let (mut table, mut out) = (SpanTable::default(), Vec::new());
    let mut window = 0;
    let mut call = |trace: u64, answers: Option<u32>| {
        window += 1;
        let client = Span { kind: 3, peer: ADDRESS, window, ..span(trace, 1, 0, 0, (0, 100)) };
        table.arrive(key(trace, 1), client, &mut out);
        if let Some(service) = answers {
            table.arrive(key(trace, 2), Span { window, ..span(trace, 2, 1, service, (10, 90)) }, &mut out);
        }
        table.close(window, &mut out);
        out.drain(..).find_map(|event| if let Joined::Peer { peer, .. } = event { Some(peer) } else { None })
    };
    assert_eq!(call(1, None), Some(ADDRESS), "nobody is known there");
    assert_eq!(call(2, Some(7)), None);
    assert_eq!(call(3, None), Some(7));
    assert_eq!(call(4, Some(8)), None);
    assert_eq!(call(5, None), Some(ADDRESS), "a proxy: either may have been meant");
    let mut late = Vec::new();
    table.arrive(key(3, 2), Span { window: 3, ..span(3, 2, 1, 7, (10, 90)) }, &mut late);
    let taken_back = |event: &Joined| matches!(event, Joined::Peer { peer: 7, retract: true, .. });
    assert!(late.iter().any(taken_back), "{late:?}");
}
