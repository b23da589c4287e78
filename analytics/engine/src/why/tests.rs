//! What is kept of rows does not depend on their order, stays small, and tells causes from company.

use super::{
    cell::{Cell, Glance, Room, Row},
    compare::{Carrier, Question, carriers},
    gallery::{Gallery, Origin, Subject},
};
use geophone_proto::{
    attributes::encode,
    ids::{SpanId, TraceId},
    otlp::common::v1::{AnyValue, KeyValue, any_value::Value},
    stacks::WantedSpan,
    time::UnixNanos,
};
use proptest::prelude::*;

fn cell_of(pairs: &[(&str, String)]) -> Vec<u8> {
    let pair = |(key, value): &(&str, String)| KeyValue {
        key: (*key).into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.clone())) }),
        ..KeyValue::default()
    };
    encode(pairs.iter().map(pair).collect())
}

fn glance(id: u64, ns: u64, failed: bool) -> Glance {
    let span = WantedSpan { trace_id: TraceId([1; 16]), span_id: SpanId(id.to_le_bytes()), start: UnixNanos(0), end: UnixNanos(ns) };
    Glance::of_span(&span, failed)
}

fn cell(rows: &[(u64, u64, bool)]) -> Cell {
    let mut cell = Cell::default();
    for &(id, ns, failed) in rows {
        let glance = glance(id, ns, failed);
        cell.look(glance, Room::thinned(0), || Row::new(glance, 0, id.to_le_bytes().into()));
    }
    cell
}

proptest! {
    // Scenario: some hundred spans in one order, in another, and in two halves that are merged.
    // Guarantees: the same rows are kept, and together they stand for all.
    #[test]
    fn what_is_kept_depends_on_the_rows_alone(
        rows in prop::collection::vec((1u64..50, any::<bool>()), 1..300),
        split in 0usize..300,
    ) {
        let rows: Vec<(u64, u64, bool)> = (1u64..).zip(rows).map(|(id, (ns, failed))| (id, ns, failed && id % 3 == 0)).collect();
        let backwards: Vec<_> = rows.iter().rev().copied().collect();
        let (left, right) = rows.split_at(split.min(rows.len()));
        let mut merged = cell(right);
        merged.merge(cell(left), Room::thinned(0));
        let whole = cell(&rows);
        prop_assert_eq!(&whole, &cell(&backwards));
        prop_assert_eq!(&whole, &merged);
        let stands_for: f64 = whole.kept().map(|kept| kept.weight).sum();
        prop_assert!((stands_for - rows.len() as f64).abs() < 1e-6, "{} {}", stands_for, rows.len());
    }
}

