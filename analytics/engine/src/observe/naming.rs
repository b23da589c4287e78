//! Span names without the ids in them: remote code writes `GET /user/4711` and `job-550e8400-...`.

use std::borrow::Cow;

/// What stands for an id.
const ID: &str = "{id}";
/// Longest name kept.
const NAME_MAX: usize = 200;

/// The name with UUIDs, long hexadecimal and alphanumeric ids, and numbers of their own replaced.
/// `v1`, `HTTP/1.1`, `s3` stay. A route needs none of this.
pub fn without_ids(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_MAX && !name.bytes().any(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(name);
    }
    let mut clean = String::with_capacity(name.len());
    let mut rest = cut(name, NAME_MAX);
    while let Some(first) = rest.chars().next() {
        if let Some(len) = uuid_len(rest) {
            clean.push_str(ID);
            rest = &rest[len..];
        } else if first.is_alphanumeric() {
            let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(rest.len());
            let stands_alone = clean.is_empty() || clean.ends_with(['/', ' ', '-', '_', ':', '#', '=', '(', ',']);
            let word = &rest[..len];
            clean.push_str(if stands_alone && is_id(word, clean.ends_with('/')) { ID } else { word });
            rest = &rest[len..];
        } else {
            clean.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Cow::Owned(clean)
}

/// At most `max` bytes, cut between characters.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Length of a UUID that the text begins with.
pub fn uuid_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes().get(..36)?;
    let is_uuid = bytes.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then_some(36)
}

fn is_id(word: &str, in_path: bool) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits == word.len();
    let is_hex = word.len() >= 12 && digits > 0 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_key = word.len() >= 20 && digits >= 4 && !word.contains('.');
    is_number && (in_path || word.len() >= 3) || is_hex || is_key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_and_names_stay() {
        for (name, clean) in [
            ("GET /user/4711/cart", "GET /user/{id}/cart"),
            ("job-550e8400-e29b-41d4-a716-446655440000", "job-{id}"),
            ("550e8400-e29b-41d4-a716-446655440000", "{id}"),
            ("GET /v1/s3/HTTP/1.1", "GET /v1/s3/HTTP/1.1"),
            ("load 0af7651916cd43dd8448eb211c80319c", "load {id}"),
            ("Charge", "Charge"),
            ("größe 12345 ü", "größe {id} ü"),
            ("", ""),
        ] {
            assert_eq!(without_ids(name), clean);
        }
        assert!(without_ids(&"ä1".repeat(500)).len() <= NAME_MAX);
    }
}
