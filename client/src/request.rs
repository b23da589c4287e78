//! One export request of any signal, as a value. Made by senders, taken by the client and by files.

use bytes::Bytes;
use geophone_proto::{
    Signal,
    otlp::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
        },
        metrics::v1::metric::Data,
    },
};
use prost::Message;

/// The body of an `Export` call.
#[derive(Clone, Debug, PartialEq)]
pub enum ExportRequest {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Data points.
    Metrics(ExportMetricsServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Profiles.
    Profiles(ExportProfilesServiceRequest),
}

impl ExportRequest {
    /// Which signal it carries.
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
            Self::Profiles(_) => Signal::Profiles,
        }
    }

    /// Number of spans, data points, log records or profiles.
    pub fn items(&self) -> u64 {
        let count = match self {
            Self::Traces(request) => {
                request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum::<usize>()
            }
            Self::Metrics(request) => {
                let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
                scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.data.as_ref().map_or(0, points)).sum()
            }
            Self::Logs(request) => {
                request.resource_logs.iter().flat_map(|resource| &resource.scope_logs).map(|scope| scope.log_records.len()).sum()
            }
            Self::Profiles(request) => {
                request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles).map(|scope| scope.profiles.len()).sum()
            }
        };
        count as u64
    }

    /// Reads protobuf bytes.
    pub fn decode(signal: Signal, wire: Bytes) -> Result<Self, prost::DecodeError> {
        match signal {
            Signal::Traces => ExportTraceServiceRequest::decode(wire).map(Self::Traces),
            Signal::Metrics => ExportMetricsServiceRequest::decode(wire).map(Self::Metrics),
            Signal::Logs => ExportLogsServiceRequest::decode(wire).map(Self::Logs),
            Signal::Profiles => ExportProfilesServiceRequest::decode(wire).map(Self::Profiles),
        }
    }

    /// The protobuf bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Profiles(request) => request.encode_to_vec(),
        }
        .into()
    }
}

fn points(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}
