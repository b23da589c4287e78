//! Rows as the table gives them, and what becomes of them.

use super::*;
use serde_json::json;

fn request() -> StackRequest {
    let span = |number: u8, start: u64| WantedSpan {
        trace_id: TraceId([number; 16]),
        span_id: SpanId([number; 8]),
        start: UnixNanos(start),
        end: UnixNanos(start + 100),
    };
    StackRequest {
        anomaly_id: "a".into(),
        service: "car't".into(),
        instance: String::new(),
        flagged: vec![span(1, 100), span(2, 5_000_000_000)],
        baseline: vec![span(3, 150)],
        places: Vec::new(),
    }
}

fn whereabouts() -> Whereabouts {
    let home = |resource| Home::of(&resource, &json!({}));
    let homes = vec![home(json!({"process.pid": 7, "host.name": "node", "service.instance.id": "i", "container.id": "c"}))];
    Whereabouts { places: Vec::new(), homes, tenant: Some("shop".into()) }
}

fn row(service: &str, ids: (&str, &str), resource: Value) -> Vec<Value> {
    let (trace, span) = ids;
    let observations = json!("[[120,2],[140,1]]");
    vec![
        json!(120),
        json!(50),
        json!(10),
        json!("samples"),
        json!("count"),
        json!(3),
        observations,
        json!("main;hot"),
        json!(trace),
        json!(span),
        json!(service),
        json!("profiler"),
        json!({"thread.id": 9}),
        resource,
    ]
}

fn samples(row: &[Value]) -> Vec<Sample> {
    let mut samples = Vec::new();
    Row::read(row).expect("a row").add_to(&mut samples, &request(), &whereabouts());
    samples
}

#[test]
fn a_linked_row_is_a_sample_at_each_of_its_times() {
    let found =
        samples(&row("", ("01010101010101010101010101010101", "0101010101010101"), json!({"process.executable.path": "/opt/till"})));
    assert_eq!(found.iter().map(|sample| (sample.at.0, sample.weight_ns)).collect::<Vec<_>>(), [(120, 20), (140, 10)]);
    let first = &found[0];
    assert_eq!((first.span_id, first.trace_id, first.tid), (Some(SpanId([1; 8])), Some(TraceId([1; 16])), 9));
    assert_eq!((first.process.as_str(), first.service.as_str()), ("till", "car't"));
    assert_eq!(first.stack.iter().map(|frame| frame.function.as_str()).collect::<Vec<_>>(), ["main", "hot"]);
}

#[test]
fn without_links_the_process_must_be_one_of_the_spans() {
    let known = samples(&row("unknown_service", ("", ""), json!({"process.pid": 7})));
    assert_eq!((known[0].pid, known[0].instance.as_str()), (7, "i"));
    let same_container = samples(&row("unknown_service", ("", ""), json!({"process.pid": 4711, "container.id": "c"})));
    assert_eq!((same_container[0].pid, same_container[0].instance.as_str()), (7, "i"), "its number inside the container counts");
    assert!(samples(&row("unknown_service", ("", ""), json!({"process.pid": 7, "host.name": "elsewhere"}))).is_empty());
    let elsewhere = samples(&row("car't", ("", ""), json!({"process.pid": 7, "host.name": "elsewhere"})));
    assert_eq!(elsewhere[0].pid, 0, "the service is right, the process is not known to be");
}

#[test]
fn questions_are_bounded_and_quoted() {
    let (linked, by_time) = (linked(&request(), &whereabouts()).expect("there are spans"), by_time(&request(), &whereabouts()));
    assert!(linked.contains("span_id IN ('0101010101010101', '0202020202020202', '0303030303030303')"), "{linked}");
    assert!(by_time.contains("service = 'car''t'") && by_time.contains("tenant = 'shop'"), "{by_time}");
    assert!(by_time.contains("(time_ns <= 250 AND time_ns + duration_ns >= 100) OR (time_ns <= 5000000100"), "{by_time}");
}
