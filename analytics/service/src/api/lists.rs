//! Lists and single items of the read model.

use super::{
    params::{Params, cursor},
    refusal::Refusal,
    rooms::Rooms,
};
use crate::view::Place;
use axum::{
    Json,
    extract::{Path, State},
};
use geophone_proto::{SeriesKey, UnixNanos, incident::Severity};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<Rooms>>;
type Answer = Result<Json<Value>, Refusal>;

fn page_of<T: Serialize>((items, next): (Vec<T>, Option<Place>)) -> Json<Value> {
    Json(json!({"items": items, "next_cursor": next.as_ref().map(cursor)}))
}

/// A value of an enum by its word.
fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::String(text.into())).ok()
}

/// Whether something that lasts from `from` to `to` (open: no end) touches the wanted range.
struct Range {
    from: Option<UnixNanos>,
    to: Option<UnixNanos>,
}

impl Range {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let range = Self { from: params.time("from")?, to: params.time("to")? };
        match (range.from, range.to) {
            (Some(from), Some(to)) if from > to => Err(Refusal::bad(format!("`from` {from} is later than `to` {to}"))),
            _ => Ok(range),
        }
    }

    fn touches(&self, start: UnixNanos, end: Option<UnixNanos>) -> bool {
        self.from.is_none_or(|from| end.is_none_or(|end| end >= from)) && self.to.is_none_or(|to| start <= to)
    }
}

pub async fn incidents(State(rooms): Ctx, params: Params) -> Answer {
    let params = params.only(&["service", "state", "severity", "from", "to", "limit", "cursor"])?;
    let (range, service) = (Range::read(&params)?, params.text("service"));
    let state = params.parsed("state", "open or closed", word)?;
    let severity = params.parsed::<Severity>("severity", "info, warning or critical", word)?;
    Ok(page_of(rooms.view.incidents(&params.page()?, |incident| {
        let suspects = || incident.suspects.iter().map(|suspect| &suspect.service);
        state.is_none_or(|state| incident.state == state)
            && severity.is_none_or(|severity| incident.severity == severity)
            && service.is_none_or(|service| incident.services.iter().chain(suspects()).any(|name| name == service))
            && range.touches(incident.started_at, incident.closed_at)
    })))
}

pub async fn incident(State(rooms): Ctx, Path(id): Path<String>) -> Answer {
    let incident = rooms.view.incident(&id).ok_or_else(|| Refusal::missing("incident", &id))?;
    let mut answer = json!(incident);
    answer["alerts"] = json!(rooms.board.of(&id));
    Ok(Json(answer))
}

pub async fn anomalies(State(rooms): Ctx, params: Params) -> Answer {
    let params = params.only(&["service", "state", "incident_id", "series", "min_score", "from", "to", "limit", "cursor"])?;
    let (range, service, incident) = (Range::read(&params)?, params.text("service"), params.text("incident_id"));
    let state = params.parsed("state", "open or closed", word)?;
    let series = params.parsed("series", "a series key of 32 hex digits", SeriesKey::from_hex)?;
    let min_score =
        params.parsed("min_score", "a number from 0 to 1", |text| text.parse().ok().filter(|score: &f32| (0.0..=1.0).contains(score)))?;
    Ok(page_of(rooms.view.anomalies(&params.page()?, |anomaly| {
        state.is_none_or(|state| anomaly.state == state)
            && service.is_none_or(|service| anomaly.series.service == service)
            && incident.is_none_or(|incident| anomaly.incident_id.as_deref() == Some(incident))
            && series.is_none_or(|series| anomaly.series.key == series)
            && min_score.is_none_or(|min_score| anomaly.score >= min_score)
            && range.touches(anomaly.started_at, anomaly.closed_at)
    })))
}

pub async fn anomaly(State(rooms): Ctx, Path(id): Path<String>) -> Answer {
    let anomaly = rooms.view.anomaly(&id).ok_or_else(|| Refusal::missing("anomaly", &id))?;
    Ok(Json(json!(anomaly)))
}

pub async fn actions(State(rooms): Ctx, params: Params) -> Answer {
    let params = params.only(&["state", "incident_id", "policy", "from", "to", "limit", "cursor"])?;
    let (range, incident, policy) = (Range::read(&params)?, params.text("incident_id"), params.text("policy"));
    let state = params.parsed("state", "a state of an action, such as awaiting_approval", word)?;
    Ok(page_of(rooms.view.actions(&params.page()?, |action| {
        state.is_none_or(|state| action.state == state)
            && incident.is_none_or(|incident| action.incident_id == incident)
            && policy.is_none_or(|policy| action.policy == policy)
            && range.touches(action.decided_at, Some(action.decided_at))
    })))
}

pub async fn action(State(rooms): Ctx, Path(id): Path<String>) -> Answer {
    let action = rooms.view.action(&id).ok_or_else(|| Refusal::missing("action", &id))?;
    Ok(Json(json!(action)))
}

pub async fn series(State(rooms): Ctx, params: Params) -> Answer {
    let params = params.only(&["service", "kind", "name", "limit", "cursor"])?;
    let (service, name) = (params.text("service"), params.text("name"));
    let kind = params.parsed("kind", "a kind of series, such as duration_p95", word)?;
    let after = params.parsed("cursor", "a `next_cursor` of this list", SeriesKey::from_hex)?;
    let (items, next) = rooms.view.series(after, params.limit(100, 10_000)?, |series| {
        service.is_none_or(|service| series.service == service)
            && name.is_none_or(|name| series.name == name)
            && kind.is_none_or(|kind| series.kind == kind)
    });
    Ok(Json(json!({"items": items, "next_cursor": next})))
}

pub async fn one_series(State(rooms): Ctx, Path(key): Path<String>) -> Answer {
    let (seen, _) = find(&rooms, &key, UnixNanos(u64::MAX), UnixNanos(0))?;
    Ok(Json(json!(seen)))
}

pub async fn points(State(rooms): Ctx, Path(key): Path<String>, params: Params) -> Answer {
    let params = params.only(&["from", "to", "limit"])?;
    let (range, limit) = (Range::read(&params)?, params.limit(10_000, 10_000)?);
    let (seen, mut points) = find(&rooms, &key, range.from.unwrap_or_default(), range.to.unwrap_or(UnixNanos(u64::MAX)))?;
    // The newest: what a chart ends with.
    points.drain(..points.len().saturating_sub(limit));
    let (_, window_ns) = rooms.view.window();
    Ok(Json(json!({"series": seen.series, "maturity": seen.maturity, "window_ns": window_ns, "items": points, "next_cursor": null})))
}

type Found = (crate::view::SeriesSeen, Vec<geophone_proto::series::SeriesPoint>);

fn find(rooms: &Rooms, key: &str, from: UnixNanos, to: UnixNanos) -> Result<Found, Refusal> {
    let known = SeriesKey::from_hex(key).and_then(|hex| rooms.view.points(hex, from, to));
    known.ok_or_else(|| Refusal::missing("series", key))
}
