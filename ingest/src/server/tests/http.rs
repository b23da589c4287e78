//! Scenario: an HTTP client sends what OTLP allows and what it forbids, in both encodings.
//! Guarantees: OTLP-01, 04, 10, 11, 12, 20, 21, 22, 32, 33, 34, 35 on HTTP.

use super::peer::*;
use crate::Receipt;
use bytes::Bytes;
use geophone_proto::{Class, otlp::collector::trace::v1::ExportTraceServiceResponse};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// Path, further headers, body; HTTP and gRPC code.
type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Bytes, u16, i32);

fn status_of(response: &Response<Bytes>) -> Status {
    match response.headers()["content-type"].to_str().expect("text") {
        "application/json" => {
            let json: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
            let code = json["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
            let details = json["details"].as_array().into_iter().flatten();
            let details = details.map(|any| Any { type_url: any["@type"].as_str().expect("a type").into(), value: Vec::new() });
            Status { code, message: json["message"].as_str().expect("a message").into(), details: details.collect() }
        }
        _ => Status::decode(response.body().clone()).expect("a status"),
    }
}

#[tokio::test]
async fn both_encodings_are_taken_on_one_port_and_answered_in_kind() {
    let mut site = site(config()).await;
    let address = site.http();
    let wire = spans(2).encode_to_vec();
    let call = post(address, "/v1/traces", &[PROTOBUF], wire.clone().into());
    let (response, seen) = site.answering(call, Receipt::ack).await;
    assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
    assert_eq!(response.headers()["content-type"], "application/x-protobuf");
    assert_eq!(seen[0].wire, wire);

    let json =
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202"},{}]}]}]}"#;
    let (response, seen) = site.answering(post(address, "/v1/traces", &[JSON], json.into()), Receipt::ack).await;
    let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!((response.status(), &body["partialSuccess"]["rejectedSpans"]), (StatusCode::OK, &serde_json::json!("1")));
    assert_eq!(seen[0].decoded.as_ref().map(|batch| batch.len()), Some(1));

    let response = post(address, "/v1/logs", &[JSON], "{}".into()).await;
    assert_eq!((response.status(), &**response.body()), (StatusCode::OK, b"{}".as_slice()));
}

#[tokio::test]
async fn partial_success_compression_and_prior_knowledge_http2() {
    let mut site = site(config()).await;
    let address = site.http();
    let request = Request::post(format!("http://{address}/v1/traces"))
        .header(PROTOBUF.0, PROTOBUF.1)
        .header("content-encoding", "gzip")
        .body(Full::new(gzip(&odd_spans().encode_to_vec())))
        .expect("valid");
    let (response, _) = site.answering(http2(address, request), Receipt::ack).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let partial = ExportTraceServiceResponse::decode(body).expect("a response").partial_success.expect("one was refused");
    assert_eq!(partial.rejected_spans, 1);
}

#[tokio::test]
async fn every_refusal_is_a_status_in_the_requests_encoding() {
    let site = site(config()).await;
    let big = Bytes::from(vec![0; 2 << 20]);
    for encoding in [PROTOBUF, JSON] {
        let cases: [Case<'_>; 6] = [
            ("/v1/traces", &[], Bytes::from_static(b"\xff"), 400, 3),
            ("/v1/nothing", &[], Bytes::new(), 404, 12),
            ("/v1/traces", &[], big.clone(), 413, 8),
            ("/v1/traces", &[("content-encoding", "br")], Bytes::new(), 415, 3),
            ("/v1/traces", &[("content-encoding", "gzip")], Bytes::from_static(b"no gzip"), 400, 3),
            ("/v1/traces", &[("content-encoding", "gzip")], gzip(&big), 413, 8),
        ];
        for (path, headers, body, http, code) in cases {
            let headers = [&[encoding], headers].concat();
            let response = post(site.http(), path, &headers, body).await;
            let status = status_of(&response);
            assert_eq!((response.status().as_u16(), status.code), (http, code), "{path} {headers:?}");
            let json = encoding == JSON;
            assert_eq!(response.headers()["content-type"] == "application/json", json, "{path} {headers:?}");
            assert!(!status.has("RetryInfo") && !status.message.is_empty(), "{status:?}");
            assert_eq!(status.has("BadRequest"), code == 3, "{status:?}");
        }
    }
}

#[tokio::test]
async fn methods_and_types_that_are_none_are_refused() {
    let site = site(config()).await;
    let request = Request::get("/v1/traces").header("host", "x").header(JSON.0, JSON.1).body(Full::new(Bytes::new())).expect("valid");
    let response = http1(site.http(), request).await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].as_bytes()), (405, b"POST".as_slice()));
    assert_eq!(status_of(&response).code, 12);
    for headers in [&[][..], &[("content-type", "text/plain")]] {
        let response = post(site.http(), "/v1/traces", headers, Bytes::new()).await;
        assert_eq!((response.status().as_u16(), status_of(&response).code), (415, 3));
    }
    assert_eq!(post(site.grpc(), "/v1/traces", &[PROTOBUF], Bytes::new()).await.status().as_u16(), 415, "the gRPC address wants gRPC");
}

#[tokio::test]
async fn a_nack_that_may_be_retried_is_503_with_retry_after() {
    let mut site = site(config()).await;
    let address = site.http();
    let body = Bytes::from(spans(1).encode_to_vec());
    let call = post(address, "/v1/traces", &[PROTOBUF], body.clone());
    let (response, _) = site.answering(call, |receipt| receipt.nack(Class::Busy, "log is full".into())).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, b"1".as_slice()));
    assert!(status_of(&response).has("RetryInfo"));
    let (response, _) = site.answering(post(address, "/v1/traces", &[PROTOBUF], body), drop).await;
    assert_eq!(response.status().as_u16(), 503, "500 would make the sender drop its data");
}

#[tokio::test]
async fn a_refused_sender_reads_the_answer_and_goes_on_with_the_connection() {
    let mut site = site(config()).await;
    let address = site.http();
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let request = |path: &str, body: Vec<u8>| {
        Request::post(path).header("host", "x").header(PROTOBUF.0, PROTOBUF.1).body(Full::new(Bytes::from(body))).expect("valid")
    };
    for size in [10, 900_000, 8 << 20] {
        let response = sender.send_request(request("/v1/nothing", vec![0; size])).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 404, "{size} bytes");
        response.into_body().collect().await.expect("a whole answer");
        sender.ready().await.expect("the connection stays");
    }
    let call = sender.send_request(request("/v1/traces", spans(1).encode_to_vec()));
    let (response, _) = site.answering(call, Receipt::ack).await;
    assert_eq!(response.expect("an answer").status().as_u16(), 200);
}

#[tokio::test]
async fn who_asks_before_sending_is_told_no_at_once() {
    let site = site(config()).await;
    let mut stream = TcpStream::connect(site.http()).await.expect("the server listens");
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the server closes");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"code\":8"), "{answer}");
}
