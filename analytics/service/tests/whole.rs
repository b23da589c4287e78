//! The real binary: from an OTLP request to SQL, over a stop and a start.

use geophone_proto::otlp::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::Value as Json;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

const GEOPHONE: &str = env!("CARGO_BIN_EXE_geophone");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(GEOPHONE);
    command.args(arguments).env_remove("GEOPHONE_OUTPUT");
    command
}

struct Server {
    child: Child,
    ready: Json,
}

impl Server {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let dir = dir.to_str().expect("a plain path");
        let any = "127.0.0.1:0";
        let fixed = [
            "serve",
            "--data-dir",
            dir,
            "--otlp-grpc-endpoint",
            any,
            "--otlp-http-endpoint",
            any,
            "--http-endpoint",
            any,
            "--output",
            "json",
            "--profiler",
            "false",
        ];
        let mut child = command(&fixed).args(more).stdout(Stdio::piped()).spawn().expect("the binary was built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("one line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("`{line}`: {error}"));
        Self { child, ready }
    }

    fn address(&self, name: &str) -> &str {
        self.ready[name].as_str().expect("an address")
    }

    /// Asks the system to stop the server, as a service manager would.
    fn stop(mut self) -> i32 {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        self.child.wait().expect("it was started").code().expect("it exits by itself")
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
    }
}

/// One exchange over a connection of its own: status and body.
fn post(address: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("the request is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.as_bytes().to_vec()).unwrap_or_default();
    (status, body)
}

fn request(spans: u64, salt: u64) -> Vec<u8> {
    let name = KeyValue {
        key: "service.name".into(),
        value: Some(AnyValue { value: Some(Value::StringValue("cart".into())) }),
        ..KeyValue::default()
    };
    let span = |n: u64| Span {
        trace_id: [salt.to_be_bytes(), n.to_be_bytes()].concat(),
        span_id: n.wrapping_add(1).to_be_bytes().to_vec(),
        name: "GET /cart".into(),
        kind: 2,
        start_time_unix_nano: 1_760_000_000_000_000_000 + n * 1_000_000,
        end_time_unix_nano: 1_760_000_000_005_000_000 + n * 1_000_000,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let resource = Resource { attributes: vec![name], ..Resource::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()
}

fn count(server: &Server) -> Json {
    let output = command(&[
        "query",
        "--endpoint",
        server.address("http"),
        "--output",
        "json",
        "SELECT count(*) AS n FROM spans WHERE service = 'cart'",
    ]);
    counted(output)
}

fn counted(mut command: Command) -> Json {
    let output = command.output().expect("the binary was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    rows[0]["n"].clone()
}

// Scenario: spans by OTLP/HTTP, a stop by SIGTERM, more spans, a kill, a start; then the folder alone.
// Guarantees: what was acknowledged is counted, at once, after a stop, after a kill, once.
#[test]
fn acknowledged_spans_are_counted_over_stop_and_kill() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(dir.path(), &[]);
    let (status, _) = post(server.address("otlp_http"), "/v1/traces", "application/x-protobuf", &request(50, 1));
    assert_eq!(status, 200);
    assert_eq!(count(&server), 50);
    assert_eq!(server.stop(), 0);

    let server = Server::start(dir.path(), &[]);
    let (status, _) = post(server.address("otlp_http"), "/v1/traces", "application/x-protobuf", &request(7, 2));
    assert_eq!(status, 200);
    server.kill();

    let server = Server::start(dir.path(), &[]);
    assert_eq!(count(&server), 57);
    let folder = dir.path().to_str().expect("a plain path");
    assert_eq!(counted(command(&["query", "--data-dir", folder, "--output", "json", "SELECT count(*) AS n FROM spans"])), 57);
    assert_eq!(server.stop(), 0);
    assert_eq!(counted(command(&["query", "--data-dir", folder, "--output", "json", "SELECT count(*) AS n FROM spans"])), 57);
}

// Scenario: nothing is durable.
// Guarantees: the same path works in memory.
#[test]
fn durability_none_takes_the_same_way() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(dir.path(), &["--durability", "none"]);
    let (status, _) = post(server.address("otlp_http"), "/v1/traces", "application/x-protobuf", &request(9, 1));
    assert_eq!(status, 200);
    assert_eq!(count(&server), 9);
    assert_eq!(server.stop(), 0);
}

// Guarantees: 0 = fine, 1 = the answer is no, 2 = wrong usage; errors on stderr, nothing of them on stdout.
#[test]
fn exit_codes_say_whose_fault_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = dir.path().join("good.yaml");
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&good, "memory_limit: 1GiB\n").expect("written");
    std::fs::write(&bad, "memory_limit: lots\nmemory: 1\n").expect("written");
    let (good, bad) = (good.to_str().expect("plain"), bad.to_str().expect("plain"));
    let nobody = "http://127.0.0.1:1";
    for (arguments, expected) in [
        (&["--version"][..], 0),
        (&["serve", "--help"], 0),
        (&["completion", "bash"], 0),
        (&["validate", good], 0),
        (&["validate", bad], 1),
        (&["serve", "--config", bad], 2),
        (&["serve", "--http-endpoint", "0.0.0.0:0"], 2),
        (&["serve", "--memory-limit", "much"], 2),
        (&["no-such-command"], 2),
        (&["incidents", "list", "--endpoint", nobody], 1),
        (&["query", "--endpoint", nobody, "SELECT 1"], 1),
        (&["replay", "/nowhere"], 2),
        (&["score", "--input", bad, "--output", "/dev/null"], 2),
    ] {
        let output = command(arguments).output().expect("the binary was built");
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr.is_empty(), expected == 0, "{arguments:?}");
    }
}

// Guarantees: what a configuration names is read as `serve` would, every problem at once; the file alone on request.
#[test]
fn files_that_a_configuration_names_are_looked_at() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("names.yaml");
    let text = "models: {active: ./no-model}\nprofiler: {recording: /no/recording}\n\
        api: {tls: {cert_file: /no/cert.pem, key_file: /no/key.pem}}\n";
    std::fs::write(&config, text).expect("it is written");
    let config = config.to_str().expect("a plain path");
    let said = command(&["validate", config]).output().expect("the binary was built");
    let said = (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned());
    assert_eq!(said.0, Some(1), "{}", said.1);
    for named in ["models.active", "no-model", "profiler.recording", "/no/recording", "api.tls", "/no/cert.pem"] {
        assert!(said.1.contains(named), "{named}: {}", said.1);
    }
    let alone = command(&["validate", config, "--syntax-only"]).output().expect("the binary was built");
    assert_eq!(alone.status.code(), Some(0), "{}", String::from_utf8_lossy(&alone.stderr));
}

// Guarantees: every command shows an example in its help.
#[test]
fn every_command_has_an_example() {
    for name in ["serve", "replay", "score", "query", "incidents", "anomalies", "models", "actions", "validate", "doctor", "completion"] {
        let output = command(&[name, "--help"]).output().expect("the binary was built");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Example"), "{name}");
    }
}
