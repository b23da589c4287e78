//! Bytes of a request: paths, gRPC's frame, compression.

use crate::{config::Compression, error::ClientError};
use bytes::{BufMut, Bytes, BytesMut};
use geophone_proto::Signal;
use std::io::Write;

/// Path of the unary gRPC method.
pub(crate) const fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Profiles => "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
    }
}

/// Path of the HTTP resource.
pub(crate) const fn http_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/v1/traces",
        Signal::Metrics => "/v1/metrics",
        Signal::Logs => "/v1/logs",
        Signal::Profiles => "/v1development/profiles",
    }
}

/// The body, compressed as configured.
pub(crate) fn compress(body: Bytes, compression: Compression) -> Result<Bytes, ClientError> {
    let failed = |error: std::io::Error| ClientError::Encode { why: error.to_string() };
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
            encoder.write_all(&body).and_then(|()| encoder.finish()).map(Bytes::from).map_err(failed)
        }
        Compression::Zstd => zstd::bulk::compress(&body, 1).map(Bytes::from).map_err(failed),
    }
}

/// gRPC's frame: whether compressed, length, message.
pub(crate) fn frame(message: &Bytes, compressed: bool) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(u8::from(compressed));
    // A message over 4 GiB was refused long before: the size limit is checked first.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The first message in gRPC frames; `None` if there is no whole uncompressed one.
pub(crate) fn unframe(body: &Bytes) -> Option<Bytes> {
    let (head, rest) = body.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    (head[0] == 0 && rest.len() >= length).then(|| body.slice(5..5 + length))
}

/// Standard or URL-safe base64, padded or not; `None` if it is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        word = (word << 6) | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// Undoes percent-encoding, as gRPC messages have it.
pub(crate) fn from_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_gives_its_message_back(message: Vec<u8>) {
            let message = Bytes::from(message);
            prop_assert_eq!(unframe(&frame(&message, false)), Some(message));
        }
    }

    #[test]
    fn half_a_frame_is_none() {
        assert_eq!(unframe(&Bytes::new()), None);
        assert_eq!(unframe(&Bytes::from_static(&[0, 0, 0, 0, 9, 1])), None);
        assert_eq!(unframe(&Bytes::from_static(&[1, 0, 0, 0, 0])), None);
    }

    #[test]
    fn texts_are_decoded() {
        assert_eq!(from_base64("Zm9vYg==").as_deref(), Some(b"foob".as_slice()));
        assert_eq!(from_base64("Zm9vYg").as_deref(), Some(b"foob".as_slice()));
        assert_eq!(from_base64("?"), None);
        assert_eq!(from_percent("too%20large%"), "too large%");
    }
}
