//! Texts that stand for bytes: hex and base64. And numbers that come as text.

/// Decodes hex digits of either case onto `out`; false if `text` is none.
pub(crate) fn put_hex(out: &mut Vec<u8>, text: &str) -> bool {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let start = out.len();
    for [high, low] in pairs {
        let Some((high, low)) = digit(*high).zip(digit(*low)) else {
            out.truncate(start);
            return false;
        };
        out.push(high << 4 | low);
    }
    if !rest.is_empty() {
        out.truncate(start);
    }
    rest.is_empty()
}

/// Decodes base64, standard or for URLs, padded or not; `None` if `text` is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut word = 0;
        for place in 0..4 {
            let digit = match chunk.get(place).copied().unwrap_or(b'A') {
                byte @ b'A'..=b'Z' => byte - b'A',
                byte @ b'a'..=b'z' => byte - b'a' + 26,
                byte @ b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(digit);
        }
        let [_, bytes @ ..] = word.to_be_bytes();
        match chunk.len() {
            1 => return None,
            len => out.extend_from_slice(&bytes[..len - 1]),
        }
    }
    Some(out)
}

/// Reads a double as protobuf's JSON writes it.
pub(crate) fn to_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // The standard library would also take `inf` and `+1`.
        _ if text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit()) => {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        }
        _ => None,
    }
}

/// Reads a whole number; signs other than one `-` are none.
pub(crate) fn to_integer(text: &str) -> Option<i128> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}
