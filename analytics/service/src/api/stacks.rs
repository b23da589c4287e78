//! Stacks: of an anomaly's flagged spans, and of any process from the recorder's last minutes.

use super::{params::Params, refusal::Refusal, rooms::Rooms};
use crate::stacks::{Form, Side, frame_of, packed};
use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use clap::ValueEnum;
use geophone_profiler_ebpf::{ProfilerError, Sample, Subject, output};
use geophone_proto::{Class, UnixNanos};
use serde_json::{Value, json};
use std::sync::Arc;

type Ctx = State<Arc<Rooms>>;

const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

fn answer(kind: &'static str, body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

pub(super) fn refusal(error: &ProfilerError) -> Refusal {
    let status = if error.class() == Class::Reject { StatusCode::NOT_FOUND } else { StatusCode::SERVICE_UNAVAILABLE };
    Refusal::new(status, error.to_string())
}

pub(super) fn file(name: &str, body: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, disposition)], body).into_response()
}

/// Text as it is.
pub(super) fn plain(text: String) -> Response {
    answer(TEXT, text)
}

/// `of`: whose lines.
pub(super) fn side(params: &Params) -> Result<Side, Refusal> {
    let side = |text: &str| match text {
        "flagged" => Some(Side::Flagged),
        "normal" => Some(Side::Normal),
        _ => None,
    };
    Ok(params.parsed("of", "flagged or normal", side)?.unwrap_or(Side::Flagged))
}

/// Folded lines `process;[state];outer;...;inner NANOSECONDS`; `of=normal` are the baseline's, scaled.
pub async fn folded(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Response, Refusal> {
    let side = side(&params.only(&["of"])?)?;
    Ok(plain(text(&rooms, &id, side).await?))
}

/// The same as a gzipped pprof profile.
pub async fn pprof(State(rooms): Ctx, Path(id): Path<String>) -> Result<Response, Refusal> {
    let text = text(&rooms, &id, Side::Flagged).await?;
    Ok(file(&format!("{id}.pb.gz"), packed(&text)))
}

/// How a flame graph is wanted.
pub(super) struct Look {
    /// The frame that says what threads were doing; none = all.
    state: Option<&'static str>,
    is_difference: bool,
}

impl Look {
    /// From `state` and `difference`.
    pub fn of(params: &Params) -> Result<Self, Refusal> {
        let state = params.parsed("state", "on_cpu, blocked or waiting", frame_of)?;
        let is_difference = params.parsed("difference", "true or false", |text| text.parse::<bool>().ok())?.unwrap_or(true);
        Ok(Self { state, is_difference })
    }

    /// Of two folded texts.
    pub fn draw(&self, title: &str, flagged: String, normal: String) -> Result<Response, Refusal> {
        let of_state = |text: String| match self.state {
            Some(frame) => text.lines().filter(|line| line.split(';').nth(1) == Some(frame)).map(|line| format!("{line}\n")).collect(),
            None => text,
        };
        let (flagged, normal) = (of_state(flagged), of_state(normal));
        let drawn = if self.is_difference { output::difference(title, &normal, &flagged) } else { output::flame_graph(title, &flagged) };
        Ok(answer(SVG, drawn.map_err(|error| refusal(&error))?))
    }
}

/// A flame graph; by default the difference against normal spans.
pub async fn flamegraph(State(rooms): Ctx, Path(id): Path<String>, params: Params) -> Result<Response, Refusal> {
    let look = Look::of(&params.only(&["state", "difference"])?)?;
    let flagged = text(&rooms, &id, Side::Flagged).await?;
    let normal = text(&rooms, &id, Side::Normal).await.unwrap_or_default();
    look.draw(&format!("anomaly {id}"), flagged, normal)
}

async fn text(rooms: &Rooms, id: &str, side: Side) -> Result<String, Refusal> {
    rooms.view.anomaly(id).ok_or_else(|| Refusal::missing("anomaly", id))?;
    let (shelf, name) = (rooms.stacks.clone(), id.to_owned());
    let read = tokio::task::spawn_blocking(move || shelf?.read(&name, side)).await;
    read.ok().flatten().ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("anomaly `{id}` has no stacks")))
}

/// What the recorder has seen of a process or service, up to minutes back.
pub async fn profile(State(rooms): Ctx, params: Params) -> Result<Response, Refusal> {
    let params = params.only(&["pid", "service", "from", "to", "state", "output"])?;
    let pid = params.parsed("pid", "the number of a process", |text| text.parse().ok())?;
    let subject = match (pid, params.text("service")) {
        (Some(pid), None) => Subject::Process(pid),
        (None, Some(service)) => Subject::Service(service.to_owned()),
        (None, None) => Subject::Everybody,
        (Some(_), Some(_)) => return Err(Refusal::bad("give `pid` or `service`, not both".to_owned())),
    };
    let (from, to) = (params.time("from")?.unwrap_or_default(), params.time("to")?.unwrap_or(UnixNanos(u64::MAX)));
    let state = params.parsed("state", "on_cpu, blocked or waiting", |word| frame_of(word).map(|_| word.to_owned()))?;
    let wanted = params.parsed("output", "folded, pprof, svg or otlp", |word| Form::from_str(word, false).ok())?.unwrap_or_default();
    let archive = rooms.archive.clone().ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, rooms.profiler_note.clone()))?;
    let found = tokio::task::spawn_blocking(move || archive.samples(&subject, from, to)).await;
    let mut samples = found
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the recorder did not answer".to_owned()))?
        .map_err(|error| refusal(&error))?;
    samples.retain(|sample| state.as_ref().is_none_or(|word| json!(sample.state) == json!(word)));
    as_form(wanted, &samples, 0)
}

/// Samples as a file.
pub(super) fn as_form(form: Form, samples: &[Sample], period_ns: u64) -> Result<Response, Refusal> {
    let written = form.write("geophone profile", samples, period_ns).map_err(|error| refusal(&error))?;
    Ok(match form {
        Form::Pprof => file("profile.pb.gz", written),
        Form::Svg => answer(SVG, written),
        Form::Otlp => answer("application/x-protobuf", written),
        Form::Folded => answer(TEXT, written),
    })
}

/// Whether the recorder runs, and whom it knows; `frame_pointers` is null until a process has been seen often enough to tell.
pub async fn profiler(State(rooms): Ctx) -> Json<Value> {
    let Some(archive) = &rooms.archive else { return Json(json!({"running": false, "note": rooms.profiler_note, "processes": []})) };
    let (samples, span_ns) = archive.extent();
    let of_services = |facts: &geophone_profiler_ebpf::Facts| !facts.identity.service.is_empty() || facts.has_context;
    let processes: Vec<Value> = archive
        .processes()
        .into_iter()
        .filter(of_services)
        .map(|facts| {
            json!({
                "pid": facts.pid, "name": facts.name, "service": facts.identity.service, "instance": facts.identity.instance,
                "thread_context": facts.has_context, "frame_pointers": facts.is_judged.then_some(!facts.needs_snapshot),
            })
        })
        .collect();
    Json(json!({
        "running": true, "note": "", "samples": samples, "seconds": span_ns / 1_000_000_000, "bytes": archive.bytes(), "processes": processes,
    }))
}
