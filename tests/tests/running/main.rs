//! What an operator does to a running server: new settings, and what follows from them.

mod replayed;
mod sampler;

use geophone_tests::{
    feed::Feed,
    load,
    server::{Server, agent, eventually},
};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

const NOW_NS: u64 = 1_767_261_600_000_000_000;

/// Sends the span of a service; status and `Retry-After`.
fn export(server: &Server, service: &str, number: u64) -> (u16, Option<String>) {
    let request = agent().post(format!("http://{}/v1/traces", server.otlp_http)).header("content-type", "application/x-protobuf");
    let answer = request.send(&load::traces(service, number, 1, NOW_NS)).expect("every export has an answer");
    let retry_after = answer.headers().get("retry-after").and_then(|delay| delay.to_str().ok()).map(str::to_owned);
    (answer.status().as_u16(), retry_after)
}

fn hang_up(server: &Server) {
    assert!(Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().expect("kill exists").success());
}

fn write(config: &Path, text: &str) {
    fs::write(config, text).expect("the temporary folder is writable");
}

/// The one action of a policy, once it has got this far.
fn action(server: &Server, policy: &str, states: &[&str]) -> Option<Value> {
    let list = server.get("/api/v1/actions");
    let mut actions = list["items"].as_array()?.iter().filter(|action| action["policy"] == policy);
    let action = actions.next()?.clone();
    assert!(actions.next().is_none(), "one action per incident and policy: {list}");
    states.iter().any(|state| action["state"] == *state).then_some(action)
}

/// A server without policies that has an open incident, and the shop that goes on to send.
fn in_trouble(folder: &Path) -> (Server, Feed) {
    in_trouble_with(folder, "actions: {mode: auto}\n")
}

/// The same with these settings.
fn in_trouble_with(folder: &Path, settings: &str) -> (Server, Feed) {
    let config = folder.join("geophone.yaml");
    write(&config, settings);
    let path = config.to_str().expect("temporary folders have plain names");
    let server = Server::start(&folder.join("data"), &["--config", path, "--durability", "os"]);
    let mut feed = Feed::to(&server);
    feed.into_fault(120);
    eventually("an incident opens", || {
        feed.keep_up();
        server.get("/api/v1/incidents")["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    });
    (server, feed)
}

/// The operator adds a policy; returns the first suspect's service once its action is done.
fn acted(server: &Server, feed: &mut Feed, config: &Path, (name, deed): (&str, &str)) -> String {
    write(config, &format!("actions: {{mode: auto, policies: [{{name: {name}, do: {deed}, verify_within: 2m}}]}}\n"));
    hang_up(server);
    let done = eventually("the action is done", || {
        feed.keep_up();
        action(server, name, &["verifying", "mended", "escalated", "undoing", "undone"])
    });
    let incident = server.get(&format!("/api/v1/incidents/{}", done["incident_id"].as_str().expect("an id")));
    incident["suspects"][0]["service"].as_str().expect("an incident that is acted on has a suspect").to_owned()
}

/// Scenario: a server without policies has an open incident; the operator writes broken settings, then a
/// policy that slows the suspect's senders, each with SIGHUP.
/// Guarantees: broken settings change nothing and are counted; the policy is taken over without a restart and
/// acts on the open incident; the suspect's next export is told when to come again, others are not; the delay
/// from the deciding record to the action is measured.
#[test]
fn a_policy_is_taken_over_and_slows_the_suspect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    let (server, mut feed) = in_trouble(folder.path());

    write(&config, "actions: {mode: at once}\n");
    hang_up(&server);
    eventually("broken settings are counted", || server.text("/metrics").contains("geophone_reloads_refused_total").then_some(()));

    let suspect = acted(&server, &mut feed, &config, ("calm", "{throttle: {delay: 3s, lasting: 10m}}"));

    let (status, retry_after) = export(&server, &suspect, 2);
    assert_eq!(status, 503, "the suspect's sender is asked to wait");
    let delay: u64 = retry_after.and_then(|delay| delay.parse().ok()).expect("it is told for how long");
    assert!((1..=3).contains(&delay), "{delay} s");
    assert_eq!(export(&server, "bystander", 3), (200, None));
    drop(feed);
    let metrics = server.text("/metrics");
    assert!(metrics.contains("geophone_action_delay_seconds_count 1"), "{metrics}");
    assert_eq!(server.stop(), Some(0));
}
