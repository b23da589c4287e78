//! telemetrygen -> OpenTelemetry Collector -> us, and back through its file exporter into `replay`.

use geophone_tests::{
    place,
    server::{self, Server, eventually, free_port},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

struct Collector {
    child: Child,
    endpoint: String,
}

impl Collector {
    /// Starts with one exporter; returns when it says that it is ready.
    fn start(binary: &Path, folder: &Path, exporter: &str) -> Self {
        let endpoint = format!("127.0.0.1:{}", free_port());
        let config = folder.join("collector.yaml");
        let name = exporter.split(':').next().expect("an exporter has a name").trim();
        let pipeline = format!("{{receivers: [otlp], exporters: [{name}, file]}}");
        fs::write(
            &config,
            format!(
                "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: {endpoint}}}}}}}}}\n\
                 exporters:\n  file: {{path: {}}}\n  {exporter}\n\
                 service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    traces: {pipeline}\n    metrics: {pipeline}\n    logs: {pipeline}\n",
                folder.join("export.jsonl").display()
            ),
        )
        .expect("the temporary folder is writable");
        let mut child = Command::new(binary).arg("--config").arg(&config).stderr(Stdio::piped()).spawn().expect("the Collector starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Everything is ready")), "the Collector did not become ready");
        // Keep the pipe drained so that the Collector never blocks on its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, endpoint }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn generate(telemetrygen: &Path, signal: &str, endpoint: &str) {
    let status = Command::new(telemetrygen)
        .args([signal, "--otlp-insecure", "--otlp-endpoint", endpoint, "--workers", "1", "--rate", "0"])
        .args(match signal {
            "traces" => ["--traces", "50"],
            "metrics" => ["--metrics", "50"],
            _ => ["--logs", "50"],
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("telemetrygen starts").success(), "telemetrygen {signal} failed");
}

/// Scenario: telemetrygen sends 50 traces (2 spans each), points and logs through a real Collector.
/// Guarantees: every one is a row, over gRPC and over HTTP, with gzip and retries as the Collector does
/// them, and its file exporter's output replays.
fn through_the_collector(exporter_of: impl Fn(&Server) -> String) {
    let (Some(collector), Some(telemetrygen)) = (place::peer("collector"), place::peer("telemetrygen")) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(&folder.path().join("data"), &[]);
    let running = Collector::start(&collector, folder.path(), &exporter_of(&server));
    for signal in ["traces", "metrics", "logs"] {
        generate(&telemetrygen, signal, &running.endpoint);
    }
    eventually("100 spans, 50 points and 50 log records are rows", || {
        let counts = ["spans", "metric_points", "logs"].map(|table| server.count(&format!("SELECT COUNT(*) FROM {table}")));
        (counts == [100, 50, 50]).then_some(())
    });
    drop(running);
    let replay = Command::new(server::binary()).args(["replay", "--output", "json"]).arg(folder.path().join("export.jsonl")).output();
    let replay = replay.expect("the binary can be started");
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    assert!(serde_json::from_slice::<Vec<serde_json::Value>>(&replay.stdout).is_ok(), "{}", String::from_utf8_lossy(&replay.stdout));
}

#[test]
fn over_grpc_with_gzip() {
    through_the_collector(|server| {
        format!("otlp_grpc: {{endpoint: {}, tls: {{insecure: true}}, compression: gzip, retry_on_failure: {{enabled: true}}}}", server.grpc)
    });
}

#[test]
fn over_http_with_gzip() {
    through_the_collector(|server| {
        format!("otlp_http: {{endpoint: \"http://{}\", compression: gzip, retry_on_failure: {{enabled: true}}}}", server.otlp_http)
    });
}
