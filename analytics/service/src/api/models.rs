//! Models over HTTP: the list, cards, a new version, and the steps of a model's life. Every step is a
//! record of the log; the answer shows what became of it.

use super::{params::Params, refusal::Refusal, rooms::Rooms};
use crate::{
    error::ServiceError,
    models::{self, Known, ModelFiles, UPLOAD_BYTES_MAX, meant, state_of},
};
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
};
use geophone_proto::{
    Class, RecordBody,
    model::{LineUp, ModelRef, ModelStep},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

type Ctx = State<Arc<Rooms>>;

/// The brain takes a step within milliseconds, unless it is behind; after this the caller looks later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Models a page at most, and where nobody says.
const MODELS_MAX: usize = 1_000;
/// How long an addition waits for the one before it.
const TURN: Duration = Duration::from_secs(35);
/// Body of a step.
const STEP_BYTES_MAX: usize = 64 << 10;
/// Base64 is a third longer than what it holds.
const BODY_BYTES_MAX: usize = UPLOAD_BYTES_MAX as usize / 3 * 4 + (1 << 20);

/// Known models.
pub async fn list(State(rooms): Ctx, params: Params) -> Result<Json<Value>, Refusal> {
    is_told(&rooms).await?;
    let params = params.only(&["state", "limit", "cursor"])?;
    let (state, limit) = (params.text("state"), params.limit(MODELS_MAX, MODELS_MAX)?);
    let items = models::shown(&rooms.models, &rooms.view.line_up());
    let mut items: Vec<Value> = items.into_iter().filter(|item| state.is_none_or(|state| item["state"] == state)).collect();
    let place = |item: &Value| Some(format!("{}@{}", item["name"].as_str()?, item["version"].as_str()?));
    let after = params
        .parsed("cursor", "a `next_cursor` of this list", |text| items.iter().position(|item| place(item).as_deref() == Some(text)))?;
    items.drain(..after.map_or(0, |after| after + 1));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).and_then(place);
    Ok(Json(json!({"items": items, "next_cursor": next})))
}

/// Card of one model, `NAME` or `NAME@VERSION`.
pub async fn card(State(rooms): Ctx, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let known = meant(&rooms.models, &rooms.view.line_up(), &name).ok_or_else(|| Refusal::missing("model", &name))?;
    Ok(Json(json!(known.card)))
}

/// `POST /api/v1/models/{name}/versions`: checked in a child process, kept, not yet used.
pub async fn add(
    State(rooms): Ctx,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let turn = tokio::time::timeout(TURN, rooms.adding.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "another model is being checked: try again"));
    };
    let too_large = || format!("the files hold more than {} MiB: make the model smaller", UPLOAD_BYTES_MAX >> 20);
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, too_large()))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let registry = rooms.models.clone();
    let added = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let files = ModelFiles::from_body(&kind, &body).map_err(ServiceError::Usage)?;
        registry.add(&files, Some(&name))
    });
    let (known, is_new) = added.await.map_err(|_| our_fault())?.map_err(|error| refusal_of(&error))?;
    let shown = item(&rooms, &known.card.model_ref())?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(shown)))
}

/// What may stand in the body of a step.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    version: Option<String>,
    percent: Option<u32>,
    reason: Option<String>,
}

/// `POST /api/v1/models/{name}:shadow`, `:canary`, `:promote`, `:rollback`.
pub async fn step(
    State(rooms): Ctx,
    Path(name_and_verb): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let (name, verb) = name_and_verb.rsplit_once(':').unwrap_or((&name_and_verb, ""));
    take_step(rooms, name.to_owned(), verb, (headers, body)).await
}

