//! Scenario: senders with and without tokens, for several tenants, within and over their budgets.
//! Guarantees: 401, 403, 429 and their gRPC twins with what OTLP asks for; who is refused costs no body;
//! the tenant reaches the columns; a noisy tenant keeps nobody else out.

use super::peer::*;
use crate::{
    Config, Receipt,
    access::{Access, AccessRules, Limits, Right, SecretHash, TenantRule, TokenRule},
};
use bytes::Bytes;
use geophone_proto::{Tenant, UnixNanos};
use http::{Request, StatusCode};
use http_body_util::Full;
use prost::Message;
use std::sync::atomic::Ordering;

const SECOND: u64 = 1_000_000_000;
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const NOISY: (&str, &str) = ("authorization", "Bearer noisy-secret-noisy");
const QUIET: (&str, &str) = ("authorization", "Bearer quiet-secret-quiet");

fn token(name: &str, may: Right) -> TokenRule {
    let hash = SecretHash::of(format!("{name}-secret-{name}").as_bytes(), b"salt");
    TokenRule { name: name.into(), hash, tenant: Some(Tenant(name.into())), may: vec![may] }
}

/// Two tenants, the first with these limits.
fn rules(limits: Limits) -> AccessRules {
    AccessRules {
        tokens: vec![token("noisy", Right::Send), token("quiet", Right::Send), token("reader", Right::Read)],
        tenants: vec![TenantRule { name: "noisy".into(), limits }],
        ..AccessRules::default()
    }
}

async fn guarded(limits: Limits) -> Site {
    let site = site(Config { access: Access::new(rules(limits)), ..config() }).await;
    site.hands.0.store(SECOND, Ordering::Relaxed);
    site
}

#[tokio::test]
async fn strangers_and_readers_are_refused_before_their_body_is_read() {
    let site = guarded(Limits::default()).await;
    // Larger than allowed: had it been read, the answer would be another.
    let body = frame(0, &vec![0; 2 << 20]);
    let answer = call(site.grpc(), TRACES, &[], body.clone()).await;
    assert_eq!((answer.status, answer.details.code, answer.details.has("RetryInfo")), (16, 16, false));
    assert!(answer.headers["www-authenticate"].to_str().expect("text").contains("Bearer"));
    let reader = ("authorization", "Bearer reader-secret-reader");
    let answer = call(site.grpc(), TRACES, &[reader], body).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (7, false));

    let response = post(site.http(), "/v1/traces", &[PROTOBUF], spans(1).encode_to_vec().into()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers()["www-authenticate"].to_str().expect("text").contains("Basic realm="));
    assert_eq!(Status::decode(response.body().clone()).expect("a status").code, 16);
    let response = post(site.http(), "/v1/traces", &[PROTOBUF, reader], spans(1).encode_to_vec().into()).await;
    assert_eq!((response.status(), Status::decode(response.body().clone()).expect("a status").code), (StatusCode::FORBIDDEN, 7));
    assert_eq!(call(site.grpc(), "/grpc.health.v1.Health/Check", &[], frame(0, &[])).await.status, 0, "anybody may ask how we are");
}

#[tokio::test]
async fn the_tenant_of_the_token_reaches_the_columns() {
    let mut site = guarded(Limits::default()).await;
    let address = site.grpc();
    let (answer, seen) = site.answering(call(address, TRACES, &[QUIET], frame(0, &spans(2).encode_to_vec())), Receipt::ack).await;
    assert_eq!((answer.status, &*seen[0].tenant.0), (0, "quiet"));
    assert_eq!(seen[0].decoded.as_ref().map(|batch| batch.tenant.clone()), Some(Tenant("quiet".into())));
}

