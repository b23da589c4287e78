//! A server that answers from a recorded session: what it keeps and exports, and what it tells of one span on request.

use crate::{
    TILL,
    browser::Browser,
    sender::{Call, SLOW_FROM},
    turn_slow, with_stacks,
};
use geophone_proto::UnixNanos;
use geophone_tests::{
    certificate::Authority,
    place,
    server::{Server, agent, eventually, free_port},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Samples of a session as a recorder of ours notes them.
fn session(calls: &[Call]) -> String {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server that answers from a session of these calls, and has their spans.
fn answering(folder: &Path, calls: &[Call], mut settings: Value) -> Server {
    let (config, recording) = (folder.join("geophone.yaml"), folder.join("session.jsonl"));
    fs::create_dir_all(folder).and_then(|()| fs::write(&recording, session(calls))).expect("written");
    settings["recording"] = json!(recording);
    fs::write(&config, json!({"profiler": settings}).to_string()).expect("written");
    let server = Server::start(&folder.join("data"), &["--config", config.to_str().expect("a plain path"), "--durability", "os"]);
    TILL.send(&server, calls);
    server
}

/// Scenario: nothing is wrong; somebody asks for the stacks of a slow span, of its trace, of a span that is not there; by the
/// API and in a browser.
/// Guarantees: the span has its own stacks, against normal spans of its operation; folded text, pprof and flame graph are
/// there; the page shows them; what is not there is said.
#[test]
fn any_span_has_its_stacks_on_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let calls = TILL.calls(SLOW_FROM - 20..SLOW_FROM + 2);
    let server = answering(folder.path(), &calls, json!({}));
    let slow = calls.iter().find(|call| call.is_slow).expect("the last ones are slow");
    let (span, trace) = (hex(&slow.span_id), hex(&slow.trace_id));
    let path = format!("/api/v1/spans/{span}");
    let answer = eventually("the span is stored", || {
        let answer = server.get(&format!("{path}/stacks"));
        (!answer["stacks"].is_null()).then_some(answer)
    });
    let stacks = &answer["stacks"];
    assert_eq!((&answer["span"]["service"], &answer["span"]["trace_id"]), (&json!("till"), &json!(trace)), "{answer}");
    assert_eq!((&stacks["link"], &stacks["samples"], &stacks["spans"]), (&json!("span"), &json!(1), &json!(1)), "{answer}");
    assert_eq!(
        (&stacks["culprit"]["function"], &stacks["blocked_ns"]),
        (&json!("wait_for_printer"), &json!(slow.length_ns / 2)),
        "{answer}"
    );
    assert!(server.text(&format!("{path}/folded?of=normal")).contains(";[on_cpu];serve;add_up_basket "), "normal spans are there too");
    assert!(server.text(&format!("{path}/folded")).contains(";[blocked];serve;wait_for_printer "));
    assert!(server.text(&format!("{path}/flamegraph?state=blocked")).contains("wait_for_printer"));
    let packed = agent().get(format!("http://{}{path}/pprof", server.http)).call().expect("an answer").body_mut().read_to_vec();
    assert_eq!(packed.expect("bytes")[..2], [0x1f, 0x8b]);
    let whole = server.get(&format!("/api/v1/traces/{trace}/stacks"));
    assert_eq!((&whole["items"][0]["span"]["span_id"], &whole["items"][0]["stacks"]["link"]), (&json!(span), &json!("span")), "{whole}");
    assert_eq!(server.get("/api/v1/spans/00000000000000ff/stacks")["status"], 404);
    if let Some(browser) = Browser::find() {
        for (path, wanted) in [
            (format!("/spans/{span}"), &["linked by span", "wait_for_printer", "off CPU: blocked", "More than normal"][..]),
            (format!("/traces/{trace}"), &["till POST /checkout", "wait_for_printer"][..]),
            ("/stacks".to_owned(), &["Id of a span or a trace", "the recorded session"][..]),
        ] {
            let shown = browser.open(&format!("http://{}{path}", server.http));
            assert!(shown.console.is_empty(), "{path} wrote to the console: {:?}", shown.console);
            assert!(wanted.iter().all(|text| shown.has(text)), "{path}: {}", shown.document);
        }
    }
    assert_eq!(server.stop(), Some(0));
}

/// Scenario: stacks that were asked for are exported by gRPC and by HTTP, each plain and with TLS, to a receiver that holds a
/// certificate of an authority of its own.
/// Guarantees: the sample arrives by each way, linked to its span.
#[test]
fn profiles_are_exported_by_every_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("house");
    let identity = authority.issue("receiver");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let (ca, cert, key) = (file("ca.pem", &authority.cert), file("cert.pem", &identity.cert), file("key.pem", &identity.key));
    let tls = json!({"tls": {"cert_file": cert, "key_file": key}});
    let config = file("receiver.yaml", &json!({"receivers": {"otlp": {"protocols": {"grpc": tls, "http": tls}}}}).to_string());
    let receiver = |name: &str, arguments: &[&str]| Server::start(&folder.path().join(name), arguments);
    let open = receiver("open", &["--durability", "os"]);
    let closed = receiver("closed", &["--durability", "os", "--config", config.to_str().expect("a plain path")]);
    let calls = TILL.calls(SLOW_FROM..SLOW_FROM + 1);
    let span = hex(&calls[0].span_id);
    let sql = format!(
        "SELECT COUNT(*) FROM profiles WHERE span_id = '{span}' AND trace_id = '{}' AND scope = 'geophone'",
        hex(&calls[0].trace_id)
    );
    for (protocol, receiver) in [("grpc", &open), ("http", &open), ("grpc", &closed), ("http", &closed)] {
        let (before, is_open) = (receiver.count(&sql), receiver.http == open.http);
        let place = if protocol == "grpc" { &receiver.grpc } else { &receiver.otlp_http };
        let endpoint = format!("{}://{place}", if is_open { "http" } else { "https" });
        let export = if is_open {
            json!({"endpoint": endpoint, "protocol": protocol})
        } else {
            json!({"endpoint": endpoint, "protocol": protocol, "ca_file": ca})
        };
        let server = answering(&folder.path().join(format!("{protocol}-{is_open}")), &calls, json!({"export": export}));
        eventually("the span is stored", || (!server.get(&format!("/api/v1/spans/{span}/stacks"))["stacks"].is_null()).then_some(()));
        eventually(&format!("it arrives by {endpoint}, {protocol}"), || (receiver.count(&sql) > before).then_some(()));
        assert_eq!(server.stop(), Some(0));
    }
}

