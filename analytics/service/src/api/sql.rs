//! `POST /api/v1/query`.

use super::{
    refusal::Refusal,
    rooms::{Answer, Rooms},
};
use axum::{Json, body::Bytes, extract::State, extract::rejection::BytesRejection, http::StatusCode};
use geophone_proto::Class;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
}

/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Runs one query on a blocking thread; a few at a time.
pub async fn query(State(rooms): State<Arc<Rooms>>, body: Result<Bytes, BytesRejection>) -> Result<Json<Answer>, Refusal> {
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    let question: Question =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad(format!("the body must be {{\"sql\": \"SELECT ...\"}}: {error}")))?;
    let turn = tokio::time::timeout(TURN, rooms.queries.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "other queries are running: try again"));
    };
    let run = rooms.query.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        run(&question.sql)
    });
    match answer.await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error)) => Err(Refusal::new(status_of(error.class()), error.to_string())),
        Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the query failed in a way that is our fault: please report it")),
    }
}

fn status_of(class: Class) -> StatusCode {
    match class {
        Class::Reject | Class::Config => StatusCode::BAD_REQUEST,
        Class::Retry => StatusCode::SERVICE_UNAVAILABLE,
        Class::Busy => StatusCode::TOO_MANY_REQUESTS,
        Class::Fatal | Class::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