/// The same as `/api/v1/models/{name}/versions/{version}:promote` and so on.
pub async fn step_of_version(
    State(rooms): Ctx,
    Path((name, version_and_verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let (version, verb) = version_and_verb.rsplit_once(':').unwrap_or((&version_and_verb, ""));
    take_step(rooms, format!("{name}@{version}"), verb, (headers, body)).await
}

async fn take_step(
    rooms: Arc<Rooms>,
    name: String,
    verb: &str,
    (headers, body): (HeaderMap, Body),
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let body = to_bytes(body, STEP_BYTES_MAX).await.map_err(|_| Refusal::bad("the body is too long"))?;
    let wish: Wish = if body.iter().all(u8::is_ascii_whitespace) {
        Wish::default()
    } else {
        let wanted = "the body must be empty or {\"version\": \"2\", \"percent\": 10}";
        serde_json::from_slice(&body).map_err(|error| Refusal::bad(format!("{wanted}: {error}")))?
    };
    let name = match &wish.version {
        Some(version) if !name.contains('@') => format!("{name}@{version}"),
        _ => name,
    };
    is_told(&rooms).await?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let asked = format!("{name}:{verb}");
    if let Some(known) = key.as_deref().and_then(|key| rooms.recall(key)) {
        if known != asked {
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "this `Idempotency-Key` was used for another request"));
        }
        let known = find(&rooms, &name)?;
        return Ok((StatusCode::OK, Json(item(&rooms, &known.card.model_ref())?)));
    }
    let Some((step, shown)) = plan(&rooms, &name, verb, &wish)? else {
        let known = find(&rooms, &name)?;
        return Ok((StatusCode::OK, Json(item(&rooms, &known.card.model_ref())?)));
    };
    if !matches!(step, ModelStep::Rollback { .. }) {
        load_beforehand(&rooms, step.model()).await?;
    }
    let mut changes = rooms.view.listen();
    let before = rooms.view.line_up();
    let submitted = rooms.submitter.submit(RecordBody::Model(step.clone())).await;
    submitted.map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("the step could not be written: {error}")))?;
    metrics::counter!("geophone_models_steps_total", "step" => verb.to_owned()).increment(1);
    if verb == "rollback" {
        metrics::counter!("geophone_models_rollbacks_total", "cause" => "manual").increment(1);
    }
    if let Some(key) = key {
        rooms.remember(key, asked);
    }
    let taken = tokio::time::timeout(PATIENCE, async {
        while !is_taken(&step, &before, &rooms.view.line_up()) {
            // A lagging listener is told by an error, and looks again all the same.
            if matches!(changes.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                std::future::pending::<()>().await;
            }
        }
    });
    let status = if taken.await.is_ok() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(item(&rooms, &shown)?)))
}

/// Waits until the log of before a start has been read: only then it is known who scores.
async fn is_told(rooms: &Rooms) -> Result<(), Refusal> {
    let told = async {
        while !rooms.pulse.is_caught_up() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let late = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the log of before the start is still being read: try again");
    tokio::time::timeout(TURN, told).await.map_err(late)
}

/// The record that the wish needs, and the model to show afterwards; `None` where it is fulfilled.
fn plan(rooms: &Rooms, name: &str, verb: &str, wish: &Wish) -> Result<Option<(ModelStep, ModelRef)>, Refusal> {
    let line_up = rooms.view.line_up();
    let conflict = |text: String| Err(Refusal::new(StatusCode::CONFLICT, text));
    if verb == "rollback" {
        return roll_back(rooms, &line_up, name, wish).map(Some);
    }
    let known = if verb == "promote" { find_to_promote(rooms, &line_up, name)? } else { newest(rooms, name)? };
    let model = known.card.model_ref();
    let shown = model.clone();
    let is_active = model == line_up.active;
    if matches!(verb, "shadow" | "canary" | "promote") {
        is_sound(rooms, &model)?;
    }
    match verb {
        "shadow" | "canary" if is_active => {
            conflict(format!("{}@{} is the active model: it cannot be tried beside itself", model.name, model.version))
        }
        "shadow" if state_of(&line_up, &model) == "shadow" => Ok(None),
        "shadow" => Ok(Some((ModelStep::Shadow { model }, shown))),
        "canary" => {
            let percent = wish.percent.unwrap_or(rooms.canary_percent);
            if !(1..=99).contains(&percent) {
                return Err(Refusal::bad(format!("percent {percent} is not from 1 to 99")));
            }
            Ok(Some((ModelStep::Canary { model, percent }, shown)))
        }
        "promote" if is_active => Ok(None),
        "promote" => Ok(Some((ModelStep::Promote { model }, shown))),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "a model takes `:shadow`, `:canary`, `:promote` and `:rollback`")),
    }
}

