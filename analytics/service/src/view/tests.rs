//! The fold of effects, its bounds and its pages.

use super::*;
use geophone_proto::{
    Effect, Series, SeriesKind, Tenant, UnixNanos,
    anomaly::{Maturity, State},
    effect::ScoredWindow,
    feature::FeatureFrame,
    incident::{Incident, Severity, Suspect},
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn incident(id: &str, opened: u64, state: State) -> Incident {
    Incident {
        id: id.into(),
        tenant: Tenant::default(),
        state,
        started_at: UnixNanos(opened),
        opened_at: UnixNanos(opened),
        closed_at: None,
        severity: Severity::Critical,
        title: format!("incident {id}"),
        verdict: String::new(),
        suspects: vec![Suspect { service: "payment".into(), operation: String::new(), confidence: 0.9, evidence: vec![] }],
        anomalies: vec![],
        actions: vec![],
        services: vec!["payment".into(), "web".into()],
        attributes: Vec::new(),
        maturity: geophone_proto::anomaly::Maturity::Provisional,
        timeline: vec![],
    }
}

fn series(service: &str, kind: SeriesKind, caller: Option<&str>) -> Series {
    let labels = caller.map(|caller| ("caller".to_owned(), caller.to_owned())).into_iter().collect();
    Series::new(Tenant::default(), service, "op", kind, labels)
}

fn window(at: u64, series: &[&Series], actual: f64) -> Effect {
    let n = series.len();
    Effect::Window(Arc::new(ScoredWindow {
        features: FeatureFrame { at: UnixNanos(at), width: 0, keys: series.iter().map(|series| series.key).collect(), x: vec![] },
        window_ns: 10,
        raw: vec![f32::NAN; n],
        score: vec![f32::NAN; n],
        actual: vec![actual; n],
        expected: vec![f64::NAN; n],
        lower: vec![f64::NAN; n],
        upper: vec![f64::INFINITY; n],
        maturity: vec![Maturity::Provisional; n],
        ..ScoredWindow::default()
    }))
}

fn limits() -> Limits {
    Limits { incidents: 3, anomalies: 3, actions: 3, series: 4, points: 1_000, points_per_series: 40 }
}

#[test]
fn pages_are_newest_first_and_meet_everything_once() {
    let view = View::new(Limits { incidents: 100, ..limits() });
    for n in 0..10u64 {
        view.apply(&Effect::Incident(Box::new(incident(&format!("i{n}"), n / 2, State::Open))));
    }
    let mut met = Vec::new();
    let mut page = Page { after: None, limit: 3 };
    loop {
        let (items, next) = view.incidents(&page, |_| true);
        met.extend(items.iter().map(|incident| incident.id.clone()));
        let Some(next) = next else { break };
        page.after = Some(next);
    }
    assert_eq!(met, ["i9", "i8", "i7", "i6", "i5", "i4", "i3", "i2", "i1", "i0"]);
}

#[test]
fn what_is_over_is_forgotten_first() {
    let view = View::new(limits());
    for (id, at, state) in
        [("a", 1, State::Open), ("b", 2, State::Closed), ("c", 3, State::Open), ("d", 4, State::Open), ("e", 5, State::Open)]
    {
        view.apply(&Effect::Incident(Box::new(incident(id, at, state))));
    }
    let kept: Vec<String> = view.incidents(&Page { after: None, limit: 9 }, |_| true).0.iter().map(|i| i.id.clone()).collect();
    assert_eq!(kept, ["e", "d", "c"]);
    assert_eq!(view.counts()[..2], [3, 3]);
    view.apply(&Effect::Incident(Box::new(incident("c", 3, State::Closed))));
    assert_eq!(view.counts()[..2], [2, 3]);
}

#[test]
fn numbers_that_json_lacks_are_missing_and_late_windows_amend() {
    let view = View::new(limits());
    let watched = series("cart", SeriesKind::RequestRate, None);
    view.apply(&Effect::SeriesSeen(watched.clone().into()));
    for at in [10, 30, 20] {
        view.apply(&window(at, &[&watched], at as f64));
    }
    view.apply(&window(20, &[&watched], 21.0));
    let (seen, points) = view.points(watched.key, UnixNanos(0), UnixNanos(25)).expect("seen");
    assert_eq!(points.iter().map(|point| (point.at.0, point.actual)).collect::<Vec<_>>(), [(10, Some(10.0)), (20, Some(21.0))]);
    assert_eq!((points[0].expected, points[0].upper, points[0].score), (None, None, None));
    assert_eq!(seen.last.map(|point| point.at.0), Some(30));
}

#[test]
fn rings_and_series_are_bounded() {
    let view = View::new(limits());
    let many: Vec<Series> = (0..9).map(|n| series(&format!("s{n}"), SeriesKind::RequestRate, None)).collect();
    for one in &many {
        view.apply(&Effect::SeriesSeen(one.clone().into()));
    }
    let all: Vec<&Series> = many.iter().collect();
    for at in 0..100 {
        view.apply(&window(at, &all, 1.0));
    }
    let [_, _, _, _, series, points] = view.counts();
    assert_eq!((series, points), (4, 160));
}

#[test]
fn the_map_shows_who_calls_whom_and_who_is_ill() {
    let view = View::new(limits());
    let (rate, edge) = (series("payment", SeriesKind::RequestRate, None), series("payment", SeriesKind::EdgeRate, Some("web")));
    view.apply(&Effect::SeriesSeen(rate.clone().into()));
    view.apply(&Effect::SeriesSeen(edge.clone().into()));
    view.apply(&window(10, &[&rate, &edge], 2.5));
    view.apply(&Effect::Incident(Box::new(incident("a", 1, State::Open))));
    let map = view.topology();
    let health: BTreeMap<&str, Health> = map.services.iter().map(|node| (&*node.name, node.health)).collect();
    assert_eq!(health, BTreeMap::from([("payment", Health::Critical), ("web", Health::Affected)]));
    assert_eq!((&*map.edges[0].caller, &*map.edges[0].callee, map.edges[0].calls_per_second), ("web", "payment", 2.5));
}

#[test]
fn listeners_hear_of_changes() {
    let view = View::new(limits());
    let mut listener = view.listen();
    view.apply(&Effect::Incident(Box::new(incident("a", 1, State::Open))));
    let event = listener.try_recv().expect("one change");
    assert_eq!(event.kind, "incident");
    assert!(event.body.contains("\"id\":\"a\""));
}
