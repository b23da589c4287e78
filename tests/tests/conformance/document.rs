//! `docs/conformance.md`: what `check otlp` says of us and of the OpenTelemetry Collector.

use crate::{proxy::Own, target};
use geophone_client::conformance::{Finding, Outcome, Target, check};
use geophone_tests::{place, server::free_port};
use std::{
    fmt::Write,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

const INTRODUCTION: &str = "# Which rules of OTLP are kept, and by whom

`geophone check otlp ENDPOINT` puts every rule of OTLP that shows on the wire to any receiver, ours or others'. The numbers follow the
specification's chapters (`OTLP-..`), `JSON-..` are the rules of OTLP/JSON, `WIRE-01` is what protobuf itself allows senders to do. A rule is
skipped where it cannot be put: a receiver that takes everything never shows how it refuses in part, ports here are the system's choice, and
overload is provoked only with `--overload SIZE` (done for our own server, not for the Collector, which has no bound without a memory limiter).
This page is written by the test `conformance` with `GEOPHONE_BLESS=1`, and compared with what the servers do in every run.

What no rule above can reach: a head that is no HTTP/1.1 (a `Content-Length` that is no number, two that differ, more than 100 fields) is
answered by the HTTP library before Geophone sees a request, with 400 or 431, an empty body and the end of the connection. There is no request
yet, hence no encoding in which a `Status` could be written, and no signal or tenant to count it for. Neither code asks for a retry.

";

struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a Collector that takes everything and keeps nothing; `None` where there is none.
fn collector() -> Option<(Collector, String, SocketAddr, SocketAddr)> {
    let binary = place::peer("collector")?;
    let version = Command::new(&binary).arg("--version").output().expect("the Collector says its version").stdout;
    let version = String::from_utf8_lossy(&version).split_whitespace().last().unwrap_or("of unknown version").to_owned();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [grpc, http] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let config = folder.path().join("collector.yaml");
    let pipeline = "{receivers: [otlp], exporters: [nop]}";
    let text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: {grpc}}}, http: {{endpoint: {http}}}}}}}}}\nexporters: {{nop: {{}}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{traces: {pipeline}, metrics: {pipeline}, logs: {pipeline}}}\n"
    );
    fs::write(&config, text).expect("the temporary folder is writable");
    let mut child = Command::new(binary).arg("--config").arg(&config).stderr(Stdio::piped()).spawn().expect("the Collector starts");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Everything is ready")), "the Collector did not become ready");
    // Keep the pipe drained so that the Collector never blocks on its log.
    std::thread::spawn(move || lines.for_each(drop));
    Some((Collector(child), version, grpc, http))
}

fn word(finding: &Finding) -> &'static str {
    match finding.outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "**fail**",
        Outcome::Skipped => "skipped",
    }
}

fn document(version: &str, own: &[Finding], theirs: &[Finding]) -> String {
    let mut page = INTRODUCTION.to_owned();
    writeln!(page, "| rule | transport | what it asks for | Geophone {} | Collector {version} |", env!("CARGO_PKG_VERSION"))
        .expect("memory");
    page.push_str("|---|---|---|---|---|\n");
    for (own, theirs) in own.iter().zip(theirs) {
        assert_eq!((own.rule, own.transport), (theirs.rule, theirs.transport));
        writeln!(page, "| {} | {} | {} | {} | {} |", own.rule, own.transport, own.about, word(own), word(theirs)).expect("memory");
    }
    writeln!(page, "\n## What the Collector {version} answered where it fails\n").expect("memory");
    for finding in theirs.iter().filter(|finding| finding.outcome == Outcome::Fail) {
        writeln!(page, "- **{}** ({}): {}", finding.rule, finding.transport, finding.detail.replace('|', "/")).expect("memory");
    }
    page
}

/// Scenario: the check against our own server, overload included, and against a real Collector.
/// Guarantees: the published page says what the servers do.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_the_servers_do() {
    let Some((running, version, grpc, http)) = collector() else { return };
    let theirs = Target { request_bytes_max: 64 << 20, requests_at_once: 128, ..target(grpc, http) };
    let theirs = check(theirs).await.expect("the Collector answers");
    drop(running);
    let own = Own::start(2 << 20).await;
    let own = check(Target { overload_bytes: 8 << 20, ..target(own.grpc(), own.http()) }).await.expect("it answers");
    let page = document(&version, &own, &theirs);
    let path = place::repository().join("docs/conformance.md");
    if std::env::var_os("GEOPHONE_BLESS").is_some() {
        fs::write(&path, page).expect("the page can be written");
    } else {
        let known = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(known, page, "docs/conformance.md is stale: GEOPHONE_BLESS=1 cargo test --test conformance");
    }
}
