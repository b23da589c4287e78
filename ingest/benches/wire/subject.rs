//! The servers under test, as processes of their own on core 0, and what `/proc` says of them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// `/proc` counts processor time in hundredths of a second.
const TICK_NS: u64 = 10_000_000;
/// Idle: less than 2 % of a core for so long.
const IDLE: Duration = Duration::from_secs(2);
const IDLE_NS_MAX: u64 = 40_000_000;
/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server that runs.
pub struct Subject {
    pub pid: u32,
    pub grpc: String,
    pub http: String,
    /// Geophone's own API.
    pub api: Option<String>,
    child: Option<Child>,
    folder: Option<tempfile::TempDir>,
}

/// Whether this machine has two cores and a way to choose one.
pub fn can_pin() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2) && Command::new("taskset").arg("-V").output().is_ok()
}

fn on_core_0(program: &Path) -> Command {
    if std::env::var_os("WIRE_PINNED").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn scratch() -> tempfile::TempDir {
    match std::env::var_os("WIRE_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).expect("WIRE_DIR is writable"),
        None => tempfile::tempdir().expect("a temporary folder"),
    }
}

/// `$GEOPHONE_BIN`, else the release binary beside this benchmark.
pub fn geophone() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.ancestors().nth(2)?.join("geophone"));
    let path = std::env::var_os("GEOPHONE_BIN").map(PathBuf::from).or_else(beside).expect("a running program has a path");
    assert!(path.exists(), "{} does not exist: `cargo build --release --bin geophone`, or set GEOPHONE_BIN", path.display());
    path
}

/// The Collector that the end-to-end tests use, where it is installed.
pub fn collector() -> Option<PathBuf> {
    let cache =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let peers = std::env::var_os("GEOPHONE_PEERS").map(PathBuf::from).or_else(|| Some(cache?.join("geophone/peers")))?;
    Some(peers.join("collector")).filter(|path| path.exists())
}

impl Subject {
    /// Everything on, in a new folder.
    pub fn geophone(durability: &str) -> Self {
        let folder = scratch();
        let mut command = on_core_0(&geophone());
        command.args(["serve", "--output", "json", "--durability", durability, "--profiler", "false", "--data-dir"]).arg(folder.path());
        for endpoint in ["--otlp-grpc-endpoint", "--otlp-http-endpoint", "--http-endpoint"] {
            command.args([endpoint, "127.0.0.1:0"]);
        }
        let (child, line) = started(command.stderr(Stdio::null()));
        let ready: serde_json::Value = serde_json::from_str(&line).expect("a ready line is JSON");
        let place = |name: &str| ready[name].as_str().expect("the ready line names every address").to_owned();
        let (grpc, http, api) = (place("otlp_grpc"), place("otlp_http"), Some(place("http")));
        Self { pid: child.id(), grpc, http, api, child: Some(child), folder: Some(folder) }
    }

    pub fn floor() -> Self {
        let own = std::env::current_exe().expect("a running program has a path");
        let (child, line) = started(on_core_0(&own).arg("floor"));
        let address = line.trim().to_owned();
        Self { pid: child.id(), grpc: address.clone(), http: address, api: None, child: Some(child), folder: None }
    }

