//! A person's word on an action: a record of the log, like everything the brain learns.

use super::{refusal::Refusal, rooms::Rooms};
use axum::{
    Json,
    extract::{Path, State},
    http::{Extensions, HeaderMap, StatusCode},
};
use geophone_ingest::Grant;
use geophone_proto::{
    RecordBody,
    action::{Action, ActionState, Decision},
};
use std::{sync::Arc, time::Duration};

/// The brain answers within milliseconds; after this the caller is told to look later.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name of the token, for the books; `api` where nobody is asked for one.
fn who(extensions: &Extensions) -> String {
    extensions.get::<Grant>().and_then(|grant| grant.token.as_deref()).map_or_else(|| "api".into(), |token| format!("token:{token}"))
}

/// `POST /api/v1/actions/{id}:approve` and `:reject`.
pub async fn decide(
    State(rooms): State<Arc<Rooms>>,
    Path(id_and_verb): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<(StatusCode, Json<Action>), Refusal> {
    let (id, verb) = id_and_verb.rsplit_once(':').unwrap_or((&id_and_verb, ""));
    let approved = match verb {
        "approve" => true,
        "reject" => false,
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "an action can be `:approve`d or `:reject`ed")),
    };
    let action = rooms.view.action(id).ok_or_else(|| Refusal::missing("action", id))?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    if let Some(known) = key.as_deref().and_then(|key| rooms.recall(key)) {
        if known == id_and_verb {
            return Ok((StatusCode::OK, Json((*action).clone())));
        }
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "this `Idempotency-Key` was used for another request"));
    }
    if action.state != ActionState::AwaitingApproval {
        let state = serde_json::to_value(action.state).unwrap_or_default();
        return Err(Refusal::new(StatusCode::CONFLICT, format!("action `{id}` does not wait for approval: it is {state}")));
    }
    let mut changes = rooms.view.listen();
    let decision = Decision { action_id: id.to_owned(), approved, by: who(&extensions) };
    rooms
        .submitter
        .submit(RecordBody::Decided(decision))
        .await
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("the decision could not be written: {error}")))?;
    if let Some(key) = key {
        rooms.remember(key, id_and_verb.clone());
    }
    let changed = tokio::time::timeout(PATIENCE, async {
        loop {
            let now = rooms.view.action(id).filter(|now| now.state != ActionState::AwaitingApproval);
            if let Some(now) = now {
                return now;
            }
            // A lagging listener is told by an error, and looks again all the same.
            if matches!(changes.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                std::future::pending::<()>().await;
            }
        }
    });
    match changed.await {
        Ok(now) => Ok((StatusCode::OK, Json((*now).clone()))),
        Err(_) => Ok((StatusCode::ACCEPTED, Json((*action).clone()))),
    }
}
