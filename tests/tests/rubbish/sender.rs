//! A sender that may send anything, over HTTP/1.1 and gRPC, and reads the answer as a client would.

use bytes::Bytes;
use geophone_tests::server::agent;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

/// `google.rpc.Status`, as far as the lab reads it.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The `Status` in the body, in the encoding that the answer claims.
    pub fn problem(&self) -> Status {
        if self.kind == "application/json" {
            let json: serde_json::Value = serde_json::from_slice(&self.body).expect("the body is the JSON it claims to be");
            let code = json["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
            return Status { code, message: json["message"].as_str().unwrap_or_default().into() };
        }
        assert_eq!(self.kind, "application/x-protobuf");
        Status::decode(&*self.body).expect("the body is the Status that it must be")
    }
}

/// POST to an OTLP path; every status is an answer.
pub fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = agent().post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body).unwrap_or_else(|error| panic!("{path}: no answer: {error}"));
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let status = answer.status().as_u16();
    Answer { status, kind, body: answer.body_mut().read_to_vec().expect("a whole body") }
}

/// A message with gRPC's prefix.
pub fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("small").to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// A unary gRPC call with this body as it is; gives `grpc-status` and whether details came.
pub fn grpc(address: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> (i32, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("the server speaks HTTP/2");
        tokio::spawn(connection);
        let mut request =
            http::Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body)).expect("valid")).await.expect("every call has an answer");
        assert_eq!(response.status(), 200, "gRPC says no in grpc-status");
        let mut headers = response.headers().clone();
        let body = response.into_body().collect().await.expect("a whole answer");
        headers.extend(body.trailers().cloned().unwrap_or_default());
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok()).and_then(|status| status.parse().ok());
        (status.expect("a gRPC answer has a status"), headers.contains_key("grpc-status-details-bin"))
    })
}

/// Gzip of anything.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
