//! Clocks that differ from host to host: causes follow calls, not clocks.

use super::START;
use geophone_client::{
    ExportRequest,
    shop::{Pace, Schedule, Shop},
};
use geophone_engine::Settings;
use geophone_proto::{
    incident::Incident,
    otlp::{collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value},
    time::SECOND_NS,
};
use geophone_tests::head::Head;

/// Undisturbed traffic first, then one fault.
const PACE: Pace = Pace { warm_up_s: 1_200.0, fault_s: (240.0, 240.0), calm_s: (600.0, 600.0) };
const SKEW_MS: i64 = 500;

/// Up to half a second to either side, the same for all spans of a service.
fn skew_ms(service: &str) -> i64 {
    let mixed = service.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    i64::try_from(mixed % (2 * SKEW_MS.unsigned_abs() + 1)).unwrap_or(0) - SKEW_MS
}

fn skewed(request: &mut ExportTraceServiceRequest) {
    for of_resource in &mut request.resource_spans {
        let attributes = of_resource.resource.iter().flat_map(|resource| &resource.attributes);
        let service = attributes.into_iter().find(|pair| pair.key == "service.name").and_then(|pair| pair.value.clone()?.value);
        let Some(Value::StringValue(service)) = service else { continue };
        let by = skew_ms(&service) * 1_000_000;
        for span in of_resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
            span.start_time_unix_nano = span.start_time_unix_nano.saturating_add_signed(by);
            span.end_time_unix_nano = span.end_time_unix_nano.saturating_add_signed(by);
        }
    }
}

/// Incidents until the end of the only fault.
fn incidents(schedule: &Schedule, is_skewed: bool) -> Vec<Incident> {
    let model = geophone_models::shipped().expect("the shipped model loads");
    let mut head = Head::new(Settings::default(), model);
    let mut shop = Shop::new(schedule.seed, schedule.start, schedule);
    let mut now = schedule.start;
    while now < schedule.faults[0].to {
        now = now.plus(SECOND_NS);
        for mut sent in shop.advance(now) {
            if let (ExportRequest::Traces(request), true) = (&mut sent.request, is_skewed) {
                skewed(request);
            }
            head.take(sent.at, &sent.request);
        }
        head.tick(now);
    }
    head.incidents.into_values().collect()
}

/// Scenario: a fault at the shop, told once by clocks that agree and once by clocks that are up to 500 ms off,
/// each service's own way, so that effects are stamped before their causes.
/// Guarantees: the same number of incidents, the same first suspect, and it is the right one.
#[test]
fn clocks_half_a_second_off_change_no_cause() {
    let mut schedule = Schedule::seeded(2, START, &PACE);
    schedule.faults.truncate(1);
    schedule.harmless.clear();
    let firsts = |is_skewed: bool| -> Vec<String> {
        let named = incidents(&schedule, is_skewed).into_iter().map(|incident| incident.suspects.into_iter().next());
        named.map(|suspect| suspect.map(|suspect| suspect.service).unwrap_or_default()).collect()
    };
    let plain = firsts(false);
    assert!(plain.len() == 1 && schedule.faults[0].right_suspects.contains(&plain[0]), "{plain:?} {:?}", schedule.faults[0]);
    assert_eq!(firsts(true), plain);
}
