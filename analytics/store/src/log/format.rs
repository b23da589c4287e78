//! The bytes of the log. Everything is little-endian.
//!
//! A **segment** is a file `log/<first seq, 20 digits>.log`: a header of 40 bytes, then frames until
//! its end. Positions in it are consecutive; between segments they only grow.
//!
//! | header | bytes | |
//! |---|---|---|
//! | magic | 8 | `GEOPHLOG` |
//! | version | 4 | 1 |
//! | zero | 4 | |
//! | first seq | 8 | position of the first frame |
//! | created at | 8 | nanoseconds since 1970 |
//! | zero | 4 | |
//! | crc32 | 4 | of the 36 bytes before |
//!
//! | frame | bytes | |
//! |---|---|---|
//! | length | 4 | of everything after the crc, at least 22 |
//! | crc32 | 4 | (IEEE) of the length's 4 bytes and everything after the crc |
//! | seq | 8 | position |
//! | at | 8 | when it was appended, nanoseconds since 1970 |
//! | kind | 1 | 1 traces, 2 metrics, 3 logs, 4 profiles, 16 tick, 17 decision, 18 outcome, 19 step of a model, 20 stacks |
//! | transport | 1 | 0 none, 1 gRPC, 2 HTTP, 3 file, 4 our own |
//! | encoding | 1 | 0 plain |
//! | zero | 1 | |
//! | tenant length | 2 | |
//! | tenant | | UTF-8 |
//! | payload | the rest | kinds 1 to 4: the OTLP `Export*ServiceRequest` as protobuf; 17 to 20: JSON |
//!
//! Zeros are never a frame, so a file whose end was preallocated or never reached the disk is cut
//! where the zeros begin.

use bytes::Bytes;
use crc32fast::Hasher;
use geophone_proto::{Record, RecordBody, Signal, Tenant, Transport, UnixNanos, record::Export};

pub(crate) const HEADER_BYTES: usize = 40;
pub(crate) const PREFIX_BYTES: usize = 8;
pub(crate) const FIXED_BYTES: usize = 22;
const MAGIC: &[u8; 8] = b"GEOPHLOG";
const VERSION: u32 = 1;

/// The bytes before a segment's frames.
pub(crate) fn encode_header(first: u64, created_at: UnixNanos) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..32].copy_from_slice(&created_at.0.to_le_bytes());
    let crc = crc32fast::hash(&header[..36]);
    header[36..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// First position and creation time, or what is wrong.
pub(crate) fn decode_header(header: &[u8]) -> Result<(u64, UnixNanos), &'static str> {
    if header.len() < HEADER_BYTES || &header[..8] != MAGIC {
        return Err("it does not begin like a log segment");
    }
    if crc32fast::hash(&header[..36]) != u32_at(header, 36) {
        return Err("the checksum of its header is wrong");
    }
    if u32_at(header, 8) != VERSION {
        return Err("it was written by a newer geophone");
    }
    Ok((u64_at(header, 16), UnixNanos(u64_at(header, 24))))
}

/// Reads 4 bytes at `offset`; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

/// Reads 8 bytes at `offset`; the caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

/// Kind, transport, tenant and payload of a record.
pub(crate) struct Payload {
    kind: u8,
    transport: u8,
    tenant: Tenant,
    bytes: Bytes,
}

/// Spells a record's payload; batches share the request's bytes.
pub(crate) fn payload_of(record: &Record) -> Result<Payload, String> {
    let json = |kind: u8, value: Result<Vec<u8>, serde_json::Error>| {
        value.map(|bytes| Payload { kind, transport: 0, tenant: Tenant("".into()), bytes: bytes.into() }).map_err(|error| error.to_string())
    };
    match &record.body {
        RecordBody::Batch(export) => Ok(Payload {
            kind: match export.signal {
                Signal::Traces => 1,
                Signal::Metrics => 2,
                Signal::Logs => 3,
                Signal::Profiles => 4,
            },
            transport: match export.transport {
                Transport::Grpc => 1,
                Transport::Http => 2,
                Transport::File => 3,
                Transport::Own => 4,
            },
            tenant: export.tenant.clone(),
            bytes: export.wire.clone(),
        }),
        RecordBody::Tick => Ok(Payload { kind: 16, transport: 0, tenant: Tenant("".into()), bytes: Bytes::new() }),
        RecordBody::Decided(decision) => json(17, serde_json::to_vec(decision)),
        RecordBody::Outcome(outcome) => json(18, serde_json::to_vec(outcome)),
        RecordBody::Model(step) => json(19, serde_json::to_vec(step)),
        RecordBody::Stacks(answer) => json(20, serde_json::to_vec(answer)),
    }
}

