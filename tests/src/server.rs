//! The real binary in a temporary folder: started, asked, killed. Every port is the system's choice.

use crate::place;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// How long anything may take here before a test gives up: generous, because machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The `geophone` binary: `$GEOPHONE_BIN`, else this profile's own. `cargo test` at the root has built it
/// already; where it is absent or older than a source, it is built here.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("GEOPHONE_BIN") {
            return path.into();
        }
        let own = std::env::current_exe().expect("a running test has a path");
        let folder = own.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
        let binary = folder.join("geophone");
        if !is_fresh(&binary) {
            build(folder.ends_with("release"));
        }
        binary
    })
}

/// Whether a file is younger than every source that goes into it.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let Some(built) = changed(binary) else { return false };
    let lab = [place::repository().join("tests"), place::repository().join("xtask")];
    let sources = place::rust_files().into_iter().filter(|path| !lab.iter().any(|room| path.starts_with(room)));
    sources.filter_map(|path| changed(&path)).all(|source| source < built)
}

/// By way of a test that needs the binary: features are then those of `cargo test`, and nothing heavy is
/// built a second time with others.
fn build(is_release: bool) {
    let mut build = Command::new(env!("CARGO"));
    build.args(["test", "--quiet", "--no-run", "--test", "whole"]).current_dir(place::repository());
    // What cargo tells this test of itself is part of some build scripts' fingerprints.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_test)).for_each(|(name, _)| {
        build.env_remove(name);
    });
    if is_release {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo can be started").success(), "the binary does not build");
}

/// A running `geophone serve`. Killed when dropped.
pub struct Server {
    child: Child,
    /// OTLP over gRPC, `host:port`.
    pub grpc: String,
    /// OTLP over HTTP, `host:port`.
    pub otlp_http: String,
    /// API and page, `host:port`.
    pub http: String,
}

impl Server {
    /// Starts with this data folder and these further arguments; waits for the ready line.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--output", "json", "--data-dir"]).arg(data);
        for endpoint in ["--otlp-grpc-endpoint", "--otlp-http-endpoint", "--http-endpoint"] {
            if !arguments.contains(&endpoint) {
                command.args([endpoint, "127.0.0.1:0"]);
            }
        }
        // Every server would sample the whole machine; those that are about stacks say so.
        if !arguments.contains(&"--profiler") {
            command.args(["--profiler", "false"]);
        }
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the binary can be started");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut ready).expect("the server prints a line");
        let ready: Value = serde_json::from_str(&ready).unwrap_or_else(|error| panic!("`{ready}` is no ready line: {error}"));
        let place = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("{ready} lacks {name}")).to_owned();
        Self { grpc: place("otlp_grpc"), otlp_http: place("otlp_http"), http: place("http"), child }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was just killed");
    }

    /// SIGTERM; returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill exists").success());
        self.child.wait().expect("it was told to stop").code()
    }

    /// GET of the API: JSON, whatever the status.
    pub fn get(&self, path: &str) -> Value {
        let mut answer = agent().get(format!("http://{}{path}", self.http)).call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
        answer.body_mut().read_json().unwrap_or_else(|error| panic!("GET {path} is no JSON: {error}"))
    }

    /// GET of the API as text.
    pub fn text(&self, path: &str) -> String {
        let mut answer = agent().get(format!("http://{}{path}", self.http)).call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
        answer.body_mut().read_to_string().unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Rows of a query over the API, as arrays.
    pub fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        let mut answer = agent()
            .post(format!("http://{}/api/v1/query", self.http))
            .send_json(serde_json::json!({ "sql": sql }))
            .unwrap_or_else(|error| panic!("query `{sql}`: {error}"));
        let answer: Value = answer.body_mut().read_json().unwrap_or_else(|error| panic!("query `{sql}` gives no JSON: {error}"));
        serde_json::from_value(answer["rows"].clone()).unwrap_or_else(|_| panic!("query `{sql}`: {answer}"))
    }

    /// The one number of a query.
    pub fn count(&self, sql: &str) -> u64 {
        let rows = self.query(sql);
        rows.first().and_then(|row| row.first()).and_then(Value::as_u64).unwrap_or_else(|| panic!("`{sql}` gives {rows:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port: the system's choice, given back at once. For programs that cannot report their own.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has a free port").port()
}

/// An HTTP client that reports a status as an answer, not as an error.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().new_agent()
}

/// Asks until the answer is there; fails with `what` when patience ends.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
