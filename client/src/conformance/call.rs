//! One request of the check: path, fields, body; how it is written for each transport.

use super::samples;
use crate::{
    json::to_json,
    request::ExportRequest,
    wire::{grpc_path, http_path},
};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use geophone_proto::Signal;
use std::io::Write;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf over HTTP.
    Protobuf,
    /// JSON over HTTP.
    Json,
}

impl Speech {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "protobuf over gRPC",
            Self::Protobuf => "protobuf",
            Self::Json => "JSON",
        }
    }
}

/// A body: bytes, then so many times one byte, then bytes; never held whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) head: Bytes,
    pub(crate) padding: usize,
    pub(crate) pad: u8,
    pub(crate) tail: Bytes,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.padding + self.tail.len()
    }

    /// Calls `take` with the body, piece by piece.
    fn each_piece(&self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        take(&self.head)?;
        let block = vec![self.pad; 64 << 10];
        let mut left = self.padding;
        while left > 0 {
            let now = left.min(block.len());
            take(&block[..now])?;
            left -= now;
        }
        take(&self.tail)
    }

    fn gzip(&self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail; if it did, the body would be empty and the server would say so.
        let written = self.each_piece(|piece| encoder.write_all(piece)).and_then(|()| encoder.finish());
        Self { head: written.unwrap_or_default().into(), ..Self::default() }
    }
}

impl From<Bytes> for Content {
    fn from(head: Bytes) -> Self {
        Self { head, ..Self::default() }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// In a few words; two calls with the same words and speech are the same.
    pub(crate) what: String,
    pub(crate) speech: Speech,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) content: Content,
}

impl Call {
    /// Bytes as the body of an export of this signal; over gRPC they get their frame.
    pub(crate) fn raw(speech: Speech, signal: Signal, what: impl Into<String>, content: impl Into<Content>) -> Self {
        let path = if speech == Speech::Grpc { grpc_path(signal) } else { http_path(signal) };
        let mut call = Self {
            what: what.into(),
            speech,
            method: "POST",
            path: path.to_owned(),
            fields: vec![("content-type", speech.content_type().to_owned())],
            content: content.into(),
        };
        if speech == Speech::Grpc {
            call.fields.push(("te", "trailers".to_owned()));
            call.content = framed(call.content, 0);
        }
        call
    }

    /// A request as a value.
    pub(crate) fn export(speech: Speech, what: impl Into<String>, request: &ExportRequest) -> Self {
        let body = if speech == Speech::Json { Bytes::from(to_json(request).to_string()) } else { request.encode() };
        Self::raw(speech, request.signal(), what, body)
    }

    /// A clean request that no server has a reason to refuse.
    pub(crate) fn clean(speech: Speech, signal: Signal, at: u64) -> Self {
        let what = match signal {
            Signal::Traces | Signal::Profiles => "3 valid spans",
            Signal::Metrics => "3 valid data points",
            Signal::Logs => "3 valid log records",
        };
        Self::export(speech, what, &samples::clean(signal, at))
    }

    /// The same, compressed.
    pub(crate) fn gzip(mut self) -> Self {
        self.what.push_str(", gzip");
        if self.speech == Speech::Grpc {
            self.fields.push(("grpc-encoding", "gzip".to_owned()));
            let message = unframed(self.content).gzip();
            self.content = framed(message, 1);
        } else {
            self.fields.push(("content-encoding", "gzip".to_owned()));
            self.content = self.content.gzip();
        }
        self
    }

    /// Adds a field; `what` must say so already.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value.to_owned()));
        self
    }
}

/// Bytes of gRPC's frame before a message.
const FRAME_BYTES: usize = 5;

fn framed(content: Content, flag: u8) -> Content {
    let mut head = BytesMut::with_capacity(content.head.len() + FRAME_BYTES);
    head.put_u8(flag);
    head.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    head.put_slice(&content.head);
    Content { head: head.freeze(), ..content }
}

fn unframed(content: Content) -> Content {
    let head = content.head.slice(FRAME_BYTES.min(content.head.len())..);
    Content { head, ..content }
}