#[tokio::test]
async fn over_its_budget_a_tenant_is_told_when_to_come_again() {
    let mut site = guarded(Limits { items_per_second: Some(10.0), ..Limits::default() }).await;
    let (grpc, http) = (site.grpc(), site.http());
    let body = frame(0, &spans(50).encode_to_vec());
    let (answer, _) = site.answering(call(grpc, TRACES, &[NOISY], body.clone()), Receipt::ack).await;
    assert_eq!(answer.status, 0, "one request may go into debt");
    let answer = call(grpc, TRACES, &[NOISY], body.clone()).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (8, true));
    let response = post(http, "/v1/traces", &[PROTOBUF, NOISY], spans(1).encode_to_vec().into()).await;
    assert_eq!((response.status(), response.headers()["retry-after"].as_bytes()), (StatusCode::TOO_MANY_REQUESTS, b"5".as_slice()));
    site.hands.0.store(6 * SECOND, Ordering::Relaxed);
    let (answer, _) = site.answering(call(grpc, TRACES, &[NOISY], body), Receipt::ack).await;
    assert_eq!(answer.status, 0, "it came when it was told to");
}

#[tokio::test]
async fn a_noisy_tenant_keeps_nobody_else_out() {
    let mut site = guarded(Limits { requests_per_second: Some(5.0), ..Limits::default() }).await;
    let (address, body) = (site.grpc(), frame(0, &spans(3).encode_to_vec()));
    let mut refused = 0;
    for _ in 0..40 {
        let (answer, _) = site.answering(call(address, TRACES, &[NOISY], body.clone()), Receipt::ack).await;
        refused += usize::from(answer.status == 8);
        let (answer, _) = site.answering(call(address, TRACES, &[QUIET], body.clone()), Receipt::ack).await;
        assert_eq!(answer.status, 0);
    }
    assert_eq!(refused, 35, "five a second, and the clock stands still");
}

#[tokio::test]
async fn a_tenant_whose_requests_pile_up_leaves_half_of_the_memory_to_others() {
    let access = Access::new(rules(Limits::default()));
    let mut site = site(Config { access: access.clone(), budget_bytes: 300 << 10, request_bytes_max: 100 << 10, ..config() }).await;
    let (address, body) = (site.grpc(), frame(0, &spans(3).encode_to_vec()));
    // Its requests are neither acked nor refused: they stay open and hold memory until no more fit.
    let mut open = Vec::new();
    let mut piled = Vec::new();
    let refused = loop {
        let sent = tokio::spawn(owned(address, NOISY, body.clone()));
        tokio::pin!(sent);
        tokio::select! {
            answer = &mut sent => break answer.expect("no panic"),
            Some(arrival) = site.arrivals.recv() => open.push(arrival.receipt),
        }
        piled.push(());
        assert!(piled.len() < 64, "it must come to an end");
    };
    assert_eq!((refused.status, refused.details.has("RetryInfo")), (14, true));
    let (answer, _) = site.answering(call(address, TRACES, &[QUIET], body), Receipt::ack).await;
    assert_eq!(answer.status, 0, "the other half is free");
    open.into_iter().for_each(Receipt::ack);
}

async fn owned(address: std::net::SocketAddr, token: (&'static str, &'static str), body: bytes::Bytes) -> Answer {
    call(address, TRACES, &[token], body).await
}

#[tokio::test]
async fn a_sampler_is_answered_as_jaeger_does_and_needs_the_right_to_send() {
    let site = guarded(Limits::default()).await;
    site.listening.sampling.keep("cart", 0.25, UnixNanos(60 * SECOND));
    let ask = |query: &str, token: Option<(&'static str, &'static str)>| {
        let mut request = Request::get(format!("http://{}/sampling{query}", site.http()));
        if let Some((name, value)) = token {
            request = request.header(name, value);
        }
        http1(site.http(), request.body(Full::<Bytes>::default()).expect("sound"))
    };
    assert_eq!(ask("?service=cart", None).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask("", Some(QUIET)).await.status(), StatusCode::BAD_REQUEST);
    for (service, rate) in [("cart", "0.25"), ("payment", "1.0")] {
        let query = format!("?service={service}");
        let answer = ask(&query, Some(QUIET)).await;
        let expected = format!(r#"{{"strategyType":"PROBABILISTIC","probabilisticSampling":{{"samplingRate":{rate}}}}}"#);
        assert_eq!((answer.status(), answer.into_body()), (StatusCode::OK, expected.into()));
    }
}
