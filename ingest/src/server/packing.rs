//! Compression of requests: its names, and unpacking that stops at the limit.

use super::{budget::Permit, pressure::Pressure, reception::over_budget, refusal::Refusal};
use bytes::Bytes;
use std::io::Read;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Zlib,
    /// RFC 8878.
    Zstd,
}

/// What a sender may choose from.
pub(crate) const ACCEPTED: &str = "identity,gzip,zstd,deflate";

/// Unpacked in steps of this size, each of which must fit limit and budget.
const STEP_BYTES: usize = 64 << 10;
/// Windows above 8 MiB are refused: the decoder would hold them outside the budget.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Packing {
    /// Reads the name in a header; `None` if unknown.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Zlib),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Unpacks; the permit grows with what comes out, so a bomb stops at limit or budget.
    pub(crate) fn unpack(self, body: Bytes, bytes_max: usize, permit: &mut Permit, pressure: &Pressure) -> Result<Bytes, Refusal> {
        let broken = |error: std::io::Error| Refusal::malformed(format!("body cannot be decompressed: {error}"));
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => drain(flate2::read::MultiGzDecoder::new(&*body), body.len(), bytes_max, (permit, pressure)),
            Self::Zlib => drain(flate2::read::ZlibDecoder::new(&*body), body.len(), bytes_max, (permit, pressure)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&*body).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                drain(decoder, body.len(), bytes_max, (permit, pressure))
            }
        }
    }
}

fn drain(mut source: impl Read, packed: usize, bytes_max: usize, (permit, pressure): (&mut Permit, &Pressure)) -> Result<Bytes, Refusal> {
    let mut out = Vec::new();
    loop {
        let filled = out.len();
        let until = |step: usize| filled.saturating_add(step).min(bytes_max.saturating_add(1));
        // Doubled where there is room, else a small step.
        let mut wanted = until(STEP_BYTES.max(filled));
        if permit.grow_to(packed.saturating_add(wanted)).is_err() {
            wanted = until(STEP_BYTES);
            permit.grow_to(packed.saturating_add(wanted)).map_err(|over| over_budget(over, pressure))?;
        }
        out.reserve_exact(wanted - filled);
        let read = source.by_ref().take((wanted - filled) as u64).read_to_end(&mut out);
        read.map_err(|error| Refusal::malformed(format!("body cannot be decompressed: {error}")))?;
        if out.len() > bytes_max {
            return Err(Refusal::too_large(bytes_max));
        }
        if out.len() < wanted {
            // The log keeps it, and counts what is in it: a request of ten spans must not hold a whole step.
            out.shrink_to_fit();
            return Ok(out.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Access, server::budget::Budget};
    use std::io::Write;

    #[test]
    fn what_is_unpacked_holds_no_more_than_it_says() {
        for length in [1, 5_000, STEP_BYTES - 1, STEP_BYTES, 3 * STEP_BYTES + 1] {
            let plain: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let packed = writer.write_all(&plain).and_then(|()| writer.finish()).expect("memory takes everything");
            let mut permit = Budget::new(1 << 20).permit(&Access::default().strangers(), false, 0).expect("the budget is empty");
            let unpacked = Packing::Gzip.unpack(packed.into(), 1 << 19, &mut permit, &Pressure::default()).expect("it fits");
            assert_eq!(unpacked, plain);
            let held = unpacked.try_into_mut().expect("nobody else has it").capacity();
            assert!(held <= length + 64, "{held} bytes for {length}");
        }
    }
}
