//! Every metric by name and what it says: the help lines of `/metrics`. Not how they are counted: each room
//! does that where it happens. Used by `telemetry`. A name in the sources that is missing here fails a test.

/// Only grow.
pub(crate) const COUNTERS: &[(&str, &str)] = &[
    ("geophone_acked_items_total", "Received items that are in the log and acknowledged"),
    ("geophone_acked_requests_total", "Received requests that were answered with success"),
    ("geophone_actions_refused_total", "Actions that were not done, by reason"),
    ("geophone_actions_total", "Actions by what became of them"),
    ("geophone_alerts_confirmed_total", "Of these, beyond doubt: not taken off the budget"),
    ("geophone_alerts_dropped_total", "Alerts that no receiver took and that are given up, by reason"),
    ("geophone_alerts_ledger_failed_total", "Times the list of alerts under way could not be kept on disk"),
    ("geophone_alerts_opened_total", "Incidents opened since the brain began"),
    ("geophone_alerts_read_back_failed_total", "Times an Alertmanager would not say what became of an alert"),
    ("geophone_alerts_total", "Alerts sent, by kind of receiver and outcome"),
    ("geophone_api_refused_total", "Requests to the API answered with an error, by status"),
    ("geophone_api_stream_missed_total", "Events that a slow listener of the stream missed"),
    ("geophone_brain_rebuilds_total", "Times the brain panicked and was rebuilt from snapshot and log"),
    ("geophone_brain_skipped_records_total", "Records that the brain cannot take, kept in the quarantine folder"),
    ("geophone_brain_snapshots_failed_total", "Snapshots of the brain that could not be written"),
    ("geophone_brain_snapshots_refused_total", "Snapshots of the brain that could not be used: it was folded from the log instead"),
    ("geophone_brain_unread_total", "Records of the log that the brain could not read"),
    ("geophone_broken_connections_total", "Connections of senders that broke, by reason"),
    ("geophone_client_dropped_items_total", "Items that the client gave up sending, by reason"),
    ("geophone_client_retries_total", "Requests that the client sent again"),
    ("geophone_commit_failures_total", "Groups that could not be appended to the log"),
    (
        "geophone_dropped_items_total",
        "Refused items that will not come again, by reason; all of them are in geophone_refused_items_total too",
    ),
    ("geophone_dropped_receipts_total", "Requests whose receipt was dropped without an answer; the sender was told to come again"),
    ("geophone_engine_answers_ignored_total", "Answers to the brain that came for nothing it had asked"),
    ("geophone_engine_attributes_skipped_total", "Rows whose attributes were not kept for explanations, by reason"),
    ("geophone_engine_batches_skipped_total", "Batches that the brain had seen before"),
    ("geophone_engine_model_fallbacks_total", "Rows scored by the baseline because the model failed on them"),
    ("geophone_engine_model_steps_missed_total", "Steps of a model's life that could not be taken"),
    ("geophone_engine_points_without_value_total", "Data points marked as having no value"),
    ("geophone_engine_rows_ignored_total", "Rows in which nothing is watched, by reason"),
    ("geophone_engine_rows_unscored_total", "Rows that are stored but not scored, by reason"),
    ("geophone_engine_series_overflow_total", "Rows folded into a series marked overflow, by what was too many"),
    ("geophone_engine_stacks_unused_total", "Stacks that came for an anomaly that is gone"),
    ("geophone_forgotten_requests_total", "Open requests whose sender went away"),
    ("geophone_log_append_errors_total", "Appends to the log that failed"),
    ("geophone_log_appended_bytes_total", "Bytes appended to the log"),
    ("geophone_log_appended_records_total", "Records appended to the log"),
    ("geophone_log_full_total", "Requests told to come again because the log had no room"),
    ("geophone_log_history_dropped_bytes_total", "Bytes of the log kept for replays that were dropped, by reason"),
    ("geophone_log_reader_skipped_records_total", "Damaged records that a reader of the log went past"),
    ("geophone_log_repaired_bytes_total", "Bytes of torn records cut off the log's end at start"),
    ("geophone_log_sync_errors_total", "Flushes of the log that failed"),
    ("geophone_models_abandoned_total", "Models that hung or died and are not asked again"),
    ("geophone_models_offered_total", "Models that were offered, by outcome"),
    ("geophone_models_refused_total", "Models that were refused, by reason"),
    ("geophone_models_rollbacks_lost_total", "Rollbacks that could not be told to the brain"),
    ("geophone_models_rollbacks_total", "Models that went back, by reason"),
    ("geophone_models_runtime_fallbacks_total", "Times the embedded runtime took over from ONNX Runtime"),
    ("geophone_models_runtime_panics_total", "Times a runtime panicked and was caught"),
    ("geophone_models_score_failures_total", "Batches that a model could not score"),
    ("geophone_models_scores_not_finite_total", "Scores that were NaN or infinite"),
    ("geophone_models_steps_total", "Steps of models' lives, by step"),
    ("geophone_profiler_answers_cut_total", "Questions for stacks of which more was recorded than is told"),
    ("geophone_profiler_burst_threads_missed_total", "Threads that a burst could not sample"),
    ("geophone_profiler_bursts_refused_total", "Bursts that were not begun, by reason"),
    ("geophone_profiler_bursts_total", "Times a process was sampled faster"),
    ("geophone_profiler_events_lost_total", "Events that the kernel dropped before they were read"),
    ("geophone_profiler_events_total", "Events read from the kernel"),
    ("geophone_profiler_modules_dropped_total", "Programs and libraries whose unwind tables were dropped"),
    ("geophone_profiler_processes_unwatched_total", "Processes that are not watched because there are too many"),
    ("geophone_profiler_samples_dropped_total", "Samples that were not kept, by reason"),
    ("geophone_profiler_symbols_failed_total", "Files whose symbols could not be read"),
    ("geophone_program_bytes_given_back_total", "Memory of the program's own code and constants that was given back to the kernel"),
    ("geophone_queries_total", "SQL statements, by outcome"),
    (
        "geophone_received_items_total",
        "Spans, data points, log records and samples of decoded requests: acked, refused and open ones. What a request holds that was refused undecoded is not known: it counts among requests only",
    ),
    (
        "geophone_received_requests_total",
        "Requests received, decoded or not, by signal, transport and tenant: acked, refused and open ones",
    ),
    ("geophone_refused_connections_total", "Connections closed at once, by reason"),
    (
        "geophone_refused_items_total",
        "Received items that were not taken, by reason. Those that will not come again are in geophone_dropped_items_total too; of the others the sender was told to come again, or went away",
    ),
    ("geophone_refused_requests_total", "Received requests that were refused, by reason, before they were decoded or after"),
    ("geophone_reloads_refused_total", "Changed configurations that were refused"),
    ("geophone_replay_refused_messages_total", "Messages that a replay could not read"),
    ("geophone_replay_rejected_rows_total", "Rows that a replay refused"),
    ("geophone_request_bytes_total", "The same unpacked"),
    ("geophone_request_packed_bytes_total", "Bytes of requests as sent"),
    ("geophone_retain_failures_total", "Times old files could not be deleted"),
    ("geophone_retention_dropped_rows_total", "Rows deleted because they are too old or too many, by table and reason"),
    ("geophone_retention_dropped_versions_total", "Older versions of incidents, anomalies and actions deleted"),
    ("geophone_sampling_requests_total", "Times a sender asked how much to sample"),
    ("geophone_seal_failures_total", "Times a part of the log could not be made Parquet; it is tried again"),
    ("geophone_stack_answers_lost_total", "Answers about stacks that could not be told to the brain"),
    ("geophone_stack_places_failed_total", "Addresses whose place in the source could not be found"),
    ("geophone_stack_profiles_lost_total", "Profiles of flagged spans that could not be stored"),
    ("geophone_stack_requests_dropped_total", "Requests for stacks that were dropped because there were too many"),
    ("geophone_stack_requests_total", "Requests for stacks, by outcome"),
    ("geophone_stack_rows_left_out_total", "Rows of stored profiles left out of an answer"),
    ("geophone_stack_texts_lost_total", "Flame graphs that could not be kept"),
    ("geophone_store_bad_journal_lines_total", "Lines of a journal that could not be read"),
    ("geophone_store_bad_snapshots_total", "Snapshots that could not be read"),
    ("geophone_store_journal_errors_total", "Appends to a journal that failed"),
    ("geophone_store_known_windows_total", "Windows that were stored already and are not stored again"),
    ("geophone_store_lost_records_total", "Records that were expected in the log and are not there"),
    ("geophone_store_merged_files_total", "Small Parquet files merged into larger ones"),
    ("geophone_store_seal_errors_total", "Parquet files that could not be written"),
    ("geophone_store_sealed_rows_total", "Rows written to Parquet, by table"),
    ("geophone_store_swept_files_total", "Files that no catalog knows, deleted at start"),
    ("geophone_ticks_lost_total", "Ticks that found no room in the log"),
    ("geophone_tls_reloads_total", "Changed certificates, by whether they could be used"),
    ("geophone_unheard_answers_total", "Answers that came after the sender had gone"),
    ("geophone_unreadable_exports_total", "Requests that could not be decoded, by reason"),
    ("geophone_view_forgotten_total", "Items that the read model no longer shows"),
    ("geophone_view_series_refused_total", "Series that charts do not show because there are too many"),
];