/// A trial that is named ends; else the active model makes room for the one before it.
fn roll_back(rooms: &Rooms, line_up: &LineUp, name: &str, wish: &Wish) -> Result<(ModelStep, ModelRef), Refusal> {
    let reason = wish.reason.clone().unwrap_or_else(|| "rolled back by hand".to_owned());
    let known = find(rooms, name)?;
    let model = known.card.model_ref();
    let on_trial = |wanted: &ModelRef| matches!(state_of(line_up, wanted), "shadow" | "canary");
    if on_trial(&model) {
        return Ok((ModelStep::Rollback { model: model.clone(), reason }, model));
    }
    if model == line_up.active {
        if let Some(back) = line_up.before.last() {
            is_sound(rooms, back)?;
            return Ok((ModelStep::Rollback { model, reason }, back.clone()));
        }
        let trial = line_up.trials.iter().find(|trial| state_of(line_up, &trial.model) == "canary");
        if let Some(trial) = trial.filter(|_| !name.contains('@')) {
            return Ok((ModelStep::Rollback { model: trial.model.clone(), reason }, trial.model.clone()));
        }
        return Err(Refusal::new(StatusCode::CONFLICT, "no model was active before this one: there is nothing to go back to"));
    }
    let state = state_of(line_up, &model);
    Err(Refusal::new(StatusCode::CONFLICT, format!("{}@{} does not score: it is {state}", model.name, model.version)))
}

/// A model that hung or died once would do it again.
fn is_sound(rooms: &Rooms, model: &ModelRef) -> Result<(), Refusal> {
    let Some(how) = rooms.models.given_up(model) else { return Ok(()) };
    let ModelRef { name, version, .. } = model;
    Err(Refusal::new(
        StatusCode::CONFLICT,
        format!(
            "{name}@{version} {how} while it scored and was given up: mend it and add it with another version, or add the same files again"
        ),
    ))
}

fn find(rooms: &Rooms, name: &str) -> Result<Known, Refusal> {
    meant(&rooms.models, &rooms.view.line_up(), name).ok_or_else(|| Refusal::missing("model", name))
}

/// Of several versions of a plain name, one on trial, else the newest.
fn find_to_promote(rooms: &Rooms, line_up: &LineUp, name: &str) -> Result<Known, Refusal> {
    let trial = line_up.trials.iter().find(|trial| trial.model.name == name && trial.model != line_up.active);
    let trial = trial.and_then(|trial| rooms.models.find(&format!("{name}@{}", trial.model.version)));
    trial.map_or_else(|| newest(rooms, name), Ok)
}

/// Of several versions of a plain name, the newest.
fn newest(rooms: &Rooms, name: &str) -> Result<Known, Refusal> {
    rooms.models.find(name).ok_or_else(|| Refusal::missing("model", name))
}

async fn load_beforehand(rooms: &Rooms, model: &ModelRef) -> Result<(), Refusal> {
    let line_up = rooms.view.line_up();
    let is_loaded = line_up.active == *model || line_up.trials.iter().any(|trial| trial.model == *model || trial.against == *model);
    if is_loaded {
        return Ok(());
    }
    let (registry, model) = (rooms.models.clone(), model.clone());
    let loaded = tokio::task::spawn_blocking(move || registry.prepare(&model)).await.map_err(|_| our_fault())?;
    loaded.map_err(|error| refusal_of(&error))
}

/// Whether the line-up shows that the step was taken.
fn is_taken(step: &ModelStep, before: &LineUp, now: &LineUp) -> bool {
    let state = state_of(now, step.model());
    match step {
        ModelStep::Shadow { .. } => state == "shadow",
        ModelStep::Canary { model, percent } => {
            now.trials.iter().any(|trial| trial.model == *model && trial.percent == *percent) && state == "canary"
        }
        ModelStep::Promote { .. } | ModelStep::Start { .. } => state == "active",
        ModelStep::Rollback { model, .. } => now.active != *model && !matches!(state, "shadow" | "canary") && now != before,
    }
}

fn item(rooms: &Rooms, model: &ModelRef) -> Result<Value, Refusal> {
    models::find_shown(&rooms.models, &rooms.view.line_up(), model).ok_or_else(|| Refusal::missing("model", &model.name))
}

fn our_fault() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the model could not be looked at, in a way that is our fault: please report it")
}

fn refusal_of(error: &ServiceError) -> Refusal {
    let status = match error {
        ServiceError::Usage(_) => StatusCode::BAD_REQUEST,
        ServiceError::Room { class: Class::Busy, .. } => StatusCode::CONFLICT,
        ServiceError::Negative(_) | ServiceError::Room { class: Class::Reject | Class::Config, .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string())
}
