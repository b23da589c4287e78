//! Our own counters as Prometheus text, and what they mean.

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
    describe_gauge!("geophone_alerts_promised_per_week", "False alarms a week that the operator accepts, for the whole installation");
    describe_gauge!("geophone_alerts_promised", "The same since the brain began, in event time: what may have opened by now");
    describe_counter!("geophone_alerts_opened_total", "Incidents opened since the brain began");
    describe_counter!("geophone_alerts_confirmed_total", "Of these, beyond doubt: not taken off the budget");
    describe_gauge!("geophone_alerts_opened_last_week", "Incidents opened in the last week of event time");
    describe_gauge!("geophone_alerts_observed_weeks", "Weeks of event time that the brain has seen");
    describe_gauge!("geophone_alerts_bar", "Strength from which on one lasting sign opens an incident by itself");
    describe_gauge!("geophone_series_known", "Series by how far they are known: learning, provisional, calibrated");
    describe_counter!("geophone_received_items_total", "Spans, data points and log records received");
    describe_counter!("geophone_acked_items_total", "Of these, in the log and acknowledged");
    describe_counter!("geophone_refused_items_total", "Of these, not taken; the sender was told to come again");
    describe_counter!("geophone_dropped_items_total", "Of these, refused for good, by reason");
    describe_gauge!("geophone_open_items", "Of these, neither acknowledged nor refused yet");
    describe_counter!("geophone_received_requests_total", "Requests received, by signal, transport and tenant");
    describe_counter!("geophone_acked_requests_total", "Of these, answered with success");
    describe_counter!("geophone_refused_requests_total", "Of these, refused, by reason");
    describe_gauge!("geophone_open_requests", "Of these, not answered yet");
    describe_counter!("geophone_request_packed_bytes_total", "Bytes of requests as sent");
    describe_counter!("geophone_request_bytes_total", "The same unpacked");
    describe_counter!("geophone_refused_connections_total", "Connections closed at once, by reason");
    describe_counter!("geophone_tls_reloads_total", "Changed certificates, by whether they could be used");
    describe_gauge!("geophone_brain_lag_seconds", "How far the brain is behind the newest record of the log");
    describe_counter!("geophone_commit_failures_total", "Groups that could not be appended to the log");
    describe_counter!("geophone_log_appended_records_total", "Records appended to the log");
    describe_counter!("geophone_log_appended_bytes_total", "Bytes appended to the log");
    describe_histogram!("geophone_log_commit_seconds", "Time to append a group and flush it as configured");
    describe_histogram!(
        "geophone_action_delay_seconds",
        "From the arrival of the record that made the brain decide to the start of the action"
    );
    describe_histogram!("geophone_stack_answer_seconds", "From a question for stacks of spans to named functions");
    describe_counter!("geophone_profiler_answers_cut_total", "Questions for stacks of which more was recorded than is told");
    describe_gauge!("geophone_brain_behind_records", "Records of the log that the brain has not seen");
    describe_counter!("geophone_brain_rebuilds_total", "Times the brain panicked and was rebuilt from snapshot and log");
    describe_counter!("geophone_brain_skipped_records_total", "Records that the brain cannot take, kept in the quarantine folder");
    describe_gauge!("geophone_brain_snapshot_bytes", "Size of the brain's newest snapshot");
    describe_gauge!("geophone_brain_snapshot_seconds", "How long the brain stood still for its newest snapshot");
    describe_gauge!("geophone_channel_waiting", "Messages waiting in a bounded channel");
    describe_counter!("geophone_api_refused_total", "Requests to the API answered with an error, by status");
    describe_counter!("geophone_view_forgotten_total", "Items that the read model no longer shows");
    describe_gauge!("geophone_incidents_open", "Open incidents");
    describe_gauge!("geophone_anomalies_open", "Open anomalies");
    describe_gauge!("geophone_series", "Series watched");
    describe_gauge!("geophone_up", "Always 1 while the process runs");
}