/// Go up and down.
pub(crate) const GAUGES: &[(&str, &str)] = &[
    ("geophone_alerts_bar", "Strength from which on one lasting sign opens an incident by itself"),
    ("geophone_alerts_observed_weeks", "Weeks of event time that the brain has seen"),
    ("geophone_alerts_opened_last_week", "Incidents opened in the last week of event time"),
    ("geophone_alerts_promised", "The same since the brain began, in event time: what may have opened by now"),
    ("geophone_alerts_promised_per_week", "False alarms a week that the operator accepts, for the whole installation"),
    ("geophone_anomalies_open", "Open anomalies"),
    ("geophone_brain_behind_records", "Records of the log that the brain has not seen"),
    ("geophone_brain_lag_seconds", "How far the brain is behind the newest record of the log"),
    ("geophone_brain_snapshot_bytes", "Size of the brain's newest snapshot"),
    ("geophone_brain_snapshot_seconds", "How long the brain stood still for its newest snapshot"),
    ("geophone_channel_waiting", "Messages waiting in a bounded channel"),
    ("geophone_incidents_open", "Open incidents"),
    ("geophone_log_bytes", "Bytes of the log on disk"),
    ("geophone_log_history_bytes", "Bytes of the log kept for replays"),
    ("geophone_log_reader_lag_records", "Records that a reader of the log has not read yet"),
    ("geophone_log_segments", "Files of the log"),
    ("geophone_log_tail_bytes", "Bytes of the log's newest records kept in memory"),
    ("geophone_log_unreleased_records", "Records of the log that a reader may still ask for"),
    ("geophone_log_unsealed_records", "Records of the log that are not Parquet yet"),
    ("geophone_open_bytes", "Bytes of open requests, unpacked"),
    ("geophone_open_items", "Of these, neither acknowledged nor refused yet"),
    ("geophone_open_requests", "Of these, not answered yet"),
    ("geophone_profiler_ring_bytes", "Bytes of the flight recorder's ring"),
    ("geophone_profiler_ring_seconds", "How far back the flight recorder's ring reaches"),
    ("geophone_series", "Series watched"),
    ("geophone_series_known", "Series by how far they are known: learning, provisional, calibrated"),
    ("geophone_store_bytes", "Bytes of Parquet files"),
    ("geophone_store_files", "Parquet files"),
    ("geophone_up", "Always 1 while the process runs"),
    ("geophone_view_points", "Points kept in memory for charts"),
];

