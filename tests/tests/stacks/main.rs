//! Stacks on spans, flagged and on request: profiles that others send, a recorded session, and, as root, a real process.

#[path = "../page/browser.rs"]
mod browser;
mod recorded;
mod sender;
mod till;

use browser::Browser;
use geophone_tests::server::{Server, eventually};
use sender::{Call, SLOW_FROM, Service};
use serde_json::{Value, json};

/// Its profiles name spans.
const TILL: Service = Service { name: "till", pid: 41 };
/// Its profiles name the process only.
const KIOSK: Service = Service { name: "kiosk", pid: 42 };
/// Exports leave together.
const PIECE: u64 = 5;

/// Lets a service be well, then slow, and calls `also` with every piece before its spans are sent.
fn turn_slow(server: &Server, services: &[Service], also: impl Fn(&Service, &[Call])) {
    for piece in 0..(SLOW_FROM + 240) / PIECE {
        for service in services {
            let calls = service.calls(piece * PIECE..(piece + 1) * PIECE);
            also(service, &calls);
            service.send(server, &calls);
        }
    }
}

/// The anomaly of a service that has stacks.
fn with_stacks(server: &Server, service: &str) -> Value {
    eventually("an anomaly has stacks", || {
        let list = server.get(&format!("/api/v1/anomalies?service={service}"));
        list["items"].as_array()?.iter().find(|anomaly| !anomaly["stacks"].is_null()).cloned()
    })
}

/// Scenario: two services turn slow in one function; a profiler of another make sends profiles by OTLP, of the one with
/// links to spans, of the other with the process's number only. Somebody opens the incident and the anomaly in a browser.
/// Guarantees: both anomalies have stacks, by span and by process; the slow function leads the difference and is the
/// culprit; the folded text and the flame graph are there; the page names the function, with graph, switch, badge and table.
#[test]
fn profiles_of_others_are_attached() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &["--durability", "os"]);
    turn_slow(&server, &[TILL, KIOSK], |service, calls| service.send_profile(&server, calls, service.name == "till"));
    for (service, link) in [("till", "span"), ("kiosk", "process")] {
        let anomaly = with_stacks(&server, service);
        let (id, stacks) = (anomaly["id"].as_str().expect("an id"), &anomaly["stacks"]);
        assert_eq!(stacks["link"], link, "{service}: {stacks}");
        assert_eq!(stacks["spans"], stacks["spans_flagged"], "{stacks}");
        let first = &stacks["top"][0];
        assert_eq!((&first["function"], &first["state"]), (&json!("try_every_voucher"), &json!("on_cpu")), "{stacks}");
        let time = |name: &str| first[name].as_u64().expect("a number");
        assert!(time("total_ns") >= 52_000_000 && time("baseline_total_ns") == 0, "{first}");
        assert_eq!(stacks["culprit"]["function"], "try_every_voucher", "{stacks}");
        let folded = server.text(&format!("/api/v1/anomalies/{id}/folded"));
        assert!(folded.contains(";[on_cpu];serve;add_up_basket;try_every_voucher "), "{folded}");
        assert!(server.text(&format!("/api/v1/anomalies/{id}/flamegraph")).contains("try_every_voucher"));
        if let Some(browser) = Browser::find() {
            is_shown(&browser, &server, &anomaly);
        }
    }
    assert_eq!(server.stop(), Some(0));
}

/// What somebody sees who opens the incident, then the anomaly.
fn is_shown(browser: &Browser, server: &Server, anomaly: &Value) {
    let open = |path: &str| {
        let shown = browser.open(&format!("http://{}{path}", server.http));
        assert!(shown.console.is_empty(), "{path} wrote to the console: {:?}", shown.console);
        shown
    };
    let id = anomaly["id"].as_str().expect("an id");
    let page = open(&format!("/anomalies/{id}"));
    let link = anomaly["stacks"]["link"].as_str().expect("a word");
    for wanted in [&format!("linked by {link}"), "off CPU: blocked", "Most of the extra time is in", "More than normal", "folded stacks"] {
        assert!(page.has(wanted), "{id} lacks `{wanted}`");
    }
    assert!(page.document.contains("class=\"frame\"") && page.document.contains("aria-label=\"try_every_voucher: "), "no graph");
    let Some(incident) = anomaly["incident_id"].as_str() else { return };
    let page = open(&format!("/incidents/{incident}"));
    assert!(page.has("the extra time is in") && page.has("try_every_voucher"), "the incident does not name the function");
}