    /// otlp receiver -> spanmetrics -> nop: it counts spans, and keeps nothing.
    pub fn collector(binary: &Path) -> Self {
        let [grpc, http] = [(); 2].map(|()| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            free.expect("loopback has a free port").to_string()
        });
        let folder = scratch();
        let config = folder.path().join("collector.yaml");
        let text = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"{grpc}\", max_recv_msg_size_mib: 64}}, http: {{endpoint: \"{http}\"}}}}}}}}\n\
             connectors: {{spanmetrics: {{}}}}\nexporters: {{nop: {{}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [spanmetrics]}}\n    metrics: {{receivers: [spanmetrics], exporters: [nop]}}\n"
        );
        fs::write(&config, text).expect("the folder is ours");
        let child = on_core_0(binary).arg("--config").arg(&config).stderr(Stdio::null()).spawn().expect("the Collector starts");
        let began = Instant::now();
        while TcpStream::connect(&grpc).is_err() || TcpStream::connect(&http).is_err() {
            assert!(began.elapsed() < PATIENCE, "the Collector did not come up");
            sleep(Duration::from_millis(50));
        }
        Self { pid: child.id(), grpc, http, api: None, child: Some(child), folder: Some(folder) }
    }

    /// Whatever runs already: `ADDR,PID`.
    pub fn peer(text: &str) -> Self {
        let (address, pid) = text.split_once(',').expect("--peer wants ADDR,PID");
        let pid = pid.parse().expect("--peer wants the number of a process");
        Self { pid, grpc: address.to_owned(), http: address.to_owned(), api: None, child: None, folder: None }
    }

    /// User and system time so far.
    pub fn cpu_ns(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the server runs");
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // Behind the name: state is field 3 of `proc(5)`, utime 14, stime 15.
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>() * TICK_NS
    }

    /// MiB of a line of `/proc/PID/status`.
    pub fn memory_mib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
    }

    /// Waits until the server rests; says what it had used by the beginning of the rest.
    pub fn rest(&self) -> u64 {
        let began = Instant::now();
        loop {
            let before = self.cpu_ns();
            sleep(IDLE);
            if self.cpu_ns() - before < IDLE_NS_MAX {
                return before;
            }
            assert!(began.elapsed() < PATIENCE, "the server never rests");
        }
    }

    /// Waits until Parquet holds what is in the log now; others have nothing to wait for.
    pub fn sealed(&self) {
        let Some(api) = &self.api else { return };
        let metric = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
        };
        let head = metric(&get(api, "/metrics"), "geophone_log_appended_records_total");
        let began = Instant::now();
        loop {
            sleep(Duration::from_secs(2));
            let text = get(api, "/metrics");
            if metric(&text, "geophone_log_appended_records_total") - metric(&text, "geophone_log_unsealed_records") >= head {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the log is not sealed");
        }
    }

    /// Spans that a query counts.
    pub fn spans(&self) -> Option<u64> {
        let api = self.api.as_ref()?;
        let sql = r#"{"sql":"SELECT COUNT(*) AS n, COUNT(DISTINCT span_id) AS ids FROM spans"}"#;
        let answer = ask(
            api,
            &format!(
                "POST /api/v1/query HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sql}",
                sql.len()
            ),
        );
        let body: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("a query's answer is JSON, not {answer}"));
        let [count, ids] = [0, 1].map(|place| body["rows"][0][place].as_u64().unwrap_or_else(|| panic!("no count: {body}")));
        assert!(count == ids, "{count} rows, but {ids} ids");
        Some(count)
    }

    /// What it uses while nobody sends, asked for its metrics as while waiting.
    pub fn quiet_ns_a_second(&self) -> f64 {
        let (before, began) = (self.cpu_ns(), Instant::now());
        for _ in 0..2 {
            sleep(Duration::from_secs(2));
            self.api.iter().for_each(|api| drop(get(api, "/metrics")));
        }
        (self.cpu_ns() - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// Bytes of Parquet.
    pub fn parquet_bytes(&self) -> u64 {
        fn bytes(dir: &Path) -> u64 {
            let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
            entries
                .map(|entry| if entry.path().is_dir() { bytes(&entry.path()) } else { entry.metadata().map_or(0, |file| file.len()) })
                .sum()
        }
        self.folder.as_ref().map_or(0, |folder| bytes(&folder.path().join("tables")))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the server can be started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("the server prints its address");
    (child, line)
}

fn get(api: &str, path: &str) -> String {
    ask(api, &format!("GET {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n"))
}

/// The body of an answer, chunks put together.
fn ask(api: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(api).expect("the API listens");
    stream.write_all(request.as_bytes()).expect("the API reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the API answers");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&behind[..size]);
        rest = &behind[size + 2..];
    }
    whole
}
