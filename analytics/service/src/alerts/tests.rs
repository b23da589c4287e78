//! What receivers get to see over an incident's life, receivers that fail, restarts.

use super::{Board, Courier, Parts, run};
use crate::{
    config::{Alerts, Target},
    outgoing::Outgoing,
    view::{Limits, View},
};
use axum::{Router, extract::State as Shared, http::StatusCode, routing::any};
use geophone_proto::{
    Effect, Tenant, UnixNanos,
    anomaly::State,
    incident::{Incident, Severity, Suspect},
    seam::Clock,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};

const NOW: UnixNanos = UnixNanos(2_000_000_000_000_000_000);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixNanos {
        NOW
    }
}

fn incident(state: State, severity: Severity) -> Effect {
    let suspect =
        |service: &str| Suspect { service: service.into(), operation: "Charge".into(), confidence: 0.9, evidence: vec!["4x".into()] };
    let closed_at = (state == State::Closed).then_some(UnixNanos(1_700_000_300_000_000_000));
    Effect::Incident(Box::new(Incident {
        id: "i1".into(),
        tenant: Tenant::default(),
        state,
        started_at: UnixNanos(1_700_000_000_000_000_000),
        opened_at: UnixNanos(1_700_000_020_000_000_000),
        closed_at,
        severity,
        title: "payment Charge is slow".into(),
        verdict: "payment `Charge` p95 is 4x expected".into(),
        // The first suspect changes when it closes; the label may not.
        suspects: vec![suspect(if state == State::Open { "payment" } else { "database" })],
        anomalies: Vec::new(),
        actions: Vec::new(),
        services: vec!["payment".into()],
        attributes: Vec::new(),
        maturity: geophone_proto::anomaly::Maturity::Provisional,
        timeline: Vec::new(),
    }))
}

/// A receiver that hands over every body, and answers with what `status` holds.
async fn receiver(status: u16) -> (String, mpsc::Receiver<Value>, Arc<AtomicU64>) {
    let (sender, bodies) = mpsc::channel(100);
    let status = Arc::new(AtomicU64::new(status.into()));
    let shared = (sender, status.clone());
    let take = |Shared((sender, status)): Shared<(mpsc::Sender<Value>, Arc<AtomicU64>)>, body: axum::body::Bytes| async move {
        if let Ok(body) = serde_json::from_slice(&body) {
            sender.send(body).await.expect("the test listens");
        }
        StatusCode::from_u16(u16::try_from(status.load(Ordering::Relaxed)).expect("a status")).expect("a status")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(take)).with_state(shared)).await });
    (url, bodies, status)
}

fn alerts(alertmanager: &[&str], webhook: &[&str]) -> Alerts {
    let targets = |urls: &[&str]| urls.iter().map(|url| Target { url: (*url).into(), headers: BTreeMap::new(), secret: None }).collect();
    Alerts {
        alertmanager: targets(alertmanager),
        webhook: targets(webhook),
        resend_interval: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        external_url: "http://geophone".into(),
    }
}

/// Starts the couriers; the sender stops them.
fn start(settings: &Alerts, folder: &Path, view: &Arc<View>, board: &Arc<Board>) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    let parts = Parts {
        view: view.clone(),
        board: board.clone(),
        outgoing: Outgoing::default(),
        clock: Arc::new(Stopped),
        is_ready: Arc::new(|| true),
    };
    for courier in Courier::all(settings, folder, &parts).expect("the folder is writable") {
        tokio::spawn(run(courier, stopped.clone()));
    }
    stop
}

fn labels(alert: &Value) -> [&str; 2] {
    ["severity", "service_name"].map(|name| alert["labels"][name].as_str().unwrap_or_default())
}

/// Scenario: an incident opens, gets worse, and closes; one Alertmanager listens.
/// Guarantees: it fires with the cause's service; a changed severity ends the old label set in the same
/// request; the end is sent with a past `endsAt`; only severity ever changes among the labels.
#[tokio::test]
async fn fires_gets_worse_and_resolves() {
    let (url, mut bodies, _) = receiver(200).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (view, board) = (Arc::new(View::new(Limits::of_memory(1 << 20, 10))), Arc::new(Board::default()));
    view.apply(&incident(State::Open, Severity::Warning));
    let _stop = start(&alerts(&[&url], &[]), folder.path(), &view, &board);

    let first = bodies.recv().await.expect("it fires");
    assert_eq!(labels(&first[0]), ["warning", "payment"]);
    assert_eq!(first[0]["startsAt"], "2023-11-14T22:13:20Z");
    assert_eq!(first[0]["endsAt"], NOW.plus(180_000_000_000).to_string());
    assert_eq!(first[0]["generatorURL"], "http://geophone/incidents/i1");
    assert_eq!((&first[0]["annotations"]["maturity"], first[0]["labels"].get("maturity")), (&Value::from("provisional"), None));

    view.apply(&incident(State::Open, Severity::Critical));
    let second = bodies.recv().await.expect("it got worse");
    assert_eq!([labels(&second[0]), labels(&second[1])], [["warning", "payment"], ["critical", "payment"]]);
    assert_eq!(second[0]["endsAt"], NOW.to_string());

    view.apply(&incident(State::Closed, Severity::Critical));
    let last = bodies.recv().await.expect("it ends");
    assert_eq!((labels(&last[0]), &last[0]["endsAt"]), (["critical", "payment"], &Value::from("2023-11-14T22:18:20Z")));
}

/// Scenario: the webhook answers 503; the process stops; the incident closes; the process starts again on the
/// same folder and the webhook is well.
/// Guarantees: the end is told although the beginning never was, in the webhook's shape, with the labels that
/// were fixed at first sight.
#[tokio::test]
async fn what_was_not_taken_is_told_after_a_restart() {
    let (url, mut bodies, status) = receiver(503).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (view, board) = (Arc::new(View::new(Limits::of_memory(1 << 20, 10))), Arc::new(Board::default()));
    view.apply(&incident(State::Open, Severity::Warning));
    let stop = start(&alerts(&[], &[&url]), folder.path(), &view, &board);
    assert_eq!(bodies.recv().await.expect("it is tried")["status"], "firing");
    stop.send(true).expect("the courier runs");

    status.store(200, Ordering::Relaxed);
    view.apply(&incident(State::Closed, Severity::Warning));
    let _stop = start(&alerts(&[], &[&url]), folder.path(), &view, &Arc::new(Board::default()));
    let told = bodies.recv().await.expect("it is told");
    assert_eq!((&told["status"], &told["version"], labels(&told["alerts"][0])), (&"resolved".into(), &"4".into(), ["warning", "payment"]));
}
