//! How the service itself is: health, status, metrics, map.

use super::rooms::Rooms;
use crate::telemetry;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use geophone_proto::effect::BudgetState;
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<Rooms>>;

/// The process answers.
pub async fn livez() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Receivers bound, model loaded, storage writable, caught up with the log.
pub async fn readyz(State(rooms): Ctx) -> (StatusCode, Json<Value>) {
    let checks = rooms.pulse.checks();
    let ready = checks.iter().all(|(_, fine)| *fine);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks: serde_json::Map<String, Value> = checks.into_iter().map(|(name, fine)| (name.into(), fine.into())).collect();
    (status, Json(json!({"status": if ready { "ok" } else { "not ready" }, "checks": checks})))
}

/// Everything the overview needs in one answer.
pub async fn status(State(rooms): Ctx) -> Json<Value> {
    const WEEK_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;
    let [incidents_open, incidents, anomalies_open, anomalies, series, points] = rooms.view.counts();
    let (window_end, window_ns) = rooms.view.window();
    let since = window_end.minus(WEEK_NS);
    let everything = crate::view::Page { after: None, limit: usize::MAX - 1 };
    let (last_week, _) = rooms.view.incidents(&everything, |incident| incident.opened_at > since);
    let [learning, provisional, calibrated] = rooms.view.maturities();
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "incidents_open": incidents_open,
        "incidents_kept": incidents,
        "incidents_last_week": last_week.len(),
        "anomalies_open": anomalies_open,
        "anomalies_kept": anomalies,
        "series": series,
        "points": points,
        "newest_window_end": (window_end.0 > 0).then_some(window_end),
        "window_ns": window_ns,
        "model": rooms.view.line_up().active,
        "budget": budget(&rooms.view.budget()),
        "series_known": {"learning": learning, "provisional": provisional, "calibrated": calibrated},
    });
    for part in [rooms.pulse.status(), rooms.facts.clone()] {
        if let (Value::Object(status), Value::Object(part)) = (&mut status, part) {
            status.extend(part);
        }
    }
    Json(status)
}

/// Promised against real. `opened_per_week` is null while less than a day was seen.
fn budget(budget: &BudgetState) -> Value {
    const DAY: f64 = 1.0 / 7.0;
    let counted = budget.opened - budget.confirmed.min(budget.opened);
    json!({
        "promised_per_week": budget.promised_per_week,
        "promised": budget.promised,
        "opened": budget.opened,
        "confirmed": budget.confirmed,
        "opened_last_week": budget.last_week,
        "opened_per_week": (budget.weeks >= DAY).then(|| counted as f64 / budget.weeks),
        "weeks": budget.weeks,
        "since": (budget.since.0 > 0).then_some(budget.since),
        "bar": budget.bar,
    })
}

/// Services, calls, health.
pub async fn topology(State(rooms): Ctx) -> Json<Value> {
    Json(json!(rooms.view.topology()))
}

/// What each tenant sent over which transport, and what became of it.
pub async fn traffic(State(rooms): Ctx) -> Json<Value> {
    Json(json!({"items": rooms.access.traffic(), "next_cursor": null}))
}

/// Prometheus text, or what replaced it for those who ask.
pub async fn metrics(State(rooms): Ctx, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let text = (rooms.metrics)();
    let (kind, text) = if accepted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", telemetry::open_metrics(&text))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", text)
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// This API, described.
pub async fn openapi() -> Json<Value> {
    Json(super::openapi::document())
}
