//! HTTP/1.1 in the raw: writes a request while it reads the answer, so that an early refusal is seen
//! whatever the server does to the connection then.

use super::{
    call::Call,
    http2::{Gate, Stream},
    reply::{READ_BYTES_MAX, Reply},
    target::{Place, Target},
};
use crate::tls::Trust;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes both ways, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// Opens a connection that speaks `protocol` (`http/1.1`, `h2`).
pub(crate) async fn connect(target: &Target, place: &Place, protocol: &str) -> Result<Box<dyn Wire>, String> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|error| format!("cannot connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    if !place.is_tls {
        return Ok(Box::new(stream));
    }
    let trust = target.trust.clone().map_or_else(|| Trust::of(None), Ok).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(place.host.clone()).map_err(|error| format!("`{}`: {error}", place.host))?;
    let stream = TlsConnector::from(trust.speaking(protocol.as_bytes())).connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| format!("tls: {error}"))?))
}

/// The request up to its body.
pub(crate) fn head(target: &Target, place: &Place, call: &Call) -> String {
    let mut head =
        format!("{} {}{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", call.method, place.prefix, call.path, place.authority());
    for (name, value) in &call.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    for (name, value) in &target.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    if call.method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", call.content.len()));
    }
    head + "\r\n"
}

/// Sends a call over a connection of its own; a gate holds back the last byte of its body.
pub(crate) async fn exchange(target: &Target, call: &Call, gate: Option<Gate>) -> Result<Reply, String> {
    let place = target.http.as_ref().ok_or("no address given")?;
    let (mut reading, mut writing) = tokio::io::split(connect(target, place, "http/1.1").await?);
    let head = head(target, place, call);
    let write = async {
        writing.write_all(head.as_bytes()).await?;
        let mut body = Stream::new(call.content.clone(), gate);
        while let Some(Ok(frame)) = body.frame().await {
            writing.write_all(frame.data_ref().map(|piece| &**piece).unwrap_or_default()).await?;
        }
        writing.flush().await
    };
    let read = read_reply(&mut reading);
    tokio::pin!(write, read);
    tokio::select! {
        biased;
        reply = &mut read => reply,
        // Whether or not all could be written: what counts is the answer.
        _ = &mut write => read.await,
    }
}

/// Bytes read so far.
struct Incoming<'s, R> {
    stream: &'s mut R,
    bytes: BytesMut,
}

impl<R: AsyncRead + Unpin> Incoming<'_, R> {
    /// Reads on; false at the end.
    async fn more(&mut self) -> Result<bool, String> {
        let read = self.stream.read_buf(&mut self.bytes).await;
        read.map(|count| count > 0).map_err(|error| format!("the connection broke: {error}"))
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line = self.bytes.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.bytes.len() > HEAD_BYTES_MAX {
                return Err("a head without end".into());
            }
            if !self.more().await? {
                return Err("the connection ended within the head of the answer".into());
            }
        }
    }

    async fn exactly(&mut self, len: usize) -> Result<Bytes, String> {
        // What is longer is cut: too long is all that is to be known about it.
        let len = len.min(READ_BYTES_MAX);
        while self.bytes.len() < len {
            if !self.more().await? {
                return Err("the connection ended within the body of the answer".into());
            }
        }
        Ok(self.bytes.split_to(len).freeze())
    }

    async fn chunks(&mut self) -> Result<Bytes, String> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| format!("a chunk of size `{line}`"))?;
            if size == 0 || body.len() + size > READ_BYTES_MAX {
                body.extend_from_slice(&self.exactly(if size == 0 { 0 } else { READ_BYTES_MAX - body.len() }).await?);
                return Ok(body.freeze());
            }
            body.extend_from_slice(&self.exactly(size).await?);
            self.line().await?;
        }
    }

    async fn rest(&mut self) -> Result<Bytes, String> {
        while self.bytes.len() < READ_BYTES_MAX && self.more().await? {}
        let len = self.bytes.len().min(READ_BYTES_MAX);
        Ok(self.bytes.split_to(len).freeze())
    }
}

/// Reads the answer; `100 Continue` and the like are passed over.
pub(crate) async fn read_reply<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Reply, String> {
    let mut incoming = Incoming { stream, bytes: BytesMut::new() };
    loop {
        let line = incoming.line().await?;
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("no HTTP/1.1, but `{}`", line.chars().take(40).collect::<String>()))?;
        let mut fields = HeaderMap::new();
        loop {
            let line = incoming.line().await?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { return Err(format!("a header without colon: `{line}`")) };
            if let (Ok(name), Ok(value)) = (name.trim().parse::<HeaderName>(), HeaderValue::from_str(value.trim())) {
                fields.append(name, value);
            }
        }
        if (100..200).contains(&status) {
            continue;
        }
        let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
        let is_chunked = text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let body = if matches!(status, 204 | 304) {
            Bytes::new()
        } else if is_chunked {
            incoming.chunks().await?
        } else if let Some(len) = text("content-length").and_then(|len| len.parse().ok()) {
            incoming.exactly(len).await?
        } else {
            incoming.rest().await?
        };
        return Ok(Reply { status, fields, body });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &str) -> Result<Reply, String> {
        read_reply(&mut bytes.as_bytes()).await
    }

    #[tokio::test]
    async fn answers_are_read_in_every_framing() {
        for (bytes, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc", 200, "ab"),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
                413,
                "abcd",
            ),
            ("HTTP/1.0 400 \r\n\r\nto the end", 400, "to the end"),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ] {
            let reply = read(bytes).await.expect("a whole answer");
            assert_eq!((reply.status, &*reply.body), (status, body.as_bytes()));
        }
        for broken in ["", "SSH-2.0\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n"] {
            assert!(read(broken).await.is_err(), "{broken}");
        }
    }
}
