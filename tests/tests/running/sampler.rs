//! What an SDK's remote sampler does when it is asked to sample another part.

use super::{acted, in_trouble};
use async_trait::async_trait;
use bytes::Bytes;
use geophone_tests::server::{Server, agent, eventually};
use http::{Request, Response};
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::{
    runtime::Tokio,
    trace::{Sampler, SamplingDecision, ShouldSample},
};
use std::time::Duration;

/// How the SDK reaches us.
#[derive(Debug)]
struct Plain;

#[async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().to_string();
        let answer = tokio::task::spawn_blocking(move || agent().get(url).call()?.body_mut().read_to_vec()).await??;
        Ok(Response::new(answer.into()))
    }
}

/// A remote sampler of OpenTelemetry's SDK that asks often, and does as `first` until it has an answer.
fn sampler(server: &Server, service: &str, first: Sampler) -> Sampler {
    let sampler = Sampler::jaeger_remote(Tokio, Plain, first, service.to_owned());
    let sampler = sampler.with_endpoint(format!("http://{}/sampling", server.otlp_http)).with_update_interval(Duration::from_millis(50));
    sampler.build().expect("the address is sound")
}

fn keeps(sampler: &Sampler) -> bool {
    let result = sampler.should_sample(None, TraceId::from(7), "checkout", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

/// Scenario: remote samplers of OpenTelemetry's SDK for Rust ask for their strategy; a policy then asks the suspect's
/// senders to sample nothing.
/// Guarantees: before, all is kept; after, the suspect's sampler keeps nothing, another service's still all.
#[test]
fn a_policy_changes_how_much_the_suspect_samples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, mut feed) = in_trouble(folder.path());
    let config = folder.path().join("geophone.yaml");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime needs a few file handles");
    let _inside = runtime.enter();
    let bystander = sampler(&server, "bystander", Sampler::AlwaysOff);
    eventually("the sampler has its answer", || keeps(&bystander).then_some(()));

    let suspect = acted(&server, &mut feed, &config, ("quiet", "{sample: {ratio: 0.0, lasting: 10m}}"));
    let its = sampler(&server, &suspect, Sampler::AlwaysOn);
    eventually("the suspect's sampler has its answer", || (!keeps(&its)).then_some(()));
    let other = sampler(&server, "another", Sampler::AlwaysOff);
    eventually("of another service all is kept", || keeps(&other).then_some(()));
    drop(feed);
    assert_eq!(server.stop(), Some(0));
}
