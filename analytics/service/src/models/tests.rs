//! Files that come in, names that are meant, models that hang.

use super::{
    guarded::Guarded,
    registry::{Known, Registry, newest, parse_name},
    state_of,
    stopwatch::Stopwatch,
    upload::ModelFiles,
};
use geophone_proto::{
    SeriesKey, UnixNanos,
    feature::FeatureFrame,
    model::{LineUp, ModelCard, ModelRef},
    seam::{Brake, Model, SeamError},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

fn put_shipped(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    for (name, bytes) in geophone_models::shipped_files() {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

// Scenario: the three files as a folder, a form, JSON; then each with something missing or torn.
// Guarantees: the same bytes come out, and what is wrong is said in words.
#[test]
fn files_come_in_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put_shipped(folder.path());
    let files = ModelFiles::read(folder.path()).expect("all three are there");
    let (body, kind) = files.to_multipart();
    assert_eq!(ModelFiles::from_body(&kind, &body).expect("our own form"), files);
    for cut in [body.len() / 2, body.len() - 9, 10, 0] {
        ModelFiles::from_body(&kind, &body[..cut]).expect_err("it is cut");
    }
    for (kind, body, why) in [
        ("text/plain", &b""[..], "content type"),
        ("multipart/form-data", b"", "boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nfoo: name=\"other\"\r\n\r\n1\r\n--x--", "a part `"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", "lacks the part"),
        ("application/json", b"[1]", "the body must be"),
        ("application/json", b"{\"card.toml\": \"x\", \"model.onnx\": \"%%\", \"check.parquet\": \"\"}", "not base64"),
        ("application/json", b"{\"card.toml\": \"x\"}", "`model.onnx` is missing"),
    ] {
        let error = ModelFiles::from_body(kind, body).expect_err("it is wrong");
        assert!(error.contains(why), "{kind}: {error}");
    }
    std::fs::remove_file(folder.path().join("check.parquet")).expect("it was there");
    std::fs::create_dir(folder.path().join("check.parquet")).expect("a folder can be made");
    let error = ModelFiles::read(folder.path()).expect_err("a folder is no file").to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

// Scenario: a shelf with two versions of a model, a card under another name, and a leftover.
// Guarantees: what is sound is known, the newest by number; the leftover is gone.
#[test]
fn the_shelf_is_read_as_it_lies() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let shelf = data.path().join("models");
    for version in ["9", "10"] {
        let folder = shelf.join("mine").join(version);
        put_shipped(&folder);
        let card = std::fs::read_to_string(folder.join("card.toml")).expect("it was written");
        let card =
            card.replacen("name = \"default\"", "name = \"mine\"", 1).replacen("version = \"1\"", &format!("version = \"{version}\""), 1);
        std::fs::write(folder.join("card.toml"), card).expect("written");
    }
    put_shipped(&shelf.join("other").join("1"));
    std::fs::create_dir_all(shelf.join(".incoming-1-1")).expect("a folder can be made");
    let registry = Registry::open(data.path(), 1 << 30, geophone_models::Trust::default());
    let names: Vec<String> = registry.all().iter().map(|known| format!("{}@{}", known.card.name, known.card.version)).collect();
    assert_eq!(names, ["default@1", "mine@9", "mine@10"]);
    assert_eq!(registry.find("mine").expect("it is known").card.version, "10");
    assert_eq!(registry.find("mine@9").expect("it is known").card.version, "9");
    assert!(registry.find("mine@8").is_none() && registry.find("../mine").is_none());
    assert!(!shelf.join(".incoming-1-1").exists());
    let model = registry.find("mine@9").expect("it is known").card.model_ref();
    registry.prepare(&model).expect("it loads");
    assert_eq!(registry.take(&model).expect("it is on the bench").card().model_ref(), model);
    std::fs::remove_dir_all(shelf.join("mine")).expect("it was there");
    assert!(registry.take(&model).is_err());
    let line_up = LineUp { active: model.clone(), ..LineUp::default() };
    let wishes = |times: usize| (0..times).filter(|_| registry.is_to_leave(&model)).count();
    assert_eq!((wishes(30), wishes(1)), (1, 1), "one at a time, again where it seems lost");
    registry.keep_line_up(&line_up);
    assert_eq!(wishes(1), 0, "it still plays");
    assert_eq!(registry.kept_line_up(), Some(line_up.clone()));
    assert_eq!((state_of(&line_up, &model), state_of(&line_up, &ModelRef::default())), ("active", "available"));
    registry.keep_line_up(&LineUp::default());
    assert_eq!(wishes(1), 1, "it went, and is another time's matter");
}

#[test]
fn versions_are_compared_as_numbers() {
    let known = |version: &str| Known { card: ModelCard { version: version.into(), ..geophone_models::shipped_card() }, folder: None };
    let shelf = ["1.9", "1.10", "1.2-rc1"].map(known);
    assert_eq!(newest(shelf.iter()).expect("there are some").card.version, "1.10");
    assert_eq!(parse_name("a@b"), ("a", Some("b")));
}

/// Waits for a word before each answer; its brake is the last word.
struct Waiting(ModelCard, Mutex<mpsc::Receiver<bool>>, mpsc::SyncSender<bool>);

impl Model for Waiting {
    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        let go_on = self.1.lock().expect("one thread").recv();
        assert!(go_on == Ok(true), "told to panic");
        scores.extend(frame.x.iter().copied());
        Ok(())
    }

    fn brake(&self) -> Option<Brake> {
        let word = self.2.clone();
        Some(Arc::new(move || {
            let _ = word.try_send(false);
        }))
    }
}

fn frame(rows: usize) -> FeatureFrame {
    FeatureFrame { width: 1, keys: vec![SeriesKey(1); rows], x: (0..rows).map(|row| row as f32).collect(), ..FeatureFrame::default() }
}

// Scenario: a model answers, then hangs; another panics.
// Guarantees: answers come in order over several pieces; a hang or panic is an error at once and for ever, told once;
// the thread that hung is ended.
#[test]
fn a_model_that_hangs_is_left_alone() {
    // Long enough for answers on a busy machine; only the hang is waited for.
    for (last, why, patience) in [(None, "hung", 2), (Some(false), "died", 60)] {
        let (word, words) = mpsc::sync_channel(8);
        let watch = Arc::new(Stopwatch::default());
        let model = Box::new(Waiting(geophone_models::shipped_card(), Mutex::new(words), word.clone()));
        let (tell, told) = mpsc::sync_channel(8);
        let obituary = Box::new(move |how: &str| tell.send(how.to_owned()).expect("the test listens"));
        let mut guarded = Guarded::with_patience(model, watch.clone(), obituary, Duration::from_secs(patience)).expect("a thread starts");
        let mut scores = Vec::new();
        (0..3).for_each(|_| word.send(true).expect("it listens"));
        guarded.score(&frame(10_000), &mut scores).expect("it answers");
        assert_eq!(scores, frame(10_000).x);
        last.into_iter().for_each(|last| word.send(last).expect("it listens"));
        let error = guarded.score(&frame(1), &mut scores).expect_err("no answer");
        assert!(error.message.contains(why), "{error}");
        let again = guarded.score(&frame(1), &mut scores).expect_err("not asked again");
        assert!(again.message.contains("not asked again"), "{again}");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [why]);
        // Its thread owned the other end, and every word that it may still read has been sent.
        while word.send(true).is_ok() {}
        assert_eq!(watch.latency().map(|latency| latency.calls), Some(1), "one window in pieces");
    }
}

#[test]
fn a_slow_model_is_noticed() {
    let watch = Stopwatch::default();
    let window = |number: u64| UnixNanos(number);
    (0..20).for_each(|number| watch.note(window(number), 10, Duration::from_millis(2)));
    assert_eq!(watch.is_slow(Duration::from_millis(5)), None);
    // Each in two calls.
    (20..26).for_each(|call| watch.note(window(call / 2 * 2), 5, Duration::from_millis(350)));
    let said = watch.is_slow(Duration::from_millis(500)).expect("three were slow");
    assert!(said.contains("latency") && said.contains("700 ms"), "{said}");
    let latency = watch.latency().expect("there were calls");
    assert!(latency.p50_ms < 3.0 && latency.p99_ms > 600.0, "{latency:?}");
    watch.forget();
    assert!(watch.is_slow(Duration::from_millis(500)).is_none() && watch.latency().is_none());
}
