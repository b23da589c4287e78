//! The body of an answer: at most one chunk, and trailers where gRPC wants them.

use super::places::Turn;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// One chunk, then trailers, then nothing.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    chunk: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Ends when the answer has left.
    _turn: Option<Turn>,
}

impl Reply {
    /// A body without trailers.
    pub(crate) fn new(chunk: Bytes) -> Self {
        Self { chunk: Some(chunk).filter(|chunk| !chunk.is_empty()), trailers: None, _turn: None }
    }

    /// A body that ends in trailers.
    pub(crate) fn with_trailers(chunk: Bytes, trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..Self::new(chunk) }
    }

    /// The same, which ends a turn when it has left.
    pub(crate) fn ending(self, turn: Turn) -> Self {
        Self { _turn: Some(turn.answered()), ..self }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let chunk = this.chunk.take().map(Frame::data);
        Poll::Ready(chunk.or_else(|| this.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.chunk.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chunk.as_ref().map_or(0, |chunk| chunk.len() as u64))
    }
}