/// A Collector that takes profiles and writes them to a file. Killed when dropped.
struct Collector(Child);

impl Collector {
    fn start(binary: &Path, folder: &Path, endpoint: &str) -> Self {
        let config = folder.join("collector.yaml");
        let text = json!({
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": endpoint}}}},
            "exporters": {"file": {"path": folder.join("profiles.jsonl")}},
            "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": {"profiles": {"receivers": ["otlp"], "exporters": ["file"]}}},
        });
        fs::write(&config, text.to_string()).expect("written");
        let mut command = Command::new(binary);
        command.arg("--feature-gates=service.profilesSupport").arg("--config").arg(&config);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the Collector starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Everything is ready")), "the Collector did not become ready");
        // So that it never blocks on its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Scenario: stacks that were asked for are exported to an OpenTelemetry Collector.
/// Guarantees: it takes them, and writes them with their functions and the link to their span.
#[test]
fn a_collector_takes_our_profiles() {
    let Some(binary) = place::peer("collector") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let endpoint = format!("127.0.0.1:{}", free_port());
    let _collector = Collector::start(&binary, folder.path(), &endpoint);
    let calls = TILL.calls(SLOW_FROM..SLOW_FROM + 1);
    let (span, trace) = (hex(&calls[0].span_id), hex(&calls[0].trace_id));
    let server =
        answering(&folder.path().join("ours"), &calls, json!({"export": {"endpoint": format!("http://{endpoint}"), "protocol": "grpc"}}));
    eventually("the span is stored", || (!server.get(&format!("/api/v1/spans/{span}/stacks"))["stacks"].is_null()).then_some(()));
    eventually("the Collector has written it", || {
        let text = fs::read_to_string(folder.path().join("profiles.jsonl")).unwrap_or_default();
        [&span, &trace, "wait_for_printer"].iter().all(|wanted| text.contains(*wanted)).then_some(())
    });
    assert_eq!(server.stop(), Some(0));
}
