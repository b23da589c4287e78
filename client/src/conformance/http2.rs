//! HTTP/2 with prior knowledge or as agreed over TLS: one connection a call, any body, headers and trailers of the answer.

use super::{
    call::{Call, Content, Speech},
    http1::connect,
    reply::{READ_BYTES_MAX, Reply},
    target::{Place, Target},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::Semaphore;

const BLOCK_BYTES: usize = 64 << 10;
/// Windows for what the server sends: an answer of the largest size that is read fits.
const WINDOW_BYTES: u32 = 8 << 20;
const HEADER_BYTES_MAX: u32 = 64 << 10;

type Permission = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Holds back the end of many bodies: tells when a body has come to its last piece, lets it go later.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// One permit for each body that waits.
    pub(crate) waiting: Arc<Semaphore>,
    /// Closed to let all go.
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { waiting: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    /// Tells that a body has come to its last piece; ends when it may go.
    pub(crate) async fn pass(self) {
        self.waiting.add_permits(1);
        // Closing is the sign; there never is a permit.
        let _ = self.open.acquire().await;
    }
}

/// A body that is made as it is sent.
pub(crate) struct Stream {
    content: Content,
    block: Bytes,
    gate: Option<Permission>,
}

impl Stream {
    pub(crate) fn new(content: Content, gate: Option<Gate>) -> Self {
        let block = Bytes::from(vec![content.pad; BLOCK_BYTES.min(content.padding)]);
        let gate = gate.map(|gate| Box::pin(gate.pass()) as Permission);
        Self { content, block, gate }
    }

    /// The next piece; the last byte is a piece of its own, so that it can be held back.
    fn piece(&mut self) -> Option<Bytes> {
        let content = &mut self.content;
        if content.head.len() > 1 || (!content.head.is_empty() && content.padding + content.tail.len() > 0) {
            let last = usize::from(content.padding + content.tail.len() == 0);
            let len = content.head.len() - last;
            return Some(content.head.split_to(len));
        }
        if content.padding > 1 || (content.padding > 0 && !content.tail.is_empty()) {
            let last = usize::from(content.tail.is_empty());
            let len = (content.padding - last).min(self.block.len());
            content.padding -= len;
            return Some(self.block.slice(..len));
        }
        if content.tail.len() > 1 {
            let len = content.tail.len() - 1;
            return Some(content.tail.split_to(len));
        }
        None
    }

    fn last(&mut self) -> Option<Bytes> {
        let content = std::mem::take(&mut self.content);
        let pad = self.block.slice(..content.padding.min(self.block.len()));
        [content.head, pad, content.tail].into_iter().find(|piece| !piece.is_empty())
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(piece) = self.piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(gate) = &mut self.gate {
            if gate.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        Poll::Ready(self.last().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.len() as u64)
    }
}

/// A connection that calls can share.
pub(crate) type Line = http2::SendRequest<Stream>;

/// Opens a connection and lets it run until the last handle to it is gone.
pub(crate) async fn dial(target: &Target, place: &Place) -> Result<Line, String> {
    let stream = connect(target, place, "h2").await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES).max_header_list_size(HEADER_BYTES_MAX);
    let (line, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| why(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection of the check ended");
        }
    });
    Ok(line)
}

/// Sends a call over a connection of its own.
pub(crate) async fn exchange(target: &Target, call: &Call) -> Result<Reply, String> {
    let place = if call.speech == Speech::Grpc { &target.grpc } else { &target.http };
    let place = place.as_ref().ok_or("no address given")?;
    let mut line = dial(target, place).await?;
    let request = request(target, place, call, None)?;
    read(line.send_request(request).await.map_err(|error| why(&error))?).await
}

/// The call as a request.
pub(crate) fn request(target: &Target, place: &Place, call: &Call, gate: Option<Gate>) -> Result<Request<Stream>, String> {
    let mut request = Request::builder().method(call.method).uri(format!(
        "{}://{}{}{}",
        if place.is_tls { "https" } else { "http" },
        place.authority(),
        place.prefix,
        call.path
    ));
    for (name, value) in &call.fields {
        request = request.header(*name, value);
    }
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    request.body(Stream::new(call.content.clone(), gate)).map_err(|error| format!("the request cannot be written: {error}"))
}

/// Reads an answer with its trailers.
pub(crate) async fn read(response: Response<Incoming>) -> Result<Reply, String> {
    let (head, mut incoming) = response.into_parts();
    let (mut body, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = incoming.frame().await {
        // A stream that is reset after its answer has been given is an answer.
        let Ok(frame) = frame else { break };
        match frame.into_data() {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
        }
        if body.len() >= READ_BYTES_MAX {
            break;
        }
    }
    let mut fields = head.headers;
    fields.extend(trailers);
    Ok(Reply { status: head.status.as_u16(), fields, body: body.freeze() })
}

/// The innermost cause: `hyper` says only that something went wrong.
fn why(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_sent_whole_with_its_last_byte_apart() {
        for (head, padding, tail) in
            [("abc", 0, ""), ("a", 0, ""), ("", 200_000, ""), ("ab", 3, "xyz"), ("", 0, "z"), ("", 1, ""), ("", 0, "")]
        {
            let content = Content { head: head.into(), padding, pad: b'.', tail: tail.into() };
            let whole = format!("{head}{}{tail}", ".".repeat(padding));
            let mut stream = Stream::new(content, None);
            let mut sizes = Vec::new();
            let mut sent = Vec::new();
            while let Some(Ok(frame)) = stream.frame().await {
                let piece = frame.into_data().expect("no trailers");
                sizes.push(piece.len());
                sent.extend_from_slice(&piece);
            }
            assert_eq!((sent.as_slice(), sizes.last().copied().unwrap_or(1)), (whole.as_bytes(), 1));
        }
    }
}
