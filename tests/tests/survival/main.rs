//! What is promised to senders, while the process is killed. `GEOPHONE_KILLS` says how often (50).

use geophone_tests::{
    load,
    server::{Server, agent},
};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

const SENDERS: usize = 4;
const SPANS: u64 = 7;
const TIME_NS: u64 = 1_750_000_000_000_000_000;

/// Sends until the server is gone; returns when every sender has met a dead server. The server is killed
/// by `kill_now` as soon as `kill_after` requests have been acked in this round.
fn load_until_killed(server: Server, next: &AtomicU64, acked: &Mutex<BTreeSet<u64>>, kill_after: u64) {
    let url = format!("http://{}/v1/traces", server.otlp_http);
    let acks = AtomicU64::new(0);
    let (kill, killed) = std::sync::mpsc::sync_channel::<()>(SENDERS);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            let kill = kill.clone();
            let (url, acks) = (&url, &acks);
            scope.spawn(move || {
                let agent = agent();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = load::traces(&format!("load-{number}"), number, SPANS, TIME_NS + number * 1_000_000);
                    match agent.post(url).header("content-type", "application/x-protobuf").send(&body[..]) {
                        Ok(answer) if answer.status() == 200 => {
                            acked.lock().expect("no sender panics").insert(number);
                            if acks.fetch_add(1, Ordering::Relaxed) + 1 == kill_after {
                                kill.send(()).expect("the killer waits");
                            }
                        }
                        Ok(answer) => assert!([429, 503].contains(&answer.status().as_u16()), "{}", answer.status()),
                        Err(_) => return,
                    }
                }
            });
        }
        killed.recv().expect("a sender says when");
        server.kill();
    });
}

/// How many rows each request has, by its number.
fn rows_by_request(server: &Server) -> Vec<(u64, u64)> {
    let mut rows = Vec::new();
    // Pages, because no answer holds more than its cap.
    loop {
        let page = server.query(&format!(
            "SELECT service, COUNT(*) AS spans, COUNT(DISTINCT span_id) AS ids FROM spans GROUP BY service ORDER BY service LIMIT 5000 OFFSET {}",
            rows.len()
        ));
        let full = page.len() == 5000;
        rows.extend(page.into_iter().map(|row| {
            let number = row[0].as_str().and_then(|name| name.strip_prefix("load-")).and_then(|number| number.parse().ok());
            assert_eq!(row[1], row[2], "a span is there twice");
            (number.expect("only our requests were sent"), row[1].as_u64().expect("a count"))
        }));
        if !full {
            return rows;
        }
    }
}

fn survive(data: &Path, durability: &str) {
    let (next, acked) = (AtomicU64::new(1), Mutex::new(BTreeSet::new()));
    let kills = std::env::var("GEOPHONE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    for round in 0..kills {
        let server = Server::start(data, &["--durability", durability]);
        load_until_killed(server, &next, &acked, 1 + round * 37 % 60);
    }
    let server = Server::start(data, &["--durability", durability]);
    let rows = rows_by_request(&server);
    assert!(rows.iter().all(|(_, spans)| *spans == SPANS), "a request is all there or not at all: {rows:?}");
    let stored: BTreeSet<u64> = rows.into_iter().map(|(number, _)| number).collect();
    let acked = acked.into_inner().expect("no sender panicked");
    let lost: Vec<&u64> = acked.difference(&stored).collect();
    assert!(lost.is_empty(), "{} acked requests are lost: {lost:?}", lost.len());
    eprintln!("{kills} kills, {} acked requests, {} stored", acked.len(), stored.len());
    assert_eq!(server.stop(), Some(0), "SIGTERM ends it well");
}

/// Scenario: four senders, one request each in flight; the process is killed again and again, each time after
/// a different number of acks, and started again on the same folder.
/// Guarantees: every acked request is there after the last start, whole and once.
#[test]
fn kills_lose_no_acked_span() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    survive(folder.path(), "fsync");
}
