//! The table of routes: the router and the OpenAPI document are both made from it.

use super::{decide, guard, lists, models, recording, refusal::Refusal, rooms::Rooms, service, spans, sql, stacks, stream};
use crate::page;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware,
    response::Response,
    routing::{MethodRouter, get, post},
};
use std::sync::Arc;

/// Bodies of requests at most: SQL is text.
const BODY_BYTES_MAX: usize = 1 << 20;

/// One operation of the API.
pub struct Route {
    /// `get` or `post`.
    pub method: &'static str,
    /// As the manual writes it.
    pub path: &'static str,
    /// In a few words.
    pub summary: &'static str,
    /// Names of query parameters.
    pub params: &'static [&'static str],
    /// Name of the schema of the answer.
    pub answer: &'static str,
    /// As the router wants it, where that differs, and who answers.
    mount: Mount,
}

type Serve = fn() -> MethodRouter<Arc<Rooms>>;

enum Mount {
    Here(Serve),
    /// The router cannot split a segment: a neighbour's handler reads the verb.
    Neighbour,
}

const fn read(path: &'static str, summary: &'static str, params: &'static [&'static str], answer: &'static str, serve: Serve) -> Route {
    Route { method: "get", path, summary, params, answer, mount: Mount::Here(serve) }
}

const fn write(path: &'static str, summary: &'static str, answer: &'static str, mount: Mount) -> Route {
    Route { method: "post", path, summary, params: &[], answer, mount }
}

