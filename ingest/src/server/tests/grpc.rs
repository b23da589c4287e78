//! Scenario: a gRPC client sends what OTLP allows and what it forbids.
//! Guarantees: OTLP-01, 04, 06, 20, 21, 22, 30, 31, 32 on gRPC, and gRPC's own rules of encoding and health.

use super::peer::*;
use crate::Receipt;
use bytes::Bytes;
use geophone_proto::{Class, Signal, otlp::collector::trace::v1::ExportTraceServiceResponse};
use prost::Message;

#[tokio::test]
async fn full_success_leaves_partial_success_unset() {
    let mut site = site(config()).await;
    let address = site.grpc();
    for (path, signal) in [
        (TRACES, Signal::Traces),
        ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Signal::Metrics),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Signal::Logs),
        ("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", Signal::Profiles),
    ] {
        let answer = call(address, path, &[], frame(0, &[])).await;
        assert_eq!((answer.status, answer.message.len()), (0, 0), "an empty request of {signal:?} is fine");
    }
    let body = frame(0, &spans(3).encode_to_vec());
    let (answer, seen) = site.answering(call(address, TRACES, &[], body), Receipt::ack).await;
    assert_eq!((answer.status, answer.message.len()), (0, 0));
    assert_eq!((seen.len(), seen[0].decoded.as_ref().map(|batch| batch.len())), (1, Some(3)));
}

#[tokio::test]
async fn refused_spans_are_counted_in_partial_success() {
    let mut site = site(config()).await;
    let body = frame(0, &odd_spans().encode_to_vec());
    let (answer, seen) = site.answering(call(site.grpc(), TRACES, &[], body), Receipt::ack).await;
    let response = ExportTraceServiceResponse::decode(answer.message).expect("a response");
    let partial = response.partial_success.expect("one span was refused");
    assert_eq!((answer.status, partial.rejected_spans), (0, 1));
    assert!(partial.error_message.contains("trace_id") && partial.error_message.contains("span 1"), "{}", partial.error_message);
    assert_eq!(seen[0].decoded.as_ref().map(|batch| batch.len()), Some(2));
}

#[tokio::test]
async fn compressed_messages_are_unpacked_and_unknown_encodings_refused() {
    let mut site = site(config()).await;
    let address = site.grpc();
    let message = spans(40).encode_to_vec();
    let zstd = Bytes::from(zstd::encode_all(&*message, 1).expect("memory takes all"));
    for (encoding, packed) in [("gzip", gzip(&message)), ("zstd", zstd)] {
        let headers = [("grpc-encoding", encoding)];
        let (answer, seen) = site.answering(call(address, TRACES, &headers, frame(1, &packed)), Receipt::ack).await;
        assert_eq!((answer.status, seen.len()), (0, 1), "{encoding}");
        assert_eq!(seen[0].wire, message, "the log gets uncompressed bytes");
    }
    let answer = call(address, TRACES, &[("grpc-encoding", "br")], frame(1, b"?")).await;
    assert_eq!(answer.status, 12);
    assert!(answer.headers["grpc-accept-encoding"].to_str().expect("text").contains("gzip"));
    assert_eq!(call(address, TRACES, &[("grpc-encoding", "gzip")], frame(1, b"no gzip")).await.status, 3);
    assert_eq!(call(address, TRACES, &[], frame(1, &message)).await.status, 13, "compressed, but how");
}

#[tokio::test]
async fn malformed_calls_are_final_and_say_why() {
    let site = site(config()).await;
    let two = [frame(0, &[]), frame(0, &[])].concat();
    for body in [frame(0, b"\xff"), frame(7, b""), frame(0, b"")[..3].to_vec().into(), Bytes::new(), two.into()] {
        let answer = call(site.grpc(), TRACES, &[], body.clone()).await;
        assert_eq!((answer.status, answer.details.code), (3, 3), "{body:?}");
        assert!(answer.details.has("BadRequest") && !answer.details.has("RetryInfo"), "{body:?}");
    }
    let answer = call(site.grpc(), "/opentelemetry.proto.collector.trace.v1.TraceService/Import", &[], frame(0, &[])).await;
    assert_eq!(answer.status, 12);
}

#[tokio::test]
async fn health_is_answered() {
    let site = site(config()).await;
    let path = "/grpc.health.v1.Health/Check";
    let answer = call(site.grpc(), path, &[], frame(0, &[])).await;
    assert_eq!((answer.status, &*answer.message), (0, [8, 1].as_slice()));
    assert_eq!(call(site.grpc(), path, &[], frame(0, b"\x0a\x01x")).await.status, 5);
}

#[tokio::test]
async fn the_verdict_of_the_log_decides_whether_to_come_again() {
    let mut site = site(config()).await;
    let body = frame(0, &spans(1).encode_to_vec());
    let verdicts: [(fn(Receipt), i32); 4] = [
        (|receipt| receipt.nack(Class::Reject, "no".into()), 3),
        (|receipt| receipt.nack(Class::Retry, "disk is full".into()), 14),
        (|receipt| receipt.nack(Class::Fatal, "gone".into()), 14),
        (drop, 14),
    ];
    for (verdict, status) in verdicts {
        let (answer, _) = site.answering(call(site.grpc(), TRACES, &[], body.clone()), verdict).await;
        assert_eq!((answer.status, answer.details.has("RetryInfo")), (status, status == 14), "{:?}", answer.details);
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_the_wait() {
    let mut site = site(config()).await;
    let body = frame(0, &spans(1).encode_to_vec());
    let mut kept = Vec::new();
    let (answer, _) = site.answering(call(site.grpc(), TRACES, &[("grpc-timeout", "20m")], body), |receipt| kept.push(receipt)).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (4, false));
}
