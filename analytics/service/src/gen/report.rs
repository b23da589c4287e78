//! What `geophone gen` prints.

use super::latency::Latencies;
use crate::{commands::Format, error::ServiceError};
use serde::Serialize;
use std::io::{Write, stdout};

/// Counts, rate and latencies of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Report {
    requests: u64,
    items: u64,
    acked_items: u64,
    refused_items: u64,
    items_per_second: f64,
    latency_ms: Quantiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
    p999: f64,
}

impl Report {
    /// From requests, items, acked and refused items.
    pub fn new(counts: [u64; 4], seconds: f64, latencies: &Latencies) -> Self {
        let [requests, items, acked_items, refused_items] = counts;
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let quantile = |share: f64| rounded(latencies.quantile_ms(share));
        Self {
            requests,
            items,
            acked_items,
            refused_items,
            items_per_second: rounded(if seconds > 0.0 { acked_items as f64 / seconds } else { 0.0 }),
            latency_ms: Quantiles { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), p999: quantile(0.999) },
        }
    }

    /// Writes it to stdout.
    pub fn print(&self, format: Format) -> Result<(), ServiceError> {
        let text = match format {
            Format::Json | Format::Ndjson => serde_json::to_string(self).map_err(|error| ServiceError::Negative(error.to_string()))?,
            Format::Table => self.lines(),
        };
        writeln!(stdout().lock(), "{text}").map_err(ServiceError::io("write to stdout"))
    }

    fn lines(&self) -> String {
        let Quantiles { p50, p95, p99, p999 } = self.latency_ms;
        format!(
            "requests       {}\nitems          {}\nacked          {}\nrefused        {}\nitems/s        {:.0}\n\
             latency ms     p50 {p50:.2}   p95 {p95:.2}   p99 {p99:.2}   p99.9 {p999:.2}",
            self.requests, self.items, self.acked_items, self.refused_items, self.items_per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_promised_names() {
        let shown = serde_json::to_value(Report::new([2, 20, 15, 5], 2.0, &Latencies::default())).expect("numbers only");
        let expected = serde_json::json!({
            "requests": 2, "items": 20, "acked_items": 15, "refused_items": 5, "items_per_second": 7.5,
            "latency_ms": {"p50": 0.0, "p95": 0.0, "p99": 0.0, "p999": 0.0},
        });
        assert_eq!(shown, expected);
    }
}
