//! Scenario: requests end in every way there is.
//! Guarantees: received = acked + refused + open, at every moment, and what is lost is counted as dropped.

use crate::{
    access::{Access, Place},
    server::{
        budget::Budget,
        pressure::Pressure,
        receipt::Receipt,
        refusal::Refusal,
        tally::{Guest, Tally},
    },
};
use geophone_proto::{Class, Signal, Tenant, Transport};
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

type Values = Arc<Mutex<BTreeMap<String, f64>>>;

/// Keeps sums by name, and by name and reason.
#[derive(Clone, Default)]
struct Notebook(Values);

struct Line(Values, Vec<String>);

impl Line {
    fn add(&self, by: f64) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.1.iter().for_each(|name| *values.entry(name.clone()).or_default() += by);
    }
}

impl CounterFn for Line {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn increment(&self, by: u64) {
        self.add(by as f64);
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Line {
    fn increment(&self, by: f64) {
        self.add(by);
    }

    fn decrement(&self, by: f64) {
        self.add(-by);
    }

    fn set(&self, _: f64) {}
}

impl Notebook {
    fn line(&self, key: &Key) -> Arc<Line> {
        let reasons = key.labels().filter(|label| label.key() == "reason").map(|label| format!("{} {}", key.name(), label.value()));
        let names = std::iter::once(key.name().to_owned()).chain(reasons).collect();
        Arc::new(Line(self.0.clone(), names))
    }

    fn sum(&self, name: &str) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or_default()
    }

    fn check(&self) {
        for what in ["items", "requests"] {
            let [received, acked, refused] =
                ["received", "acked", "refused"].map(|name| self.sum(&format!("geophone_{name}_{what}_total")));
            assert_eq!(received, acked + refused + self.sum(&format!("geophone_open_{what}")), "{what}");
        }
    }
}

impl Recorder for Notebook {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

const PLACE: Place = Place { signal: Some(Signal::Traces), transport: Transport::Grpc };

#[test]
fn received_is_acked_and_refused_and_open() {
    let notebook = Notebook::default();
    metrics::with_local_recorder(&notebook, || {
        let (budget, access) = (Budget::new(1000), Access::default());
        let account = access.account(&Tenant::default()).expect("there is room");
        let check = || {
            access.publish();
            notebook.check();
        };
        let endings: [&dyn Fn(Receipt); 4] = [
            &Receipt::ack,
            &|receipt| receipt.nack(Class::Retry, String::new()),
            &|receipt| receipt.nack(Class::Reject, String::new()),
            &drop,
        ];
        for end in endings {
            let guest = Guest::received(Arc::clone(&account), PLACE);
            let mut tally = Tally::received(&guest, 10);
            check();
            tally.dropped("trace_id", 2);
            let permit = budget.permit(&account, false, 100).expect("it fits");
            let (receipt, _verdict) = Receipt::new(tally, permit, Pressure::default().waiting());
            check();
            end(receipt);
            check();
            guest.acked();
            check();
        }
        let guest = Guest::received(Arc::clone(&account), PLACE);
        drop(Tally::received(&guest, 5));
        check();
        guest.refused(&Refusal::too_large(1));
        drop(Guest::received(Arc::clone(&account), Place { signal: None, ..PLACE }));
        check();
        assert_eq!(budget.used(), 0);
    });
    let sums = [
        "geophone_received_items_total",
        "geophone_acked_items_total",
        "geophone_open_items",
        "geophone_refused_items_total receipt_dropped",
        "geophone_refused_items_total sender_gone",
        "geophone_dropped_items_total trace_id",
        "geophone_dropped_items_total reject",
        "geophone_dropped_receipts_total",
        "geophone_received_requests_total",
        "geophone_acked_requests_total",
        "geophone_refused_requests_total too_large",
        "geophone_refused_requests_total sender_gone",
        "geophone_open_requests",
    ];
    assert_eq!(sums.map(|name| notebook.sum(name)), [45.0, 8.0, 0.0, 8.0, 5.0, 8.0, 8.0, 1.0, 6.0, 4.0, 1.0, 1.0, 0.0]);
}

/// Scenario: requests come and go on four threads while somebody looks.
/// Guarantees: every look finds the books balanced, not only the last.
#[test]
fn the_books_balance_while_requests_come_in() {
    let (notebook, access) = (Notebook::default(), Access::default());
    let account = access.account(&Tenant::default()).expect("there is room");
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for round in 0..5_000u64 {
                    let guest = Guest::received(Arc::clone(&account), PLACE);
                    let mut tally = Tally::received(&guest, 7);
                    tally.dropped("trace_id", round % 3);
                    if round % 2 == 0 {
                        tally.acked()
                    } else {
                        tally.refused("busy")
                    }
                    if round % 5 == 0 { drop(guest) } else { guest.acked() }
                }
            });
        }
        metrics::with_local_recorder(&notebook, || {
            for _ in 0..200 {
                access.publish();
                notebook.check();
            }
        });
    });
    metrics::with_local_recorder(&notebook, || access.publish());
    notebook.check();
    assert_eq!((notebook.sum("geophone_received_items_total"), notebook.sum("geophone_open_items")), (140_000.0, 0.0));
}
