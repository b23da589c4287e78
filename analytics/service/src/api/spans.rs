//! Stacks of spans on request: of one, with the difference against normal spans of its operation, and of all of a trace.

use super::{params::Params, refusal::Refusal, rooms::Rooms, stacks};
use crate::stacks::{Asked, OF_TRACE_MAX, StoredSpan, of_span, of_trace, packed, spans};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use geophone_proto::{
    SpanId, TraceId,
    stacks::{StackAnswer, StackRequest},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

type Ctx = State<Arc<Rooms>>;

async fn rows(rooms: &Rooms, sql: String) -> Result<Vec<StoredSpan>, Refusal> {
    let failed = |why: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("spans cannot be looked up: {why}"));
    let _place = rooms.queries.acquire().await.map_err(|error| failed(error.to_string()))?;
    let query = rooms.query.clone();
    let found = tokio::task::spawn_blocking(move || query(&sql)).await.map_err(|error| failed(error.to_string()))?;
    found.map(|answer| spans(&answer.rows)).map_err(|error| failed(error.to_string()))
}

/// Asks who answers the brain.
async fn ask(rooms: &Rooms, request: StackRequest) -> Result<StackAnswer, Refusal> {
    let nobody = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("nobody answers for stacks: {}", rooms.profiler_note));
    let (reply, answer) = oneshot::channel();
    rooms.asked.as_ref().ok_or_else(nobody)?.send(Asked { request, reply }).await.map_err(|_| nobody())?;
    answer.await.map_err(|_| nobody())
}

async fn one(rooms: &Rooms, id: &str) -> Result<(StoredSpan, StackAnswer), Refusal> {
    let known = SpanId::from_hex(id).ok_or_else(|| Refusal::bad(format!("`{id}` is no span id: 16 hexadecimal digits")))?;
    let span = rows(rooms, of_span(known)).await?.pop().ok_or_else(|| Refusal::missing("span", id))?;
    let neighbours = rows(rooms, span.neighbours()).await?;
    let mut answer = ask(rooms, span.request(neighbours)).await?;
    if let Some(stacks) = &mut answer.stacks {
        stacks.folded = format!("/api/v1/spans/{known}/folded");
        stacks.pprof = format!("/api/v1/spans/{known}/pprof");
    }
    Ok((span, answer))
}

/// The span, its stacks or why there are none.
fn shown(rooms: &Rooms, span: &StoredSpan, answer: &StackAnswer) -> Value {
    let note = match (&answer.stacks, rooms.profiler_note.as_str()) {
        (Some(_), _) => String::new(),
        (None, "") => answer.note.clone(),
        (None, why) => format!("{}; {why}", answer.note),
    };
    json!({"span": span, "stacks": answer.stacks, "note": note})
}

/// `GET /api/v1/spans/{id}/stacks`.
pub async fn of_one(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Json<Value>, Refusal> {
    params.only(&[])?;
    let (span, answer) = one(&rooms, &id).await?;
    Ok(Json(shown(&rooms, &span, &answer)))
}

fn with_stacks(id: &str, answer: StackAnswer) -> Result<StackAnswer, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, format!("span `{id}` has no stacks: {}", answer.note));
    if answer.stacks.is_none() { Err(missing()) } else { Ok(answer) }
}

/// Folded lines of the span; `of=normal` are those of as many normal spans.
pub async fn folded(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Response, Refusal> {
    let side = stacks::side(&params.only(&["of"])?)?;
    let answer = with_stacks(&id, one(&rooms, &id).await?.1)?;
    Ok(stacks::plain(if side == crate::stacks::Side::Normal { answer.baseline_text } else { answer.folded_text }))
}

/// The same as a gzipped pprof profile.
pub async fn pprof(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Response, Refusal> {
    params.only(&[])?;
    let answer = with_stacks(&id, one(&rooms, &id).await?.1)?;
    Ok(stacks::file(&format!("{id}.pb.gz"), packed(&answer.folded_text)))
}

/// A flame graph; by default the difference against normal spans.
pub async fn flamegraph(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Response, Refusal> {
    let look = stacks::Look::of(&params.only(&["state", "difference"])?)?;
    let answer = with_stacks(&id, one(&rooms, &id).await?.1)?;
    look.draw(&format!("span {id}"), answer.folded_text, answer.baseline_text)
}

/// `GET /api/v1/traces/{id}/stacks`: every span of the trace, the longest first.
pub async fn of_all(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Json<Value>, Refusal> {
    params.only(&[])?;
    let known = TraceId::from_hex(&id).ok_or_else(|| Refusal::bad(format!("`{id}` is no trace id: 32 hexadecimal digits")))?;
    let found = rows(&rooms, of_trace(known)).await?;
    if found.is_empty() {
        return Err(Refusal::missing("trace", &id));
    }
    let mut items = Vec::new();
    for span in found.iter().take(OF_TRACE_MAX) {
        let mut answer = ask(&rooms, span.request(Vec::new())).await?;
        if let Some(stacks) = &mut answer.stacks {
            stacks.folded = format!("/api/v1/spans/{}/folded", span.span_id);
            stacks.pprof = format!("/api/v1/spans/{}/pprof", span.span_id);
        }
        items.push(shown(&rooms, span, &answer));
    }
    Ok(Json(json!({"trace_id": known, "items": items, "is_whole": found.len() <= OF_TRACE_MAX})))
}
