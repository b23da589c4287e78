//! The API against a view, without network or any other room.

use super::*;
use crate::{
    view::{Limits, View},
    wiring::{Submission, Submitter},
};
use axum::{body::Body, http::Request};
use geophone_proto::{
    Effect, RecordBody, Seq, Series, SeriesKind, Tenant, UnixNanos,
    action::{Action, ActionState, Operation},
    anomaly::{Anomaly, AttributeShare, AttributeSource, Maturity, State},
    incident::{Incident, Severity, Suspect, TimelineEvent},
    model::ModelRef,
};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::mpsc::Receiver;

fn incident(id: &str, opened: u64, state: State) -> Incident {
    Incident {
        id: id.into(),
        tenant: Tenant::default(),
        state,
        started_at: UnixNanos(opened),
        opened_at: UnixNanos(opened),
        closed_at: (state == State::Closed).then_some(UnixNanos(opened + 5)),
        severity: Severity::Warning,
        title: "payment is slow".into(),
        verdict: "v".into(),
        suspects: vec![Suspect { service: "payment".into(), operation: "Charge".into(), confidence: 0.5, evidence: vec!["e".into()] }],
        anomalies: vec!["a1".into()],
        actions: vec!["x1".into()],
        services: vec!["web".into()],
        attributes: Vec::new(),
        maturity: geophone_proto::anomaly::Maturity::Provisional,
        timeline: vec![TimelineEvent { at: UnixNanos(opened), event: "opened".into(), detail: "d".into() }],
    }
}

fn series() -> Series {
    Series::new(Tenant::default(), "payment", "Charge", SeriesKind::DurationP95, BTreeMap::new())
}

fn anomaly(id: &str, score: f32) -> Anomaly {
    Anomaly {
        id: id.into(),
        incident_id: Some("i1".into()),
        series: series(),
        state: State::Open,
        opened_at: UnixNanos(10),
        started_at: UnixNanos(5),
        closed_at: None,
        actual: Some(1.5),
        expected: None,
        lower: None,
        upper: Some(1.0),
        score,
        evidence_count: 3,
        maturity: Maturity::Calibrated,
        raw: None,
        raw_baseline: None,
        contributions: vec![],
        attributes: vec![AttributeShare {
            key: "region".into(),
            value: "eu-1".into(),
            source: AttributeSource::Row,
            share: 0.9,
            baseline_share: 0.25,
            score_without: 0.2,
            outcome: false,
        }],
        model: ModelRef::default(),
        exemplars: vec![],
        stacks: None,
    }
}

fn action(state: ActionState) -> Action {
    Action {
        id: "x1".into(),
        incident_id: "i1".into(),
        policy: "restart".into(),
        state,
        operation: Operation::Throttle {
            service: String::new(),
            delay: std::time::Duration::from_secs(1),
            lasting: std::time::Duration::from_secs(2),
        },
        undo: None,
        reason: "r".into(),
        decided_at: UnixNanos(11),
        verify_until: None,
        output: String::new(),
    }
}