/// In seconds.
pub(crate) const HISTOGRAMS: &[(&str, &str)] = &[
    ("geophone_action_delay_seconds", "From the arrival of the record that made the brain decide to the start of the action"),
    ("geophone_log_commit_seconds", "Time to append a group and flush it as configured"),
    ("geophone_stack_answer_seconds", "From a question for stacks of spans to named functions"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn names_in(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                names_in(&entry, found);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&entry).expect("a source file");
                let names = text
                    .split('"')
                    .filter(|word| word.strip_prefix("geophone_").is_some_and(|rest| rest.ends_with("_total") && !rest.contains('{')));
                found.extend(names.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_counter_in_the_sources_is_told_and_every_name_is_there_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = Vec::new();
        for room in ["analytics", "ingest", "models", "profiler-ebpf", "client"] {
            names_in(&root.join(room), &mut found);
        }
        let told: Vec<&str> = [COUNTERS, GAUGES, HISTOGRAMS].iter().flat_map(|table| table.iter().map(|(name, _)| *name)).collect();
        let missing: Vec<&String> = found.iter().filter(|name| !told.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "not in this table: {missing:?}");
        let mut once = told.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), told.len());
        assert!(COUNTERS.iter().all(|(name, _)| name.ends_with("_total")));
    }
}
