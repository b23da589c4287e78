//! Models that come, are tried, promoted and taken back in the real binary, under traffic and kills; and
//! those that are not let in.

mod house;
mod python;
mod signed;

use geophone_tests::server::{Server, eventually};
use house::{House, geophone};
use serde_json::{Value, json};

/// Windows in which a new series may have no score yet.
const LEARNING: u64 = 6;

/// Each row of `features` past its series' first minute has one score that is no shadow's. Asked until two queries saw
/// the same windows.
fn assert_one_speaker(server: &Server) {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let wrong = || -> Vec<Value> {
        let scores =
            server.query("SELECT series, COUNT(*) AS n, COUNT(DISTINCT at_ns) AS d FROM scores WHERE role <> 'shadow' GROUP BY series");
        let features = server.query("SELECT series, COUNT(*) AS n FROM features GROUP BY series");
        let said = |series: &Value| scores.iter().find(|row| row[0] == *series).map_or((0, 0), |row| (number(&row[1]), number(&row[2])));
        let is_wrong = |row: &&Vec<Value>| {
            let (spoken, windows) = said(&row[0]);
            spoken != windows || spoken > number(&row[1]) || spoken + LEARNING < number(&row[1])
        };
        features.iter().filter(is_wrong).map(|row| json!([row, said(&row[0])])).collect()
    };
    let mut last = Vec::new();
    for _ in 0..5 {
        last = wrong();
        if last.is_empty() {
            return;
        }
    }
    panic!("{} series, such as {}", last.len(), last[0]);
}

/// The model inside the program.
fn shipped() -> String {
    format!("default@{}", geophone_models::shipped_card().version)
}

fn state(server: &Server, model: &str) -> Value {
    let list = server.get("/api/v1/models");
    let found =
        list["items"].as_array().expect("a list").iter().find(|item| {
            format!("{}@{}", item["name"].as_str().unwrap_or_default(), item["version"].as_str().unwrap_or_default()) == model
        });
    found.unwrap_or_else(|| panic!("no {model} in {list}"))["state"].clone()
}

fn rows_of(server: &Server, role: &str, model: &str) -> u64 {
    server.count(&format!("SELECT COUNT(*) FROM scores WHERE role = '{role}' AND model = '{model}'"))
}

/// Scenario: traffic goes on while a copy of the shipped model is added, shadows, is a canary, is promoted and rolled
/// back, by command line and API; the process is killed while it shadows, while it is the canary, and after the promotion.
/// Guarantees: each features row past its first minute has exactly one score that is no shadow's; the trial reports
/// full agreement of equal models; the state outlives the kills; the canary speaks for some series only.
#[test]
fn a_model_lives_through_its_steps_under_traffic_and_kills() {
    let mut house = House::new();
    let folder = house.twin("twin", "1");
    let mut server = house.start();
    house.go_on(&server, 200);
    let item = geophone(&server, &["models", "add", &folder]).expect("it is sound");
    assert_eq!((&item["state"], &item["name"]), (&json!("available"), &json!("twin")));
    geophone(&server, &["models", "add", &folder]).expect("the same again changes nothing");

    assert_eq!(geophone(&server, &["models", "shadow", "twin@1"]).expect("it is there")["state"], "shadow");
    house.go_on(&server, 150);
    eventually("the shadow scores", || {
        house.go_on(&server, 10);
        (rows_of(&server, "shadow", "twin") > 0).then_some(())
    });
    server.kill();
    server = house.start();
    assert_eq!(state(&server, "twin@1"), "shadow");
    let trial = eventually("a dozen windows are compared", || {
        house.go_on(&server, 20);
        let shown = geophone(&server, &["models", "show", "twin@1"]).expect("it is known");
        shown["trial"]["windows"].as_u64().is_some_and(|windows| windows >= 12).then(|| shown["trial"].clone())
    });
    assert!(trial["agreement"].as_f64().is_some_and(|agreement| agreement > 0.99), "{trial}");
    assert_eq!((&trial["alerts_added"], &trial["failures"]), (&json!(0), &json!(0)), "{trial}");

    assert_eq!(geophone(&server, &["models", "canary", "twin@1", "--percent", "50"]).expect("it is there")["state"], "canary");
    eventually("the canary speaks", || {
        house.go_on(&server, 20);
        (rows_of(&server, "canary", "twin") > 20).then_some(())
    });
    server.kill();
    server = house.start();
    assert_eq!(state(&server, "twin@1"), "canary");
    house.go_on(&server, 40);
    let speakers = server.count("SELECT COUNT(DISTINCT series) FROM scores WHERE role = 'canary'");
    assert!(speakers > 0 && speakers < server.count("SELECT COUNT(DISTINCT series) FROM features"));
    assert_one_speaker(&server);

    assert_eq!(house.post(&server, "/api/v1/models/twin@1:promote", "")["state"], "active");
    server.kill();
    server = house.start();
    assert_eq!((state(&server, "twin@1"), state(&server, &shipped())), (json!("active"), json!("retired")));
    eventually("the promoted model speaks", || {
        house.go_on(&server, 20);
        (rows_of(&server, "active", "twin") > 20).then_some(())
    });
    assert_one_speaker(&server);

    geophone(&server, &["models", "rollback"]).expect("there is one before");
    assert_eq!((state(&server, "twin@1"), state(&server, &shipped())), (json!("retired"), json!("active")));
    let refused = geophone(&server, &["models", "rollback"]).expect_err("there is none before that");
    assert!(refused.contains("nothing to go back to"), "{refused}");
    house.go_on(&server, 40);
    assert_one_speaker(&server);
    assert_eq!(server.stop(), Some(0));
    server = house.start();
    assert_one_speaker(&server);
    assert_eq!(state(&server, &shipped()), "active");
}