/// A gallery with `windows` of `rows` spans each; `spell` says duration, failure and attributes of a span.
fn gallery(windows: u64, rows: u64, spell: impl Fn(u64, u64) -> (u64, bool, Vec<(&'static str, String)>)) -> Gallery {
    let mut gallery = Gallery::default();
    gallery.set_bytes_max(32 << 20);
    for window in 0..windows {
        for row in 0..rows {
            let (ns, failed, pairs) = spell(window, row);
            let attributes = cell_of(&pairs);
            let origin = || Origin { sender: 7, resource: &[], attributes: &attributes };
            gallery.look(Subject::Operation(0), window, glance(window * 10_000 + row + 1, ns, failed), origin);
        }
        if let Some(settled) = window.checked_sub(8) {
            gallery.settle(settled);
        }
    }
    gallery
}

/// A repeatable number.
fn luck(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed ^ (mixed >> 33)) >> 8
}

/// Region, its continent and zone, version, tier and a request's id.
fn pairs(seed: u64) -> Vec<(&'static str, String)> {
    let region = luck(seed) % 4;
    vec![
        ("region", format!("r{region}")),
        ("continent", format!("c{}", region / 2)),
        ("zone", format!("r{region}{}", luck(seed + 1_000_000_007) % 3)),
        ("version", format!("v{}", luck(seed + 2_000_000_011) % 3)),
        ("tier", format!("t{}", luck(seed + 3_000_000_019) % 5)),
        ("request.id", format!("{seed:x}")),
    ]
}

fn first(found: &[Carrier]) -> (&str, &str) {
    found.first().map_or(("", ""), |carrier| (&carrier.key, &carrier.value))
}

// Scenario: one region of four fails, is slow, surges or goes away; its continent and zones go along with
// it, failures carry a status, every request has an id.
// Guarantees: the region comes first, explains all of it, ids are never told, symptoms come last.
#[test]
fn the_cause_comes_before_its_company() {
    let seed = |window: u64, row: u64| window * 10_000 + row;
    let ill = |window: u64, pairs: &[(&str, String)]| window >= 36 && pairs[0].1 == "r1";
    let failing = gallery(40, 120, |window, row| {
        let mut pairs = pairs(seed(window, row));
        let failed = ill(window, &pairs) || luck(seed(window, row) + 77_000_000_003).is_multiple_of(100);
        pairs.push(("http.response.status_code", if failed { "503" } else { "200" }.to_owned()));
        (5_000_000, failed, pairs)
    });
    let slow = gallery(40, 120, |window, row| {
        let pairs = pairs(seed(window, row));
        let usual = 2_000_000 + luck(seed(window, row) + 5_000_000_029) % 4_000_000;
        (if ill(window, &pairs) { 5 * usual } else { usual }, false, pairs)
    });
    let gone = gallery(40, 120, |window, row| {
        let mut seed = seed(window, row);
        while ill(window, &pairs(seed)) {
            seed += 500_000_000_000;
        }
        (5_000_000, false, pairs(seed))
    });
    let more = gallery(40, 240, |window, row| {
        let mut seed = seed(window, row);
        while window >= 36 && row >= 120 && pairs(seed)[0].1 != "r1" {
            seed += 500_000_000_000;
        }
        (5_000_000, false, pairs(seed))
    });
    let questions = [
        (&failing, Question::Errors),
        (&slow, Question::Duration { q: 0.75, up: true, mean: true }),
        (&slow, Question::Duration { q: 0.95, up: true, mean: false }),
        (&gone, Question::Rate { ratio: 0.75 }),
        (&more, Question::Rate { ratio: 1.6 }),
    ];
    for (gallery, question) in questions {
        let found = carriers(gallery, question, gallery.sides(Subject::Operation(0), 36, (36, 39)));
        assert_eq!(first(&found), ("region", "r1"), "{question:?} {found:#?}");
        assert!(found[0].left.excess < 0.35, "{question:?} {:?}", found[0]);
        assert!((found[0].baseline_share - 0.25).abs() < 0.1, "{:?}", found[0]);
        assert!(found.iter().all(|carrier| carrier.key != "request.id"), "{found:#?}");
    }
    let found = carriers(&failing, Question::Errors, failing.sides(Subject::Operation(0), 36, (36, 39)));
    let symptom = found.iter().find(|carrier| carrier.key == "http.response.status_code").expect("it is told");
    assert!(symptom.outcome && symptom.value == "503", "{symptom:?}");
    assert!(found.last().is_some_and(|last| last.outcome), "{found:#?}");
}

// Scenario: all requests fail alike, or nothing is odd at all.
// Guarantees: no value is blamed.
#[test]
fn what_hits_all_alike_has_no_carrier() {
    let all = gallery(40, 120, |window, row| (5_000_000, window >= 36 && row % 2 == 0, pairs(window * 10_000 + row)));
    for (gallery, question) in [(&all, Question::Errors), (&all, Question::Rate { ratio: 1.5 })] {
        let found = carriers(gallery, question, gallery.sides(Subject::Operation(0), 36, (36, 39)));
        assert!(found.is_empty(), "{question:?} {found:#?}");
    }
    assert!(carriers(&all, Question::Errors, all.sides(Subject::Log(3), 36, (36, 39))).is_empty());
}

// Scenario: far more operations than memory allows for, with long attributes; then they fall silent.
// Guarantees: what is held stays within the bound and goes away again; rows passed over are counted.
#[test]
fn memory_is_bounded_and_comes_back() {
    let mut gallery = Gallery::default();
    let bound = 1 << 20;
    gallery.set_bytes_max(bound);
    let attributes = cell_of(&[("a", "x".repeat(200)), ("b", "y".repeat(200)), ("sql", "z".repeat(4_000))]);
    for window in 0..60u64 {
        for row in 0..4_000u64 {
            let origin = || Origin { sender: row, resource: &attributes, attributes: &attributes };
            gallery.look(Subject::Operation((row % 200) as u32), window, glance(window << 20 | row, row, row % 9 == 0), origin);
        }
        assert!(gallery.bytes() <= bound + 65_536, "{} in window {window}", gallery.bytes());
        if let Some(settled) = window.checked_sub(8) {
            gallery.settle(settled);
        }
    }
    assert!(gallery.take_passed_over() > 0);
    for window in 60..2_000 {
        gallery.settle(window);
    }
    assert!(gallery.bytes() < bound / 100, "{}", gallery.bytes());
}
