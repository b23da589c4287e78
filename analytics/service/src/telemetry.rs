//! Our own counters as text for Prometheus.

use crate::metric_names::{COUNTERS, GAUGES, HISTOGRAMS};
use geophone_ingest::Access;
use geophone_proto::effect::BudgetState;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Set once: the `metrics` facade takes one recorder per process.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Whose turn it is to look.
static LOOK: Mutex<()> = Mutex::new(());

/// Bounds for durations, in seconds.
const SECONDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The recorder of this process; the first call installs it.
pub fn recorder() -> &'static PrometheusHandle {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(SECONDS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

/// The text of `/metrics`. One look at a time, so that what it shows of each tenant's requests is how they
/// stood at one moment.
pub fn render(recorder: &PrometheusHandle, access: &Access) -> String {
    let _turn = LOOK.lock().unwrap_or_else(PoisonError::into_inner);
    access.publish();
    recorder.render()
}

/// What was promised and what came, and how far series are known.
pub fn set_budget(budget: &BudgetState, [learning, provisional, calibrated]: [usize; 3]) {
    metrics::gauge!("geophone_alerts_promised_per_week").set(budget.promised_per_week);
    metrics::gauge!("geophone_alerts_promised").set(budget.promised);
    metrics::counter!("geophone_alerts_opened_total").absolute(budget.opened);
    metrics::counter!("geophone_alerts_confirmed_total").absolute(budget.confirmed);
    metrics::gauge!("geophone_alerts_opened_last_week").set(budget.last_week as f64);
    metrics::gauge!("geophone_alerts_observed_weeks").set(budget.weeks);
    metrics::gauge!("geophone_alerts_bar").set(budget.bar.unwrap_or(f64::INFINITY));
    for (state, count) in [("learning", learning), ("provisional", provisional), ("calibrated", calibrated)] {
        metrics::gauge!("geophone_series_known", "state" => state).set(count as f64);
    }
}

fn describe() {
    COUNTERS.iter().for_each(|(name, help)| describe_counter!(*name, *help));
    GAUGES.iter().for_each(|(name, help)| describe_gauge!(*name, *help));
    HISTOGRAMS.iter().for_each(|(name, help)| describe_histogram!(*name, *help));
}

/// The same as `OpenMetrics` 1.0: families of counters are named without `_total`, and the end is marked.
pub fn open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let parts = (words.next(), words.next(), words.next(), words.next());
        if let (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), rest) = parts {
            let family = name.strip_suffix("_total").unwrap_or(name);
            out.extend(["# ", what, " ", family, " ", rest.unwrap_or("")]);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_names_families_without_total_and_ends() {
        let text = "# HELP a_total Of a thing\n# TYPE a_total counter\na_total{x=\"y z\"} 1\n\n# TYPE b gauge\nb 2\n\n";
        assert_eq!(open_metrics(text), "# HELP a Of a thing\n# TYPE a counter\na_total{x=\"y z\"} 1\n# TYPE b gauge\nb 2\n# EOF\n");
    }
}