/// A frame's bytes before the payload, and the payload.
pub(crate) fn encode_frame(seq: u64, at: UnixNanos, payload: &Payload) -> Result<(Vec<u8>, Bytes), String> {
    let tenant = payload.tenant.0.as_bytes();
    let tenant_len = u16::try_from(tenant.len()).map_err(|_| "the tenant's name is longer than 65,535 bytes".to_owned())?;
    let length =
        u32::try_from(FIXED_BYTES + tenant.len() + payload.bytes.len()).map_err(|_| "the request is longer than 4 GiB".to_owned())?;
    let mut head = Vec::with_capacity(PREFIX_BYTES + FIXED_BYTES + tenant.len());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&seq.to_le_bytes());
    head.extend_from_slice(&at.0.to_le_bytes());
    head.extend_from_slice(&[payload.kind, payload.transport, 0, 0]);
    head.extend_from_slice(&tenant_len.to_le_bytes());
    head.extend_from_slice(tenant);
    let mut hasher = Hasher::new();
    hasher.update(&head[..4]);
    hasher.update(&head[PREFIX_BYTES..]);
    hasher.update(&payload.bytes);
    let crc = hasher.finalize();
    head[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok((head, payload.bytes.clone()))
}

/// What the bytes at some place turn out to be.
pub(crate) enum Found {
    /// A whole frame of this many bytes.
    Frame(u64, usize),
    /// The bytes end before the frame does; it would need this many.
    Short(usize),
    /// Not a frame.
    Bad(&'static str),
}

/// Looks at the frame that begins at `bytes[0]`, without decoding its payload.
pub(crate) fn look(bytes: &[u8]) -> Found {
    if bytes.len() < PREFIX_BYTES {
        return Found::Short(PREFIX_BYTES);
    }
    let length = u32_at(bytes, 0) as usize;
    if length < FIXED_BYTES {
        return Found::Bad("the frame's length is impossible");
    }
    let whole = PREFIX_BYTES + length;
    if bytes.len() < whole {
        return Found::Short(whole);
    }
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(&bytes[PREFIX_BYTES..whole]);
    if hasher.finalize() != u32_at(bytes, 4) {
        return Found::Bad("the frame's checksum is wrong");
    }
    Found::Frame(u64_at(bytes, PREFIX_BYTES), whole)
}

/// Decodes a whole frame that `look` has found good.
pub(crate) fn decode_frame(frame: &Bytes) -> Result<Record, String> {
    let at = UnixNanos(u64_at(frame, 16));
    let (kind, transport, encoding) = (frame[24], frame[25], frame[26]);
    if encoding != 0 {
        return Err(format!("encoding {encoding} is unknown here: it was written by a newer geophone"));
    }
    let tenant_end = 30 + usize::from(u16::from_le_bytes([frame[28], frame[29]]));
    let tenant = frame.get(30..tenant_end).ok_or_else(|| "the tenant ends after the frame".to_owned())?;
    let payload = frame.slice(tenant_end..);
    let text = |error: serde_json::Error| error.to_string();
    let body = match kind {
        1..=4 => RecordBody::Batch(Export {
            tenant: Tenant(std::str::from_utf8(tenant).map_err(|error| error.to_string())?.into()),
            signal: match kind {
                1 => Signal::Traces,
                2 => Signal::Metrics,
                3 => Signal::Logs,
                _ => Signal::Profiles,
            },
            transport: match transport {
                1 => Transport::Grpc,
                2 => Transport::Http,
                3 => Transport::File,
                4 => Transport::Own,
                other => return Err(format!("transport {other} is unknown")),
            },
            wire: payload,
            decoded: None,
        }),
        16 => RecordBody::Tick,
        17 => RecordBody::Decided(serde_json::from_slice(&payload).map_err(text)?),
        18 => RecordBody::Outcome(serde_json::from_slice(&payload).map_err(text)?),
        19 => RecordBody::Model(serde_json::from_slice(&payload).map_err(text)?),
        20 => RecordBody::Stacks(Box::new(serde_json::from_slice(&payload).map_err(text)?)),
        other => return Err(format!("kind {other} is unknown: it was written by a newer geophone")),
    };
    Ok(Record { at, body })
}