struct House {
    rooms: Arc<Rooms>,
    submissions: Receiver<Submission>,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl House {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// With something more in it.
    fn with(more: impl FnOnce(&mut Rooms)) -> Self {
        let view = View::new(Limits { incidents: 100, anomalies: 100, actions: 100, series: 100, points: 1_000, points_per_series: 100 });
        view.apply(&Effect::SeriesSeen(series().into()));
        view.apply(&Effect::Incident(Box::new(incident("i1", 1_000, State::Open))));
        view.apply(&Effect::Incident(Box::new(incident("i2", 2_000, State::Closed))));
        view.apply(&Effect::Anomaly(Box::new(anomaly("a1", 0.9))));
        view.apply(&Effect::Anomaly(Box::new(anomaly("a2", 0.4))));
        view.apply(&Effect::Action(Box::new(action(ActionState::AwaitingApproval))));
        let (submitter, submissions) = Submitter::new(4);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut rooms = Rooms::new(Arc::new(view), submitter, stopped);
        rooms.query = Arc::new(|sql| Ok(Answer { columns: vec!["sql".into()], rows: vec![vec![sql.into()]] }));
        rooms.pulse.set_caught_up(true);
        rooms.metrics = Arc::new(|| "geophone_up 1\n".into());
        more(&mut rooms);
        Self { rooms: Arc::new(rooms), submissions, _stop: stop }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080").body(Body::from(body.to_owned()));
        self.send(request.expect("a request")).await
    }

    async fn send(&self, request: Request<Body>) -> (u16, String, Value) {
        let service = TowerToHyperService::new(router(self.rooms.clone()));
        let answer = service.call(request).await.expect("routers do not fail");
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().expect("ascii")).to_owned();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        (status, kind, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }

    async fn ids(&self, path: &str) -> Vec<String> {
        let (status, _, answer) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {answer}");
        let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
        answer["items"].as_array().expect("items").iter().map(id).collect()
    }
}

// Scenario: two incidents, two anomalies, every filter once.
// Guarantees: a filter keeps what matches and nothing else.
#[tokio::test]
async fn lists_filter() {
    let house = House::new();
    for (path, expected) in [
        ("/api/v1/incidents", &["i2", "i1"][..]),
        ("/api/v1/incidents?state=open", &["i1"]),
        ("/api/v1/incidents?service=payment&limit=1", &["i2"]),
        ("/api/v1/incidents?service=elsewhere", &[]),
        ("/api/v1/incidents?to=1500", &["i1"]),
        ("/api/v1/incidents?from=1970-01-01T00:00:01Z", &["i1"]),
        ("/api/v1/incidents?severity=critical", &[]),
        ("/api/v1/anomalies?min_score=0.5", &["a1"]),
        ("/api/v1/anomalies?incident_id=i9", &[]),
        ("/api/v1/actions?state=awaiting_approval&incident_id=i1", &["x1"]),
    ] {
        assert_eq!(house.ids(path).await, expected, "{path}");
    }
    let key = series().key;
    assert_eq!(house.ids(&format!("/api/v1/anomalies?series={key}")).await.len(), 2);
}

// Scenario: the brain has seen half a week; twelve incidents opened, two of them beyond doubt.
// Guarantees: promised stands against real, those left out.
#[tokio::test]
async fn promised_stands_against_real() {
    let house = House::new();
    let budget = geophone_proto::effect::BudgetState {
        promised_per_week: 20.0,
        promised: 10.0,
        opened: 12,
        confirmed: 2,
        weeks: 0.5,
        ..Default::default()
    };
    house.rooms.view.apply(&Effect::Budget(budget));
    let (_, _, status) = house.ask("GET", "/api/v1/status", "").await;
    assert_eq!((&status["budget"]["promised_per_week"], &status["budget"]["opened_per_week"]), (&json!(20.0), &json!(20.0)));
    assert_eq!(status["series_known"], json!({"learning": 1, "provisional": 0, "calibrated": 0}));
}

#[tokio::test]
async fn cursors_lead_through_the_whole_list() {
    let house = House::new();
    let (_, _, first) = house.ask("GET", "/api/v1/incidents?limit=1", "").await;
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    let (_, _, second) = house.ask("GET", &format!("/api/v1/incidents?limit=1&cursor={cursor}"), "").await;
    assert_eq!((&second["items"][0]["id"], &second["next_cursor"]), (&json!("i1"), &Value::Null));
}

// Scenario: wrong paths, methods, parameters, bodies.
// Guarantees: every error is problem JSON with its status and a reason.
#[tokio::test]
async fn every_error_is_a_problem() {
    let house = House::new();
    let long = format!("{{\"sql\": \"{}\"}}", "x".repeat(2 << 20));
    for (method, path, body, expected) in [
        ("GET", "/api/v1/nothing", "", 404),
        ("GET", "/api/v1/incidents/none", "", 404),
        ("GET", "/api/v1/series/xyz", "", 404),
        ("GET", "/api/v1/models/none", "", 404),
        ("GET", "/api/v1/models?cursor=zzz", "", 400),
        ("GET", "/api/v1/models?limit=0", "", 400),
        ("GET", "/assets/none.js", "", 404),
        ("DELETE", "/api/v1/incidents", "", 405),
        ("GET", "/api/v1/query", "", 405),
        ("GET", "/api/v1/incidents?limit=0", "", 400),
        ("GET", "/api/v1/incidents?limit=many", "", 400),
        ("GET", "/api/v1/incidents?cursor=zzz", "", 400),
        ("GET", "/api/v1/incidents?stat=open", "", 400),
        ("GET", "/api/v1/incidents?state=ajar", "", 400),
        ("GET", "/api/v1/incidents?from=yesterday", "", 400),
        ("GET", "/api/v1/incidents?from=9&to=1", "", 400),
        ("GET", "/api/v1/anomalies?min_score=2", "", 400),
        ("POST", "/api/v1/query", "SELECT 1", 400),
        ("POST", "/api/v1/query", "{\"sql\": 1}", 400),
        ("POST", "/api/v1/query", &long, 413),
        ("POST", "/api/v1/actions/x1:explode", "", 404),
        ("POST", "/api/v1/actions/none:approve", "", 404),
    ] {
        let (status, kind, problem) = house.ask(method, path, body).await;
        assert_eq!((status, &*kind), (expected, "application/problem+json"), "{method} {path}: {problem}");
        assert_eq!(problem["status"], expected);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let house = House::new();
    let request = Request::builder().uri("/api/v1/incidents").header("host", "evil.example").body(Body::empty());
    assert_eq!(house.send(request.expect("a request")).await.0, 421);
    let write =
        Request::builder().method("POST").uri("/api/v1/query").header("host", "localhost:8080").header("origin", "http://evil.example");
    assert_eq!(house.send(write.body(Body::from("{\"sql\": \"SELECT 1\"}")).expect("a request")).await.0, 403);
}

// Scenario: an action waits, a person approves it, twice with the same key.
// Guarantees: the decision goes through the log once, and the answer shows what became of it.
#[tokio::test]
async fn an_approval_goes_through_the_log() {
    let mut house = House::new();
    let view = house.rooms.view.clone();
    let mut submissions = std::mem::replace(&mut house.submissions, Submitter::new(1).1);
    let log = tokio::spawn(async move {
        let submission = submissions.recv().await.expect("a decision");
        let RecordBody::Decided(decision) = submission.body else { panic!("no decision: {:?}", submission.body) };
        submission.done.send(Ok(Seq(1))).expect("somebody waits");
        view.apply(&Effect::Action(Box::new(action(ActionState::Running))));
        (decision, submissions)
    });
    let approve =
        || Request::builder().method("POST").uri("/api/v1/actions/x1:approve").header("host", "127.0.0.1").header("idempotency-key", "k");
    let (status, _, shown) = house.send(approve().body(Body::empty()).expect("a request")).await;
    assert_eq!((status, &shown["state"]), (200, &json!("running")));
    let (decision, mut submissions) = log.await.expect("the log ran");
    assert!(decision.approved && decision.action_id == "x1");
    let (status, _, _) = house.send(approve().body(Body::empty()).expect("a request")).await;
    assert_eq!(status, 200);
    assert!(submissions.try_recv().is_err(), "decided twice");
    let (status, _, _) = house.ask("POST", "/api/v1/actions/x1:reject", "").await;
    assert_eq!(status, 409);
}

// Guarantees: the document lists exactly the routes that are served, and each of them answers.
#[tokio::test]
async fn the_document_is_the_table_of_routes() {
    let house = House::new();
    let (_, _, document) = house.ask("GET", "/api/v1/openapi.json", "").await;
    let mut listed = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        listed.extend(methods.as_object().expect("methods").keys().map(|method| (method.clone(), path.clone())));
    }
    let mut served: Vec<(String, String)> = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    listed.sort();
    served.sort();
    assert_eq!(listed, served);
    for (method, path) in served {
        if path == "/api/v1/stream" || path.contains(':') {
            continue;
        }
        let key = series().key.to_string();
        let id = if path.contains("incidents") {
            "i1"
        } else if path.contains("anomalies") {
            "a1"
        } else {
            "x1"
        };
        let real = path.replace("{id}", id).replace("{key}", &key).replace("{name}", "default");
        let (status, _, answer) = house.ask(&method.to_uppercase(), &real, "{\"sql\": \"SELECT 1\"}").await;
        // No recorder runs here, and the anomaly has no stacks.
        let has_no_stacks = ["folded", "pprof", "flamegraph"].iter().any(|end| path.ends_with(end));
        let expected: &[u16] = if path.ends_with("readyz") || (&*method, &*path) == ("get", "/api/v1/profile") {
            &[503]
        } else if path.contains("/versions") || path == "/api/v1/profile" || path.contains("/spans/") || path.contains("/traces/") {
            // The id is none of theirs.
            &[400]
        } else if path.contains("{name}") || has_no_stacks {
            &[404]
        } else {
            &[200]
        };
        assert!(expected.contains(&status), "{method} {real}: {status} {answer}");
        let schema = &document["paths"][&*path][&*method]["responses"]["200"]["content"];
        let Some(name) = schema["application/json"]["schema"]["$ref"].as_str() else { continue };
        if status == 200 {
            conforms(&document, &document["components"]["schemas"][name.rsplit('/').next().expect("a name")], &answer, &path);
        }
    }
}

/// A house in which one span is stored, and somebody answers for its stacks, or nobody.
fn house_of_a_span(stacks: Option<geophone_proto::stacks::Stacks>) -> House {
    let (asked, mut questions) = tokio::sync::mpsc::channel::<crate::stacks::Asked>(1);
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let answer = geophone_proto::stacks::StackAnswer {
                anomaly_id: question.request.anomaly_id,
                stacks: stacks.clone(),
                folded_text: "till;[on_cpu];hot 5\n".into(),
                baseline_text: "till;[on_cpu];usual 2\n".into(),
                note: "no sample falls into it".into(),
            };
            question.reply.send(answer).expect("the asker waits");
        }
    });
    House::with(|rooms| {
        rooms.asked = Some(asked);
        rooms.query = Arc::new(|sql| {
            let row =
                || vec![json!("ab".repeat(16)), json!("cd".repeat(8)), json!("default"), json!("till"), json!("GET /"), json!(7), json!(3)];
            let is_known = sql.contains(&"cd".repeat(8)) || sql.contains(&"ab".repeat(16));
            Ok(Answer { columns: Vec::new(), rows: if is_known && !sql.contains("<>") { vec![row()] } else { Vec::new() } })
        });
    })
}

