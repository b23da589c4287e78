//! A client over TLS that trusts one authority.

use bytes::Bytes;
use geophone_tests::certificate::Certificate;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::sync::Arc;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a client shows of itself.
pub struct Identity(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    pub fn of(certificate: &Certificate) -> Self {
        let cert = CertificateDer::from_pem_slice(certificate.cert.as_bytes()).expect("PEM");
        Self(vec![cert], PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("PEM"))
    }
}

fn config(authority: &str, identity: Option<Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has them").with_root_certificates(roots);
    match identity {
        Some(Identity(chain, key)) => builder.with_client_auth_cert(chain, key).expect("they fit"),
        None => builder.with_no_client_auth(),
    }
}

/// A connection on which the server has accepted us: with TLS 1.3 it says so only after we think all is well.
pub async fn connect(address: &str, authority: &str, identity: Option<Identity>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config(authority, identity))).connect(name, stream).await?;
    let (_, state) = stream.get_ref();
    assert!(!state.is_handshaking());
    // The server closes, or says why not.
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(_) => Ok(stream),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(stream),
        Err(error) => Err(error),
    }
}

/// A client for whole requests.
pub struct Client {
    authority: String,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub fn new(authority: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { authority: authority.into(), runtime }
    }

    async fn secure(&self, address: &str, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = config(&self.authority, None);
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await.expect("the server listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("keys are agreed on");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        stream
    }

    fn exchange(&self, address: &str, request: Request<Full<Bytes>>) -> (u16, String) {
        self.runtime.block_on(async {
            let stream = self.secure(address, b"http/1.1").await;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            let response = sender.send_request(request).await.expect("every request has an answer");
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }

    fn request(method: &str, path: &str, token: Option<&str>) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request
    }

    pub fn get(&self, address: &str, path: &str, token: Option<&str>) -> (u16, String) {
        self.exchange(address, Self::request("GET", path, token).body(Full::default()).expect("valid"))
    }

    pub fn query(&self, address: &str, token: &str, sql: &str) -> Value {
        let request = Self::request("POST", "/api/v1/query", Some(token)).header("content-type", "application/json");
        let body = serde_json::json!({ "sql": sql }).to_string();
        let (status, answer) = self.exchange(address, request.body(Full::from(body)).expect("valid"));
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// POST of spans; the status.
    pub fn export(&self, address: &str, token: Option<&str>, spans: Vec<u8>) -> u16 {
        let request = Self::request("POST", "/v1/traces", token).header("content-type", "application/x-protobuf");
        self.exchange(address, request.body(Full::from(spans)).expect("valid")).0
    }

    /// gRPC call with spans; the gRPC status.
    pub fn call(&self, address: &str, token: Option<&str>, spans: Vec<u8>) -> i32 {
        self.runtime.block_on(async {
            let stream = self.secure(address, b"h2").await;
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.expect("HTTP/2");
            tokio::spawn(connection);
            let path = format!("https://{address}/opentelemetry.proto.collector.trace.v1.TraceService/Export");
            let request = Self::request("POST", &path, token).header("content-type", "application/grpc").header("te", "trailers");
            let len = u32::try_from(spans.len()).expect("small").to_be_bytes();
            let framed = [&[0], len.as_slice(), &spans].concat();
            let response =
                sender.send_request(request.body(Full::<Bytes>::from(framed)).expect("valid")).await.expect("every call has an answer");
            let mut headers = response.headers().clone();
            let body = response.into_body().collect().await.expect("a whole answer");
            headers.extend(body.trailers().cloned().unwrap_or_default());
            headers["grpc-status"].to_str().expect("digits").parse().expect("a number")
        })
    }
}
