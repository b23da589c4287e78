//! The books under load: whoever looks at `/metrics` while requests come in finds them balanced.

use super::*;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

/// Sums by signal, transport and tenant.
type Books = BTreeMap<String, [f64; 4]>;

/// Reads one look at `/metrics`: received, acked, refused and open of each line.
fn read(text: &str, what: &str) -> Books {
    let names = [
        format!("geophone_received_{what}_total"),
        format!("geophone_acked_{what}_total"),
        format!("geophone_refused_{what}_total"),
        format!("geophone_open_{what}"),
    ];
    let mut books = Books::new();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Some((metric, labels)) = name.trim_end_matches('}').split_once('{') else { continue };
        let Some(place) = names.iter().position(|name| name == metric) else { continue };
        let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.starts_with("reason=")).collect();
        labels.sort_unstable();
        books.entry(labels.join(",")).or_default()[place] += value.parse::<f64>().expect("a number");
    }
    books
}

/// Scenario: four senders, two transports, three signals, good requests, rubbish and odd rows, and somebody who
/// looks at `/metrics` all the while.
/// Guarantees: `received = acked + refused + open` for items and for requests, per signal, transport and tenant, in
/// every single look and at rest; bytes before and after unpacking are told.
#[test]
fn the_books_balance_in_every_look_under_load() {
    let site = site();
    let (http, address) = (site.server.otlp_http.as_str(), site.server.grpc.as_str());
    let (good_wire, odd) = (load::traces("books", 5, 30, NOW_NS), request("books", vec![good(1), Span::default(), good(2)]));
    let packed = gzip(&good_wire);
    let is_over = AtomicBool::new(false);
    let mut looks = 0;
    std::thread::scope(|threads| {
        let senders: Vec<_> = (0..4u32)
            .map(|sender| {
                let (good_wire, odd, packed) = (&good_wire, &odd, &packed);
                threads.spawn(move || {
                    for round in 0..40u32 {
                        match (sender + round) % 6 {
                            0 => drop(grpc(address, TRACES, &[], frame(good_wire))),
                            1 => drop(post(http, "/v1/traces", &[PROTOBUF], odd)),
                            2 => drop(post(http, "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], packed)),
                            3 => drop(grpc(address, TRACES, &[], frame(&[0xff; 99]))),
                            4 => drop(post(http, "/v1/nothing", &[PROTOBUF], &[])),
                            _ => drop(post(http, "/v1/logs", &[JSON], b"{} x")),
                        }
                    }
                })
            })
            .collect();
        let (is_over, server) = (&is_over, &site.server);
        let looker = threads.spawn(move || {
            let mut looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                let text = server.text("/metrics");
                for what in ["items", "requests"] {
                    for (line, [received, acked, refused, open]) in read(&text, what) {
                        assert_eq!(received, acked + refused + open, "{what} of {line}, look {looks}");
                    }
                }
                looks += 1;
            }
            looks
        });
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
        is_over.store(true, Ordering::Relaxed);
        looks = looker.join().expect("the books balance");
    });
    assert!(looks >= 5, "only {looks} looks");
    books_balance(&site.server);
    let text = site.server.text("/metrics");
    let requests: f64 = read(&text, "requests").values().map(|[received, ..]| received).sum();
    assert_eq!(requests, 160.0, "every request is in the books, rubbish too");
    let counters = Counters::of(&site.server);
    let bytes = |name: &str| counters.sum(name, &["transport=\"http\"", "tenant=\"default\""]);
    assert!(bytes("geophone_request_bytes_total") > bytes("geophone_request_packed_bytes_total"));
}
