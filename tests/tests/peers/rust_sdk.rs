//! The OpenTelemetry SDK for Rust against us.

use geophone_tests::server::Server;
use opentelemetry::{
    KeyValue,
    trace::{Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

/// Scenario: a Rust program with the public SDK and its gRPC exporter sends 40 spans.
/// Guarantees: the flush succeeds and every span is a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_spans_over_grpc() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(format!("http://{}", server.grpc)).build().expect("the endpoint is valid");
    let resource = Resource::builder().with_service_name("rust-sdk").with_attribute(KeyValue::new("service.version", "1.0")).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("lab");
    for _ in 0..40 {
        tracer.in_span("work", |_| {});
    }
    provider.shutdown().expect("every span is exported");
    assert_eq!(server.count("SELECT COUNT(*) FROM spans WHERE service = 'rust-sdk'"), 40);
}
