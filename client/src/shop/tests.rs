//! Properties of the shop that others rely on: determinism, order, additive time, visible faults.

use super::{FaultKind, Pace, Schedule, Sent, Shop};
use crate::request::ExportRequest;
use geophone_proto::{
    otlp::trace::v1::Span,
    time::{SECOND_NS, UnixNanos},
};
use std::collections::HashMap;

const START: UnixNanos = UnixNanos(1_700_000_000 * SECOND_NS);

fn spans(sent: &[Sent]) -> Vec<(&'static str, &Span)> {
    let mut all = Vec::new();
    for one in sent {
        if let ExportRequest::Traces(request) = &one.request {
            let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
            all.extend(scopes.flat_map(|scope| &scope.spans).map(|span| (one.service, span)));
        }
    }
    all
}

#[test]
fn the_same_seed_sends_the_same_in_any_number_of_steps() {
    let schedule = Schedule::quiet(5, START, 300.0);
    let mut at_once = Shop::new(5, START, &schedule);
    let whole = at_once.advance(START.plus(120 * SECOND_NS));
    let mut in_steps = Shop::new(5, START, &schedule);
    let parts: Vec<Sent> = (1..=240).flat_map(|step| in_steps.advance(START.plus(step * SECOND_NS / 2))).collect();
    assert_eq!(whole, parts);
    assert!(whole.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[test]
fn nothing_is_sent_before_it_happened_nor_much_later() {
    let schedule = Schedule::quiet(6, START, 300.0);
    let sent = Shop::new(6, START, &schedule).advance(START.plus(120 * SECOND_NS));
    for one in &sent {
        for (_, span) in spans(std::slice::from_ref(one)) {
            assert!(span.end_time_unix_nano <= one.at.0 && one.at.0 - span.end_time_unix_nano < 6 * SECOND_NS);
        }
    }
}

#[test]
fn every_parent_exists_and_contains_its_children() {
    let schedule = Schedule::quiet(7, START, 300.0);
    let sent = Shop::new(7, START, &schedule).advance(START.plus(120 * SECOND_NS));
    let all = spans(&sent);
    let by_id: HashMap<&[u8], &Span> = all.iter().map(|(_, span)| (span.span_id.as_slice(), *span)).collect();
    let settled = START.0 + 100 * SECOND_NS;
    for (_, span) in all.iter().filter(|(_, span)| !span.parent_span_id.is_empty() && span.end_time_unix_nano < settled) {
        let parent = by_id[span.parent_span_id.as_slice()];
        assert_eq!(parent.trace_id, span.trace_id);
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano && span.end_time_unix_nano <= parent.end_time_unix_nano);
    }
    let services: std::collections::BTreeSet<_> = all.iter().map(|(service, _)| *service).collect();
    assert_eq!(services.len(), 10);
}

/// Counts, failures and mean duration of a service's serving spans in a time range.
fn seen(all: &[(&str, &Span)], service: &str, name: &str, range: (UnixNanos, UnixNanos)) -> (f64, f64, f64) {
    let inside = |span: &Span| span.end_time_unix_nano >= range.0.0 && span.end_time_unix_nano < range.1.0;
    let chosen = all.iter().filter(|(of, span)| *of == service && span.name == name && inside(span));
    let (mut count, mut failed, mut logs) = (0.0, 0.0, 0.0);
    for (_, span) in chosen {
        count += 1.0;
        failed += f64::from(u8::from(span.status.as_ref().is_some_and(|status| status.code == 2)));
        logs += ((span.end_time_unix_nano - span.start_time_unix_nano) as f64).ln();
    }
    (count / (range.1.since(range.0) as f64 / 1e9), failed / f64::max(count, 1.0), (logs / f64::max(count, 1.0)).exp())
}

#[test]
fn faults_can_be_seen_and_recycling_ends_a_leak() {
    let pace = Pace { warm_up_s: 200.0, fault_s: (180.0, 200.0), calm_s: (60.0, 70.0) };
    for seed in [1, 2] {
        let schedule = Schedule::seeded(seed, START, &pace);
        let mut shop = Shop::new(seed, START, &schedule);
        let sent = shop.advance(schedule.end);
        let all = spans(&sent);
        for fault in &schedule.faults {
            let before = seen(&all, &fault.service, &fault.operation, (START, START.plus(200 * SECOND_NS)));
            let during = seen(&all, &fault.service, &fault.operation, (fault.from.plus(5 * SECOND_NS), fault.to));
            match fault.kind {
                FaultKind::SlowDependency => assert!(during.2 > 1.5 * before.2, "{fault:?} {before:?} {during:?}"),
                FaultKind::ErrorBurst => assert!(during.1 > before.1 + 0.08, "{fault:?} {before:?} {during:?}"),
                FaultKind::TrafficDrop => assert!(during.0 < 0.2 * before.0, "{fault:?} {before:?} {during:?}"),
                FaultKind::MemoryLeak | FaultKind::NoisyNeighbour => {}
            }
        }
        let leak = schedule.faults.iter().find(|fault| fault.kind == FaultKind::MemoryLeak).expect("each kind occurs once");
        let mut shop = Shop::new(seed, START, &schedule);
        shop.advance(leak.from.plus(30 * SECOND_NS));
        assert!(shop.recycle(&leak.service));
        assert!(!shop.recycle(&leak.service), "it is mended already");
        assert!(!shop.recycle("no such service"));
    }
}