// Scenario: stacks of a span and of a trace are asked for: where there are some, where there are none, of ids that are none.
// Guarantees: the answers have the documented shapes, lead to the span's own files, and say why there is nothing.
#[tokio::test]
async fn stacks_of_a_span_are_there_on_request() {
    let stacks = geophone_proto::stacks::Stacks {
        link: geophone_proto::stacks::LinkClass::Span,
        spans_flagged: 1,
        spans: 1,
        samples: 1,
        on_cpu_ns: 5,
        blocked_ns: 0,
        waiting_ns: 0,
        culprit: None,
        top: Vec::new(),
        folded: String::new(),
        pprof: String::new(),
    };
    let (house, empty, document) = (house_of_a_span(Some(stacks)), house_of_a_span(None), document());
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let (span, trace) = (format!("/api/v1/spans/{}", "cd".repeat(8)), format!("/api/v1/traces/{}/stacks", "ab".repeat(16)));
    let (status, _, answer) = house.ask("GET", &format!("{span}/stacks"), "").await;
    assert_eq!((status, &answer["stacks"]["folded"]), (200, &json!(format!("{span}/folded"))), "{answer}");
    conforms(&document, &schema("SpanStacks"), &answer, "span");
    let (status, _, answer) = house.ask("GET", &trace, "").await;
    assert_eq!((status, answer["items"].as_array().map(Vec::len), &answer["is_whole"]), (200, Some(1), &json!(true)), "{answer}");
    conforms(&document, &schema("TraceStacks"), &answer, "trace");
    for (end, status) in
        [("folded?of=normal", 200), ("pprof", 200), ("flamegraph?state=on_cpu", 200), ("flamegraph?state=x", 400), ("stacks?x=1", 400)]
    {
        assert_eq!(house.ask("GET", &format!("{span}/{end}"), "").await.0, status, "{end}");
    }
    let (status, _, answer) = empty.ask("GET", &format!("{span}/stacks"), "").await;
    assert_eq!((status, &answer["stacks"]), (200, &Value::Null), "{answer}");
    assert!(answer["note"].as_str().is_some_and(|note| note.contains("no sample")), "{answer}");
    assert_eq!(empty.ask("GET", &format!("{span}/folded"), "").await.0, 404);
    for (path, status) in
        [("/api/v1/spans/0000000000000001/stacks", 404), ("/api/v1/spans/xyz/stacks", 400), ("/api/v1/traces/1/stacks", 400)]
    {
        assert_eq!(house.ask("GET", path, "").await.0, status, "{path}");
    }
}

