//! Scenario: requests end in every way there is.
//! Guarantees: received = acked + refused + open, at every moment, and what is lost is counted as dropped.

use crate::server::{budget::Budget, receipt::Receipt, tally::Tally};
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
        let [received, acked, refused, open] = ["received_items_total", "acked_items_total", "refused_items_total", "open_items"]
            .map(|name| self.sum(&format!("geophone_{name}")));
        assert_eq!(received, acked + refused + open);
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

#[test]
fn received_is_acked_and_refused_and_open() {
    let notebook = Notebook::default();
    metrics::with_local_recorder(&notebook, || {
        let budget = Budget::new(1000);
        let endings: [&dyn Fn(Receipt); 4] = [
            &Receipt::ack,
            &|receipt| receipt.nack(Class::Retry, String::new()),
            &|receipt| receipt.nack(Class::Reject, String::new()),
            &drop,
        ];
        for end in endings {
            let mut tally = Tally::received(Signal::Traces, Transport::Grpc, &Tenant::default(), 10);
            notebook.check();
            tally.dropped("trace_id", 2);
            let (receipt, _verdict) = Receipt::new(tally, budget.permit(100).expect("it fits"));
            notebook.check();
            end(receipt);
            notebook.check();
        }
        drop(Tally::received(Signal::Logs, Transport::Http, &Tenant::default(), 5));
        notebook.check();
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
    ];
    assert_eq!(sums.map(|name| notebook.sum(name)), [45.0, 8.0, 0.0, 8.0, 5.0, 8.0, 8.0, 1.0]);
}
