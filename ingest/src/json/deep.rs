//! Documents that nest deeper than `serde_json` follows: what lies deeper is set aside as pieces that are read by
//! themselves, so that the walk judges nesting row by row, as it does in protobuf. Called by `transcode`, and only for
//! such documents.

use serde::de::IgnoredAny;
use xxhash_rust::xxh3::xxh3_128;

/// Brackets of a document that are read at once, and again of a piece: fewer than `serde_json` follows. In OTLP at least
/// every second bracket is a message, so what lies below both nests deeper than the hundred messages that the walk allows.
const LAYER: usize = 110;

/// A document in layers.
pub(super) struct Layers {
    /// The outer layer; texts that name a piece stand where the pieces were.
    pub(super) outer: Vec<u8>,
    pub(super) pieces: Pieces,
}

/// What lies in the layer below. What lies below that is emptied: its row is too deep either way.
pub(super) struct Pieces {
    /// No text of the document begins like this: it is a hash of the document.
    mark: String,
    bytes: Vec<Vec<u8>>,
}

impl Layers {
    /// Takes a document apart; fails if it is no JSON. Not recursive.
    pub(super) fn of(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<IgnoredAny>(json)?;
        let mark = format!("{:032x}.", xxh3_128(json));
        let (mut outer, mut bytes) = (Vec::with_capacity(json.len()), Vec::<Vec<u8>>::new());
        let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
        for &byte in json {
            let before = depth;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            // A bracket belongs to the level that it opens or closes.
            let level = before.max(depth);
            if level <= LAYER {
                outer.push(byte);
                continue;
            }
            if before == LAYER {
                outer.extend_from_slice(format!("\"{mark}{}\"", bytes.len()).as_bytes());
                bytes.push(Vec::new());
            }
            let is_kept = level <= 2 * LAYER || level == 2 * LAYER + 1 && before != depth;
            if is_kept && let Some(piece) = bytes.last_mut() {
                piece.push(byte);
            }
        }
        Ok(Self { outer, pieces: Pieces { mark, bytes } })
    }
}

impl Pieces {
    /// The piece that a text stands for.
    pub(super) fn named(&self, text: &str) -> Option<&[u8]> {
        let number: usize = text.strip_prefix(&self.mark)?.parse().ok()?;
        self.bytes.get(number).map(Vec::as_slice)
    }
}

/// Whether `serde_json` gave up because of the nesting alone.
pub(super) fn is_too_deep(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("recursion limit exceeded")
}
