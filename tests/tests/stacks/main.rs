//! Stacks on flagged spans without our own recorder: profiles that others send, and a recorded session.

mod sender;

use geophone_proto::UnixNanos;
use geophone_tests::server::{Server, eventually};
use sender::{Call, SLOW_FROM, Service};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs};

/// Its profiles name spans.
const TILL: Service = Service { name: "till", pid: 41 };
/// Its profiles name the process only.
const KIOSK: Service = Service { name: "kiosk", pid: 42 };
/// Exports leave together.
const PIECE: u64 = 5;

/// Lets a service be well, then slow, and calls `also` with every piece before its spans are sent.
fn turn_slow(server: &Server, services: &[Service], also: impl Fn(&Service, &[Call])) {
    for piece in 0..(SLOW_FROM + 240) / PIECE {
        for service in services {
            let calls = service.calls(piece * PIECE..(piece + 1) * PIECE);
            also(service, &calls);
            service.send(server, &calls);
        }
    }
}

/// The anomaly of a service that has stacks.
fn with_stacks(server: &Server, service: &str) -> Value {
    eventually("an anomaly has stacks", || {
        let list = server.get(&format!("/api/v1/anomalies?service={service}"));
        list["items"].as_array()?.iter().find(|anomaly| !anomaly["stacks"].is_null()).cloned()
    })
}

/// Scenario: two services turn slow in one function; a profiler of another make sends profiles by OTLP, of the one with
/// links to spans, of the other with the process's number only.
/// Guarantees: both anomalies have stacks, by span and by process; the slow function leads the difference; the folded
/// text and the flame graph are there.
#[test]
fn profiles_of_others_are_attached() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &["--durability", "os"]);
    turn_slow(&server, &[TILL, KIOSK], |service, calls| service.send_profile(&server, calls, service.name == "till"));
    for (service, link) in [("till", "span"), ("kiosk", "process")] {
        let anomaly = with_stacks(&server, service);
        let (id, stacks) = (anomaly["id"].as_str().expect("an id"), &anomaly["stacks"]);
        assert_eq!(stacks["link"], link, "{service}: {stacks}");
        assert_eq!(stacks["spans"], stacks["spans_flagged"], "{stacks}");
        let first = &stacks["top"][0];
        assert_eq!((&first["function"], &first["state"]), (&json!("try_every_voucher"), &json!("on_cpu")), "{stacks}");
        let time = |name: &str| first[name].as_u64().expect("a number");
        assert!(time("total_ns") >= 52_000_000 && time("baseline_total_ns") == 0, "{first}");
        let folded = server.text(&format!("/api/v1/anomalies/{id}/folded"));
        assert!(folded.contains(";[on_cpu];serve;add_up_basket;try_every_voucher "), "{folded}");
        assert!(server.text(&format!("/api/v1/anomalies/{id}/flamegraph")).contains("try_every_voucher"));
    }
    assert_eq!(server.stop(), Some(0));
}

/// Samples of a session as a recorder of ours notes them.
fn session(calls: &[Call]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = String::new();
    for call in calls {
        let hot = if call.is_slow { "wait_for_printer" } else { "add_up_basket" };
        let sample = json!({
            "at": UnixNanos(call.start_ns + call.length_ns / 2), "weight_ns": call.length_ns / 2, "state": if call.is_slow { "blocked" } else { "on_cpu" },
            "service": "till", "process": "till", "pid": 41, "tid": 7,
            "trace_id": hex(&call.trace_id), "span_id": hex(&call.span_id),
            "stack": [{"function": "serve"}, {"function": hot, "file": "till.rs", "line": 12}],
        });
        writeln!(text, "{sample}").expect("memory");
    }
    text
}

/// Scenario: a server answers from a recorded session and exports to a second server, which has no profiler.
/// Guarantees: the anomaly's stacks are in the table `profiles` of the first, each sample once and linked to its span, and
/// arrive in the second likewise.
#[test]
fn stacks_of_our_own_are_stored_and_exported_with_links() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Server::start(&folder.path().join("receiver"), &["--durability", "os"]);
    let (config, recording) = (folder.path().join("geophone.yaml"), folder.path().join("session.jsonl"));
    fs::write(&recording, session(&TILL.calls(SLOW_FROM - 300..SLOW_FROM + 240))).expect("written");
    let export = json!({"endpoint": receiver.otlp_http, "protocol": "http", "headers": ["x-from: till"]});
    fs::write(&config, json!({"profiler": {"recording": recording, "export": export}}).to_string()).expect("written");
    let server = Server::start(&folder.path().join("data"), &["--config", config.to_str().expect("a plain path"), "--durability", "os"]);
    turn_slow(&server, &[TILL], |_, _| {});
    let stacks = with_stacks(&server, "till")["stacks"].clone();
    assert_eq!((&stacks["link"], &stacks["top"][0]["function"]), (&json!("span"), &json!("wait_for_printer")), "{stacks}");
    let sql = "SELECT COUNT(*), COUNT(DISTINCT span_id), SUM(value) FROM profiles WHERE sample_type = 'off_cpu' AND unit = 'nanoseconds' \
               AND stack = 'serve;wait_for_printer' AND trace_id != '' AND service = 'till' AND scope = 'geophone'";
    let number = |row: &[Value], place: usize| row[place].as_u64().unwrap_or(0);
    let blocked_ns = stacks["blocked_ns"].as_u64().expect("a number");
    let stored = eventually("stacks are stored", || server.query(sql).pop().filter(|row| number(row, 2) >= blocked_ns.max(1)));
    // Several series of the operation ask for the same spans.
    assert_eq!(number(&stored, 0), number(&stored, 1), "each sample once: {stored:?}");
    eventually("the other server has the same", || (server.query(sql) == receiver.query(sql)).then_some(()));
    assert_eq!(server.stop(), Some(0));
}
