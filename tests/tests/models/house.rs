//! What these tests share: a data directory, traffic whose time goes on, folders sound and unsound.

use geophone_proto::time::SECOND_NS;
use geophone_tests::{
    load, place,
    server::{Server, agent, binary},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const START_NS: u64 = 1_767_261_600 * SECOND_NS;
const SERVICES: u64 = 12;

pub struct House {
    folder: tempfile::TempDir,
    /// Event time so far.
    now_ns: u64,
    sent: u64,
}

impl House {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), now_ns: START_NS, sent: 0 }
    }

    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    pub fn start_with(&self, arguments: &[&str]) -> Server {
        Server::start(&self.folder.path().join("data"), arguments)
    }

    /// Where the server keeps a model.
    pub fn kept(&self, name: &str, version: &str) -> PathBuf {
        self.folder.path().join("data/models").join(name).join(version)
    }

    /// Sends so many seconds of event time, a request a second and service.
    pub fn go_on(&mut self, server: &Server, seconds: u64) {
        let agent = agent();
        for _ in 0..seconds {
            self.now_ns += SECOND_NS;
            for service in 0..SERVICES {
                self.sent += 1;
                // Bursts now and then, so that models have something to tell rows apart by.
                let dice = (self.sent ^ self.sent >> 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
                let spans = if dice < 6 { 60 } else { 1 + dice % 8 };
                let body = load::traces(&format!("svc-{service}"), self.sent, spans, self.now_ns);
                let answer = agent
                    .post(format!("http://{}/v1/traces", server.otlp_http))
                    .header("content-type", "application/x-protobuf")
                    .send(&body[..]);
                assert_eq!(answer.map(|answer| answer.status().as_u16()).ok(), Some(200));
            }
        }
    }

    pub fn post(&self, server: &Server, path: &str, body: &str) -> Value {
        let sent = agent().post(format!("http://{}{path}", server.http)).header("content-type", "application/json").send(body);
        let mut answer = sent.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        answer.body_mut().read_json().unwrap_or_else(|error| panic!("POST {path} gives no JSON: {error}"))
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        text_of(&path)
    }

    /// The shipped model under another name.
    pub fn twin(&self, name: &str, version: &str) -> String {
        let folder = self.folder.path().join(format!("{name}-{version}"));
        put(&folder);
        change(&folder, |card| rename(card, name, version));
        text_of(&folder)
    }

    /// The same with something wrong in it.
    pub fn unsound(&self, what: &str) -> String {
        let path = PathBuf::from(self.twin(what, "1"));
        match what {
            "hash" => change(&path, |card| card.replacen("sha256 = \"", "sha256 = \"00", 1)),
            "torn" => {
                let bytes = fs::read(path.join("model.onnx")).expect("it was written");
                let torn = &bytes[..bytes.len() / 2];
                fs::write(path.join("model.onnx"), torn).expect("written");
                let (before, after) = (geophone_models::sha256_hex(&bytes), geophone_models::sha256_hex(torn));
                change(&path, |card| card.replace(&before, &after));
            }
            "width" => change(&path, fewer_features),
            "name" => change(&path, |card| rename(card, "../../name", "1")),
            "version" => change(&path, |card| card.replacen("version = \"1\"", "version = \"..\"", 1)),
            "rows" => fs::write(path.join("check.parquet"), b"PAR1 no").expect("written"),
            "missing" => fs::remove_file(path.join("model.onnx")).expect("it was written"),
            "other" => change(&path, |card| {
                rename(card, "default", &geophone_models::shipped_card().version).replacen(
                    "description = \"",
                    "description = \"another ",
                    1,
                )
            }),
            other => panic!("nothing is known of {other}"),
        }
        text_of(&path)
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

fn put(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder can be made");
    for (name, bytes) in geophone_models::shipped_files() {
        fs::write(folder.join(name), bytes).expect("written");
    }
}

fn change(folder: &Path, how: impl Fn(&str) -> String) {
    let path = folder.join("card.toml");
    let card = fs::read_to_string(&path).expect("it was written");
    fs::write(path, how(&card)).expect("written");
}

fn rename(card: &str, name: &str, version: &str) -> String {
    let own = |key: &str| card.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("every card has it").to_owned();
    card.replacen(&own("name"), &format!("name = \"{name}\""), 1).replacen(&own("version"), &format!("version = \"{version}\""), 1)
}

/// The card without its last feature, its id right.
fn fewer_features(card: &str) -> String {
    let (before, rest) = card.split_once("features = [").expect("every card has it");
    let (list, after) = rest.split_once(']').expect("it ends");
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let kept = &names[..names.len() - 1];
    let schema = geophone_proto::feature::FeatureSchema::of(kept.iter().copied()).id;
    let list: Vec<String> = kept.iter().map(|name| format!("\"{name}\"")).collect();
    let card = format!("{before}features = [{}]{after}", list.join(", "));
    let own = card.lines().find(|line| line.starts_with("feature_schema")).expect("every card has it").to_owned();
    let width = |width: usize| format!("[\"N\", {width}]");
    card.replacen(&own, &format!("feature_schema = \"{schema}\""), 1).replace(&width(names.len()), &width(kept.len()))
}

/// The command's JSON, or what it said to standard error.
pub fn geophone(server: &Server, words: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(binary());
    command.args(words).args(["--output", "json", "--endpoint", &format!("http://{}", server.http)]);
    let output = command.output().expect("the binary starts");
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).expect("it prints JSON"));
    }
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?}");
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Recorded telemetry in the repository.
pub fn sample_data() -> PathBuf {
    place::repository().join("tests/data")
}

/// `geophone replay DATA --compare OTHER`.
pub fn replay(data: &Path, other: &str) -> String {
    let output =
        Command::new(binary()).arg("replay").arg(data).args(["--output", "json", "--compare", other]).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}
