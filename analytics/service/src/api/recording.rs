//! Profiles by hand: recorded now, for some seconds, one at a time, and answered as a file.

use super::{refusal::Refusal, rooms::Rooms, stacks};
use crate::stacks::{Form, emptiness, report};
use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use geophone_profiler_ebpf::{Probe, Profile, ProfilerError, Subject, Wish, probe, profile};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

type Ctx = State<Arc<Rooms>>;
type Body = Result<Bytes, BytesRejection>;

/// Nobody waits longer for an answer.
const SECONDS: RangeInclusive<f64> = 0.1..=60.0;
/// Samples a second.
const HERTZ: RangeInclusive<u64> = 19..=997;

const fn ten() -> f64 {
    10.0
}

const fn usual() -> u64 {
    99
}

/// Whom, how long, how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileWish {
    pid: Option<u32>,
    service: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default = "ten")]
    seconds: f64,
    #[serde(default = "usual")]
    frequency: u64,
    #[serde(default)]
    off_cpu: bool,
    #[serde(default)]
    output: Form,
}

/// Which function, how long, where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeWish {
    uprobe: String,
    pid: Option<u32>,
    #[serde(default = "ten")]
    seconds: f64,
    /// Else the histogram as JSON.
    output: Option<Form>,
}

/// Turned when the asker has gone: nobody records for nobody.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn read<T: DeserializeOwned>(body: Body, example: &str) -> Result<T, Refusal> {
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| Refusal::bad(format!("the body must be like {example}: {error}")))
}

fn length(seconds: f64) -> Result<Duration, Refusal> {
    let fine = SECONDS.contains(&seconds);
    let refused = || Refusal::bad(format!("`seconds` is {seconds}: must be {} to {}", SECONDS.start(), SECONDS.end()));
    if fine { Ok(Duration::from_secs_f64(seconds)) } else { Err(refused()) }
}

/// Records on a thread that may wait; ends early when the asker goes or the service stops.
async fn record<T: Send + 'static>(
    rooms: &Arc<Rooms>,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, ProfilerError> + Send + 'static,
) -> Result<T, Refusal> {
    let turn = rooms.recordings.clone().ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, rooms.profiler_note.clone()))?;
    let busy = |_| Refusal::new(StatusCode::TOO_MANY_REQUESTS, "another profile by hand is being recorded: try again when it is done");
    let turn = turn.try_acquire_owned().map_err(busy)?;
    let gone = Gone(Arc::default());
    let (is_gone, stop) = (gone.0.clone(), rooms.stop.clone());
    let recorded = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work(&|| is_gone.load(Ordering::Acquire) || *stop.borrow())
    });
    let recorded = recorded.await;
    drop(gone);
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the recorder failed in a way that is our fault: please report it");
    recorded.map_err(failed)?.map_err(|error| stacks::refusal(&error))
}

/// `POST /api/v1/profile`: what processes do from now on.
pub async fn profile_now(State(rooms): Ctx, body: Body) -> Result<Response, Refusal> {
    let wish: ProfileWish = read(body, r#"{"pid": 4711, "seconds": 10, "output": "svg"}"#)?;
    let subject = match (wish.pid, wish.service, wish.all) {
        (Some(pid), None, false) => Subject::Process(pid),
        (None, Some(service), false) => Subject::Service(service),
        (None, None, true) => Subject::Everybody,
        _ => return Err(Refusal::bad("say whom: one of `pid`, `service` and `all: true`")),
    };
    if !HERTZ.contains(&wish.frequency) {
        return Err(Refusal::bad(format!("`frequency` is {}: must be {} to {}", wish.frequency, HERTZ.start(), HERTZ.end())));
    }
    let off_cpu = wish.off_cpu;
    let order = Wish { subject, length: length(wish.seconds)?, frequency_hz: wish.frequency, off_cpu };
    let Profile { samples, length, period_ns } = record(&rooms, move |is_over| profile(&order, is_over)).await?;
    if samples.is_empty() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, emptiness(length.as_secs_f64(), off_cpu)));
    }
    stacks::as_form(wish.output, &samples, period_ns)
}

/// `POST /api/v1/profile:attach`: calls of one function from now on.
pub async fn attach(State(rooms): Ctx, body: Body) -> Result<Response, Refusal> {
    let wish: ProbeWish = read(body, r#"{"uprobe": "/usr/bin/cart:cart::checkout", "seconds": 10}"#)?;
    let place = wish.uprobe.split_once(':').filter(|(binary, function)| binary.starts_with('/') && !function.is_empty());
    let Some((binary, function)) = place.map(|(binary, function)| (binary.to_owned(), function.to_owned())) else {
        return Err(Refusal::bad(format!("`uprobe` is `{}`: write /ABSOLUTE/PATH/OF/BIN:FUNCTION", wish.uprobe)));
    };
    let (length, pid) = (length(wish.seconds)?, wish.pid);
    let seen: Probe = record(&rooms, move |is_over| probe(Path::new(&binary), &function, pid, (length, is_over))).await?;
    match wish.output {
        None => Ok(Json(report(&seen, &wish.uprobe)).into_response()),
        Some(form) => stacks::as_form(form, &seen.samples, 0),
    }
}