/// Every operation, in the order of the document.
pub const ROUTES: &[Route] = &[
    read(
        "/api/v1/incidents",
        "Incidents, newest first",
        &["service", "state", "severity", "from", "to", "limit", "cursor"],
        "IncidentList",
        || get(lists::incidents),
    ),
    read("/api/v1/incidents/{id}", "One incident", &[], "IncidentWithAlerts", || get(lists::incident)),
    read(
        "/api/v1/anomalies",
        "Anomalies, newest first",
        &["service", "state", "incident_id", "series", "min_score", "from", "to", "limit", "cursor"],
        "AnomalyList",
        || get(lists::anomalies),
    ),
    read("/api/v1/anomalies/{id}", "One anomaly", &[], "Anomaly", || get(lists::anomaly)),
    read(
        "/api/v1/anomalies/{id}/folded",
        "Folded stacks of the flagged spans, nanoseconds; `of=normal`: of as many normal spans",
        &["of"],
        "Text",
        || get(stacks::folded),
    ),
    read("/api/v1/anomalies/{id}/pprof", "The same as pprof, gzipped", &[], "Bytes", || get(stacks::pprof)),
    read(
        "/api/v1/anomalies/{id}/flamegraph",
        "The same as a flame graph, coloured by the difference against normal spans",
        &["state", "difference"],
        "Svg",
        || get(stacks::flamegraph),
    ),
    read(
        "/api/v1/spans/{id}/stacks",
        "Stacks of any span of the last minutes, against normal spans of its operation",
        &[],
        "SpanStacks",
        || get(spans::of_one),
    ),
    read("/api/v1/spans/{id}/folded", "Its folded stacks; `of=normal`: of as many normal spans", &["of"], "Text", || get(spans::folded)),
    read("/api/v1/spans/{id}/pprof", "The same as pprof, gzipped", &[], "Bytes", || get(spans::pprof)),
    read("/api/v1/spans/{id}/flamegraph", "The same as a flame graph", &["state", "difference"], "Svg", || get(spans::flamegraph)),
    read("/api/v1/traces/{id}/stacks", "Stacks of every span of a trace, the longest first", &[], "TraceStacks", || get(spans::of_all)),
    read(
        "/api/v1/profile",
        "Stacks of a process or service from the recorder's last minutes",
        &["pid", "service", "from", "to", "state", "output"],
        "Text",
        || get(stacks::profile).post(recording::profile_now),
    ),
    write("/api/v1/profile", "Record a process, a service or everybody for some seconds from now", "Text", Mount::Neighbour),
    write(
        "/api/v1/profile:attach",
        "Watch calls of one function for some seconds: a histogram of their length, or their callers' stacks",
        "Calls",
        Mount::Here(|| post(recording::attach)),
    ),
    read("/api/v1/profiler", "Whether the recorder runs, and whom it knows", &[], "Profiler", || get(stacks::profiler)),
    read(
        "/api/v1/actions",
        "Actions, newest first",
        &["state", "incident_id", "policy", "from", "to", "limit", "cursor"],
        "ActionList",
        || get(lists::actions),
    ),
    read("/api/v1/actions/{id}", "One action", &[], "Action", || get(lists::action).post(decide::decide)),
    write("/api/v1/actions/{id}:approve", "Let a waiting action run; takes `Idempotency-Key`", "Action", Mount::Neighbour),
    write("/api/v1/actions/{id}:reject", "Refuse a waiting action; takes `Idempotency-Key`", "Action", Mount::Neighbour),
    read("/api/v1/series", "Series by key", &["service", "kind", "name", "limit", "cursor"], "SeriesList", || get(lists::series)),
    read("/api/v1/series/{key}", "One series", &[], "Series", || get(lists::one_series)),
    read(
        "/api/v1/series/{key}/points",
        "Measured, expected and score per window, oldest first",
        &["from", "to", "limit"],
        "PointList",
        || get(lists::points),
    ),
    read("/api/v1/topology", "Services, who calls whom, and how they are", &[], "Topology", || get(service::topology)),
    read("/api/v1/models", "Models, their states, and how those on trial do", &["state", "limit", "cursor"], "ModelList", || {
        get(models::list)
    }),
    read("/api/v1/models/{name}", "Card of a model, NAME or NAME@VERSION", &[], "ModelCard", || get(models::card).post(models::step)),
    write(
        "/api/v1/models/{name}/versions",
        "Add a model: multipart form or JSON of card.toml, model.onnx and check.parquet; checked before it is kept",
        "Model",
        Mount::Here(|| post(models::add)),
    ),
    write(
        "/api/v1/models/{name}:shadow",
        "Score beside the active model, unheard; NAME@VERSION, or `version` in the body",
        "Model",
        Mount::Neighbour,
    ),
    write("/api/v1/models/{name}:canary", "Speak for `percent` of the series, chosen by their hash", "Model", Mount::Neighbour),
    write("/api/v1/models/{name}:promote", "Speak for all series", "Model", Mount::Neighbour),
    write("/api/v1/models/{name}:rollback", "End a trial, or go back to the model before the last promotion", "Model", Mount::Neighbour),
    write(
        "/api/v1/models/{name}/versions/{version}",
        "The same steps, `VERSION:shadow`, `:canary`, `:promote` or `:rollback`",
        "Model",
        Mount::Here(|| post(models::step_of_version)),
    ),
    write("/api/v1/query", "Run a read-only SQL query", "Answer", Mount::Here(|| post(sql::query))),
    read("/api/v1/stream", "Changes as server-sent events: incident, anomaly, action, window, models, missed", &[], "EventStream", || {
        get(stream::stream)
    }),
    read("/api/v1/status", "Rates, lag, promised and real alerts, runtime", &[], "Status", || get(service::status)),
    read("/api/v1/traffic", "What each tenant sent over which transport, and what became of it", &[], "Traffic", || get(service::traffic)),
    read("/api/v1/openapi.json", "This document", &[], "Object", || get(service::openapi)),
    read("/metrics", "Counters and gauges as Prometheus text", &[], "Text", || get(service::metrics)),
    read("/livez", "Whether the process answers", &[], "Object", || get(service::livez)),
    read("/readyz", "Whether telemetry is accepted and scored", &[], "Object", || get(service::readyz)),
];

/// Headers of every answer: nobody frames us, nobody guesses types.
const HEADERS: [(&str, &str); 3] = [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")];

/// The whole of what is served at `api.endpoint`: API, metrics, health and page.
pub fn router(rooms: Arc<Rooms>) -> Router {
    let mut router = page::routes();
    for route in ROUTES {
        let Mount::Here(serve) = route.mount else { continue };
        router = router.route(route.path, serve());
    }
    router
        .fallback(|uri: Uri| async move { Refusal::new(StatusCode::NOT_FOUND, format!("nothing is served at `{}`", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not take {method}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(rooms.clone(), guard::guard))
        .layer(middleware::map_response(with_headers))
        .with_state(rooms)
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