// Scenario: profiles by hand asked for wrongly, where there is no profiler, and while another is recorded.
// Guarantees: each refusal says which; nobody waits.
#[tokio::test]
async fn profiles_by_hand_are_bounded() {
    let house = House::new();
    let fine =
        [("/api/v1/profile", r#"{"all": true, "seconds": 1, "output": "svg"}"#), ("/api/v1/profile:attach", r#"{"uprobe": "/bin/x:f"}"#)];
    let wrong = [
        ("/api/v1/profile", "{}"),
        ("/api/v1/profile", r#"{"pid": 1, "all": true}"#),
        ("/api/v1/profile", r#"{"all": true, "seconds": 61}"#),
        ("/api/v1/profile", r#"{"all": true, "seconds": 0}"#),
        ("/api/v1/profile", r#"{"all": true, "frequency": 18}"#),
        ("/api/v1/profile", r#"{"all": true, "output": "gif"}"#),
        ("/api/v1/profile", r#"{"all": true, "colour": "red"}"#),
        ("/api/v1/profile:attach", r#"{"uprobe": "libc.so.6:malloc"}"#),
        ("/api/v1/profile:attach", r#"{"uprobe": "/bin/x:"}"#),
    ];
    for (path, body) in wrong {
        assert_eq!(house.ask("POST", path, body).await.0, 400, "{path} {body}");
    }
    for (path, body) in fine {
        let (status, _, answer) = house.ask("POST", path, body).await;
        assert_eq!((status, answer["detail"].as_str()), (503, Some("no profiler was started")), "{path}");
    }
    let busy = Rooms::new(house.rooms.view.clone(), house.rooms.submitter.clone(), house.rooms.stop.clone());
    let busy = House { rooms: Arc::new(Rooms { recordings: Some(Arc::new(tokio::sync::Semaphore::new(0))), ..busy }), ..House::new() };
    for (path, body) in fine {
        assert_eq!(busy.ask("POST", path, body).await.0, 429, "{path}");
    }
}

/// Every key of a value is described and every described key is there, all the way down.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return conforms(document, &document["components"]["schemas"][name.rsplit('/').next().expect("a name")], value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return if value.is_null() {
            assert_eq!(choices[1]["type"], "null", "{place}")
        } else {
            conforms(document, &choices[0], value, place)
        };
    }
    if schema.get("type").is_none() {
        return;
    }
    match (value, &schema["properties"]) {
        (Value::Object(fields), Value::Object(properties)) => {
            let keys: Vec<&String> = fields.keys().collect();
            let described: Vec<&String> = properties.keys().collect();
            assert_eq!(keys, described, "{place}");
            fields.iter().for_each(|(key, value)| conforms(document, &properties[key], value, &format!("{place}.{key}")));
        }
        (Value::Array(items), _) => items.iter().for_each(|item| conforms(document, &schema["items"], item, &format!("{place}[]"))),
        (Value::String(_), _) => assert_eq!(schema["type"], "string", "{place}"),
        (Value::Number(_), _) => assert!(schema["type"] == "number" || schema["type"] == "integer", "{place}"),
        _ => {}
    }
}

#[tokio::test]
async fn listeners_are_told_of_changes() {
    let house = House::new();
    let request = Request::builder().uri("/api/v1/stream").header("host", "127.0.0.1").body(Body::empty()).expect("a request");
    let service = TowerToHyperService::new(router(house.rooms.clone()));
    let mut answer = service.call(request).await.expect("routers do not fail");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    house.rooms.view.apply(&Effect::Incident(Box::new(incident("i3", 3, State::Open))));
    let mut heard = String::new();
    while !heard.contains("i3") {
        let frame = answer.body_mut().frame().await.expect("goes on").expect("no error");
        heard.push_str(std::str::from_utf8(&frame.into_data().expect("data")).expect("text"));
    }
    assert!(heard.contains("event: incident"), "{heard}");
}

#[tokio::test]
async fn the_page_is_served_at_each_of_its_addresses() {
    let house = House::new();
    for path in ["/", "/incidents/i1", "/anomalies/a1", "/series/00", "/query"] {
        let (status, kind, _) = house.ask("GET", path, "").await;
        assert_eq!((status, &*kind), (200, "text/html; charset=utf-8"), "{path}");
    }
    let (status, kind, script) = house.ask("GET", "/assets/app.js", "").await;
    assert_eq!((status, &*kind), (200, "text/javascript; charset=utf-8"));
    assert!(script.as_str().is_some_and(|text| text.contains("import")));
}
