//! What a server has lived through is there to be looked at again, with another model or other settings.

use super::in_trouble_with;
use geophone_tests::server::{Server, binary};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn replay(data: &Path, further: &[&str]) -> Output {
    Command::new(binary()).arg("replay").arg(data).args(["--output", "json"]).args(further).output().expect("the binary starts")
}

fn incidents(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("replay prints JSON")
}

/// Says what must be in the words of a refusal.
fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(words), "{:?}: {said}", output.status);
}

/// Scenario: a server whose log becomes Parquet every second lives through a fault, stops, starts and stops again.
/// Guarantees: the replay of its data directory finds what it found, also once the log is in the tables; twice gives
/// the same bytes; a window shows its part, and one in which nothing is says so.
#[test]
fn what_is_in_the_tables_is_replayed_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, feed) = in_trouble_with(folder.path(), "log: {segment_age: 1s}\n");
    drop(feed);
    let shown = server.get("/api/v1/incidents")["items"].clone();
    assert_eq!(server.stop(), Some(0));
    let data = folder.path().join("data");
    let output = replay(&data, &[]);
    let found = incidents(&output);
    let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    assert!(shown.as_array().is_some_and(|shown| ids(shown).iter().all(|id| ids(&found).contains(id))), "{shown} {found:?}");
    assert_eq!(Server::start(&data, &[]).stop(), Some(0));
    assert!(fs::read_dir(data.join("log/past")).is_ok_and(|mut kept| kept.next().is_some()), "some of it is in the tables only");
    assert_eq!(replay(&data, &[]).stdout, output.stdout);

    let opened = found[0]["opened_at"].as_str().expect("a time");
    assert_eq!(incidents(&replay(&data, &["--from", opened])).first(), found.first());
    assert_eq!(incidents(&replay(&data, &["--to", "2026-01-01T10:00:30Z"])).len(), 0);
    refused(&replay(&data, &["--from", "2040-01-01T00:00:00Z"]), "nothing that was replayed lies between");

    let none = folder.path().join("none");
    fs::create_dir_all(none.join("log")).expect("the temporary folder is writable");
    refused(&replay(&none, &[]), "holds no telemetry");
}
