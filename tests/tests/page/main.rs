//! The web page of the real binary in a real browser.

mod browser;

use browser::{Browser, Shown, escaped};
use geophone_tests::{
    feed::Feed,
    server::{Server, agent, eventually},
};
use serde_json::Value;

fn open(browser: &Browser, server: &Server, path: &str) -> Shown {
    let shown = browser.open(&format!("http://{}{path}", server.http));
    assert!(shown.console.is_empty(), "{path} wrote to the console: {:?}", shown.console);
    for mark in ["href=\"", "src=\""] {
        let foreign = shown.document.split(mark).skip(1).find(|address| !address.starts_with(['/', '#']));
        assert!(foreign.is_none(), "{path} points elsewhere: {foreign:.80?}");
    }
    assert!(!shown.document.contains("class=\"error\""), "{path} shows an error");
    shown
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn incident_with_suspects(server: &Server, feed: &mut Feed) -> Value {
    eventually("an open incident with suspects and anomalies", || {
        feed.keep_up();
        let list = server.get("/api/v1/incidents?state=open");
        let first = list["items"].as_array().and_then(|items| items.first()).cloned()?;
        let is_full = |name: &str| first[name].as_array().is_some_and(|list| !list.is_empty());
        (is_full("suspects") && is_full("anomalies")).then_some(first)
    })
}

fn is_listed(shown: &Shown, incident: &Value) -> bool {
    let link = format!("href=\"/incidents/{}\">{}</a>", text(&incident["id"]), escaped(text(&incident["title"])));
    shown.document.contains(&link)
}

/// Scenario: a shop's frontend begins to fail; somebody opens the overview, then the incident's address in
/// another browser, then an anomaly, the services and a query.
/// Guarantees: open incidents are listed by title as links; an incident page loaded by its address shows
/// verdict, suspects with evidence and a chart; nothing is written to the console and nothing leads to
/// another origin, which the security policy forbids besides.
#[test]
fn an_incident_is_seen_from_overview_to_chart() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &["--durability", "os"]);
    let mut feed = Feed::to(&server);
    feed.into_fault(120);
    incident_with_suspects(&server, &mut feed);

    // The title follows the incident while it lasts: what the API said just before or just after counts.
    let overview = eventually("the overview lists every open incident", || {
        feed.keep_up();
        let open_now = |server: &Server| server.get("/api/v1/incidents?state=open")["items"].as_array().cloned().unwrap_or_default();
        let before = open_now(&server);
        let shown = open(&browser, &server, "/");
        let after = open_now(&server);
        (!after.is_empty() && [before, after].iter().any(|items| items.iter().all(|one| is_listed(&shown, one)))).then_some(shown)
    });
    assert!(overview.has("open incident"));

    let incident = incident_with_suspects(&server, &mut feed);
    let id = text(&incident["id"]);
    let page = open(&browser, &server, &format!("/incidents/{id}"));
    let suspect = &incident["suspects"][0];
    assert_eq!(text(&suspect["service"]), feed.fault().service, "{incident}");
    assert!(page.has(text(&suspect["service"])) && page.has(text(&suspect["operation"])), "the suspect is named");
    assert!(page.document.contains("<svg") && page.document.contains("class=\"actual\""), "there is a chart");
    assert!(page.has("Cause") && page.has("History"));

    let anomaly = text(&incident["anomalies"][0]);
    let shown = open(&browser, &server, &format!("/anomalies/{anomaly}"));
    assert!(shown.document.contains("class=\"band\"") && shown.has("Attributes that carry it"));
    assert!(open(&browser, &server, "/services").has(&feed.fault().service));
    assert!(open(&browser, &server, "/query?sql=SELECT%20COUNT(*)%20AS%20counted%20FROM%20spans").has("counted"));
    for path in ["/incidents", "/anomalies", "/actions", "/models"] {
        open(&browser, &server, path);
    }
}

/// Scenario: nothing has been received yet.
/// Guarantees: every view says so instead of being blank, the overview says where to send telemetry, and the
/// policy lets the page reach its own origin only.
#[test]
fn an_empty_service_says_what_to_do() {
    let Some(browser) = Browser::find() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    assert!(open(&browser, &server, "/").has(&server.grpc));
    for (path, words) in [
        ("/incidents", "No incident matches"),
        ("/anomalies", "No anomaly matches"),
        ("/services", "Nothing has been received"),
        ("/actions", "No policy has matched"),
        ("/models", "active"),
    ] {
        assert!(open(&browser, &server, path).has(words), "{path}");
    }
    let answer = agent().get(format!("http://{}/incidents/in-1", server.http)).call().expect("the page is served");
    let policy = answer.headers().get("content-security-policy").and_then(|value| value.to_str().ok()).expect("there is a policy");
    assert!(policy.contains("default-src 'self'") && !policy.contains("http"), "{policy}");
}
