//! What one service has measured and not yet sent: SDK-like batches that leave every few seconds.
//!
//! A deploy changes the resource; what was measured before keeps the old one.

use super::words::text;
use crate::request::ExportRequest;
use geophone_proto::otlp::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::InstrumentationScope,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Metric, ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

/// Pending telemetry of one sender.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    scope: &'static str,
    /// Old and current resources; items point into it.
    resources: Vec<Resource>,
    spans: Vec<(usize, Span)>,
    logs: Vec<(usize, LogRecord)>,
    /// When each signal leaves next.
    pub(super) traces_at: u64,
    pub(super) logs_at: u64,
    pub(super) metrics_at: u64,
}

impl Outbox {
    pub(super) fn new(scope: &'static str, resource: Resource) -> Self {
        Self { scope, resources: vec![resource], spans: Vec::new(), logs: Vec::new(), traces_at: 0, logs_at: 0, metrics_at: 0 }
    }

    fn generation(&self) -> usize {
        self.resources.len() - 1
    }

    /// From now on everything has this resource.
    pub(super) fn succeed(&mut self, resource: Resource) {
        self.resources.push(resource);
    }

    pub(super) fn span(&mut self, span: Span) {
        self.spans.push((self.generation(), span));
    }

    pub(super) fn log(&mut self, log: LogRecord) {
        self.logs.push((self.generation(), log));
    }

    fn scope(&self) -> Option<InstrumentationScope> {
        Some(InstrumentationScope { name: self.scope.to_owned(), version: "1.0.0".to_owned(), ..InstrumentationScope::default() })
    }

    /// Spans that have ended by `now`, if any.
    pub(super) fn take_traces(&mut self, now: u64) -> Option<ExportRequest> {
        let due = take_due(&mut self.spans, |span| span.end_time_unix_nano <= now);
        let resource_spans: Vec<ResourceSpans> = due
            .into_iter()
            .map(|(generation, spans)| ResourceSpans {
                resource: Some(self.resources[generation].clone()),
                scope_spans: vec![ScopeSpans { scope: self.scope(), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            })
            .collect();
        (!resource_spans.is_empty()).then_some(ExportRequest::Traces(ExportTraceServiceRequest { resource_spans }))
    }

    /// Records written by `now`, if any.
    pub(super) fn take_logs(&mut self, now: u64) -> Option<ExportRequest> {
        let due = take_due(&mut self.logs, |log| log.time_unix_nano <= now);
        let resource_logs: Vec<ResourceLogs> = due
            .into_iter()
            .map(|(generation, log_records)| ResourceLogs {
                resource: Some(self.resources[generation].clone()),
                scope_logs: vec![ScopeLogs { scope: self.scope(), log_records, ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            })
            .collect();
        (!resource_logs.is_empty()).then_some(ExportRequest::Logs(ExportLogsServiceRequest { resource_logs }))
    }

    /// These metrics under the current resource.
    pub(super) fn wrap_metrics(&self, metrics: Vec<Metric>) -> ExportRequest {
        let scope_metrics = vec![ScopeMetrics { scope: self.scope(), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resources[self.generation()].clone());
        ExportRequest::Metrics(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        })
    }
}

/// Takes what is due, grouped by generation, oldest generation first.
fn take_due<T>(pending: &mut Vec<(usize, T)>, due: impl Fn(&T) -> bool) -> Vec<(usize, Vec<T>)> {
    let mut groups: Vec<(usize, Vec<T>)> = Vec::new();
    for (generation, item) in pending.extract_if(.., |(_, item)| due(item)) {
        match groups.iter_mut().find(|(of, _)| *of == generation) {
            Some((_, items)) => items.push(item),
            None => groups.push((generation, vec![item])),
        }
    }
    groups.sort_by_key(|(generation, _)| *generation);
    groups
}

/// The resource of one instance of a service.
pub(super) fn resource(service: &str, language: &str, version: [u32; 3], instance: u64, host: &str) -> Resource {
    let [major, minor, patch] = version;
    Resource {
        attributes: vec![
            text("service.name", service),
            text("service.namespace", "shop"),
            text("service.version", format!("{major}.{minor}.{patch}")),
            text("service.instance.id", format!("{service}-{:08x}", instance & 0xffff_ffff)),
            text("host.name", host),
            text("deployment.environment.name", "demo"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.language", language),
        ],
        ..Resource::default()
    }
}