/// Scenario: folders that are torn, lie about themselves, or want out of theirs; steps that make no sense.
/// Guarantees: exit 1 and one sentence each that names what is wrong, no panic text; the server goes on.
#[test]
fn what_is_not_sound_is_not_let_in() {
    let house = House::new();
    let server = house.start();
    for (what, why) in [
        ("hash", "hash"),
        ("torn", "ONNX"),
        ("width", "26"),
        ("name", "name"),
        ("version", "version"),
        ("rows", "check.parquet"),
        ("missing", "model.onnx"),
        ("other", "already"),
    ] {
        let refused = geophone(&server, &["models", "add", &house.unsound(what)]).expect_err(what);
        let sentence = refused.trim().strip_prefix("error: ").unwrap_or_else(|| panic!("{what}: {refused}"));
        assert!(sentence.contains(why) && !sentence.contains('\n') && !sentence.contains("panicked"), "{what}: {refused}");
    }
    let listed = server.get("/api/v1/models");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    for (path, status) in [
        ("/api/v1/models/ghost:shadow", 404),
        ("/api/v1/models/default:shadow", 409),
        ("/api/v1/models/default:canary", 409),
        ("/api/v1/models/default:rollback", 409),
        ("/api/v1/models/default:explode", 404),
        ("/api/v1/models/default:promote", 200),
    ] {
        let answer = house.post(&server, path, "{}");
        assert_eq!(answer["status"].as_u64().unwrap_or(200), status, "{path}: {answer}");
    }
    assert_eq!(server.get("/livez")["status"], "ok");
}

/// Scenario: a model has the mark of one that hung in an earlier life of the server.
/// Guarantees: no step takes it, until its files are added, and so checked, again.
#[test]
fn a_model_that_was_given_up_is_added_again_first() {
    let house = House::new();
    let server = house.start();
    let folder = house.twin("twin", "1");
    geophone(&server, &["models", "add", &folder]).expect("it is sound");
    assert_eq!(server.stop(), Some(0));
    std::fs::write(house.kept("twin", "1").join("given_up"), "hung").expect("the folder is there");
    let server = house.start();
    for step in ["shadow", "canary", "promote"] {
        let refused = geophone(&server, &["models", step, "twin@1"]).expect_err(step);
        assert!(refused.contains("hung while it scored and was given up"), "{refused}");
    }
    geophone(&server, &["models", "add", &folder]).expect("it is sound");
    assert_eq!(geophone(&server, &["models", "promote", "twin@1"]).expect("it has another chance")["state"], "active");
}

/// Scenario: the sample data are replayed with a copy of the shipped model beside, then with a configuration that
/// looks at other windows; then the first once more.
/// Guarantees: equal models differ in nothing; another window length moves or changes incidents; output is byte-equal.
#[test]
fn replays_are_compared() {
    let house = House::new();
    let data = house::sample_data();
    let twin = house.twin("twin", "1");
    let run = |other: &str| house::replay(&data, other);
    let same = run(&twin);
    let shown: Value = serde_json::from_str(&same).expect("JSON");
    assert_eq!((&shown["added"], &shown["removed"], &shown["moved"]), (&json!([]), &json!([]), &json!([])), "{shown}");
    assert!(shown["same"].as_u64().is_some_and(|same| same > 0) && shown["after"]["with"]["model"]["name"] == "twin", "{shown}");
    assert_eq!(run(&twin), same);
    let config = house.write("other.yaml", "detection: {window: 20s}\n");
    let other: Value = serde_json::from_str(&run(&config)).expect("JSON");
    let changes = ["added", "removed", "moved"].map(|kind| other[kind].as_array().map_or(0, Vec::len));
    assert!(changes.iter().sum::<usize>() > 0, "{other}");
}
