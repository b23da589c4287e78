//! HTTP/2 as far as a sender needs it: frames put together and taken apart.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// As large a frame as every server takes.
pub const FRAME_BYTES: usize = 16_384;
/// What may be sent before the other side has granted more.
pub const WINDOW_BYTES: i64 = 65_535;

/// How a connection begins: the preface, and settings that change nothing.
pub fn begun() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    frame(&mut out, (4, 0), 0, &[]);
    out
}

/// Puts a frame of this kind, with these flags, at the end.
pub fn frame(out: &mut Vec<u8>, (kind, flags): (u8, u8), id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A frame: kind and flags, stream, payload; and what follows it.
type Framed<'a> = ((u8, u8), u32, &'a [u8], &'a [u8]);

/// The first frame, if it is there as a whole.
pub fn first_of(bytes: &[u8]) -> Option<Framed<'_>> {
    let (&[a, b, c, kind, flags, d, e, f, g], behind) = bytes.split_first_chunk::<9>()?;
    let (payload, behind) = behind.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)?;
    Some(((kind, flags), u32::from_be_bytes([d & 0x7f, e, f, g]), payload, behind))
}

/// What a frame of settings says of this one.
pub fn setting(payload: &[u8], number: u8) -> Option<i64> {
    let found = payload.chunks_exact(6).rfind(|setting| setting[..2] == [0, number])?;
    Some(i64::from(u32::from_be_bytes([found[2], found[3], found[4], found[5]])))
}

/// The head of an export in HPACK: texts are told once and named by number from then on, as every client does.
pub fn head(address: &str, is_packed: bool, is_first: bool) -> Vec<u8> {
    let mut told = vec![("", 4, PATH), ("", 1, address), ("", 31, "application/grpc"), ("te", 0, "trailers"), ("", 58, "wire")];
    if is_packed {
        told.push(("grpc-encoding", 0, "gzip"));
    }
    let mut head = vec![0x83, 0x86];
    for (place, (name, number, value)) in told.iter().enumerate() {
        if !is_first {
            head.push(0x80 | u8::try_from(62 + told.len() - 1 - place).expect("a few"));
            continue;
        }
        head.push(0x40 | number);
        if *number == 0 {
            head.push(u8::try_from(name.len()).expect("a short name"));
            head.extend_from_slice(name.as_bytes());
        }
        head.push(u8::try_from(value.len()).expect("a short value"));
        head.extend_from_slice(value.as_bytes());
    }
    head
}
