//! A real Alertmanager: what it is told, and what it says back.

use geophone_tests::{
    feed::Feed,
    place,
    server::{Server, agent, eventually, free_port},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

struct Alertmanager {
    child: Child,
    url: String,
}

impl Alertmanager {
    fn start(binary: &Path, folder: &Path) -> Self {
        let config = folder.join("alertmanager.yaml");
        fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").expect("the temporary folder is writable");
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
            .args([&format!("--web.listen-address={address}"), "--cluster.listen-address="])
            .stderr(Stdio::null())
            .spawn()
            .expect("Alertmanager can be started");
        let started = Self { child, url: format!("http://{address}") };
        eventually("Alertmanager is ready", || {
            agent().get(format!("{}/-/ready", started.url)).call().ok().filter(|answer| answer.status() == 200)
        });
        started
    }

    /// What it knows of us: alerts that have not ended, silenced ones included.
    fn alerts(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts?filter=detector%3D%22geophone%22", self.url);
        let mut answer = agent().get(url).call().expect("Alertmanager answers");
        answer.body_mut().read_json().expect("an array of alerts")
    }

    /// Silences an incident; returns the silence's id.
    fn silence(&self, incident: &str) -> String {
        let silence = json!({
            "matchers": [{"name": "incident_id", "value": incident, "isRegex": false, "isEqual": true}],
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z", "createdBy": "lab", "comment": "known",
        });
        let mut answer = agent().post(format!("{}/api/v2/silences", self.url)).send_json(silence).expect("Alertmanager answers");
        let answer: Value = answer.body_mut().read_json().expect("an id");
        answer["silenceID"].as_str().unwrap_or_else(|| panic!("the silence was refused: {answer}")).to_owned()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn delivery(server: &Server, incident: &str) -> Value {
    let mut incident = server.get(&format!("/api/v1/incidents/{incident}"));
    assert!(incident["alerts"].as_array().is_none_or(|alerts| alerts.len() <= 1), "one receiver, one delivery: {incident}");
    incident["alerts"][0].take()
}

/// Scenario: a shop's frontend begins to fail; an operator silences the alert; the fault ends.
/// Guarantees: Alertmanager holds one alert per incident, whose `service_name` is the cause's; the silence is
/// seen in our API; and the alert ends when the incident closes.
#[test]
fn fires_is_silenced_and_resolves() {
    let Some(binary) = place::peer("prometheus-alertmanager") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let alertmanager = Alertmanager::start(&binary, folder.path());
    let config = folder.path().join("geophone.yaml");
    let alerts = format!("alerts:\n  alertmanager: [{{url: \"{}\"}}]\n  resend_interval: 5s\n", alertmanager.url);
    fs::write(&config, alerts).expect("the temporary folder is writable");
    let config = config.to_str().expect("temporary folders have plain names");
    let server = Server::start(&folder.path().join("data"), &["--config", config, "--durability", "os"]);
    let mut feed = Feed::to(&server);
    feed.into_fault(120);

    let alert = eventually("an alert fires", || {
        feed.keep_up();
        alertmanager.alerts().into_iter().next()
    });
    let labels = &alert["labels"];
    assert_eq!((&labels["service_name"], &labels["detector"]), (&json!(feed.fault().service), &json!("geophone")), "{alert}");
    assert!(["info", "warning", "critical"].iter().any(|word| labels["severity"] == *word), "{alert}");
    let id = labels["incident_id"].as_str().expect("an alert names its incident").to_owned();
    let incident = server.get(&format!("/api/v1/incidents/{id}"));
    assert_eq!(alert["startsAt"].as_str().map(|at| &at[..19]), incident["started_at"].as_str().map(|at| &at[..19]), "event time");
    assert!(alert["generatorURL"].as_str().is_some_and(|url| url.ends_with(&format!("/incidents/{id}"))), "{alert}");

    let silence = alertmanager.silence(&id);
    eventually("the API shows the silence", || {
        feed.keep_up();
        let shown = delivery(&server, &id);
        (shown["silenced_by"] == json!([silence]) && shown["receiver_state"] == "suppressed").then_some(())
    });
    let of_incident = alertmanager.alerts().iter().filter(|alert| alert["labels"]["incident_id"] == json!(id)).count();
    assert_eq!(of_incident, 1, "a change of severity ends the old alert");

    feed.past_fault(600);
    eventually("the incident closes and its alert ends", || {
        feed.keep_up();
        let is_over = server.get(&format!("/api/v1/incidents/{id}"))["state"] == "closed";
        let is_told = delivery(&server, &id)["state"] == "resolved";
        let is_gone = alertmanager.alerts().iter().all(|alert| alert["labels"]["incident_id"] != json!(id));
        (is_over && is_told && is_gone).then_some(())
    });
}
