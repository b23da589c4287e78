//! Which signal a message carries, by its content.

use geophone_proto::Signal;

/// The signal of a JSON request: named by its one top-level key.
pub fn json_signal(text: &[u8]) -> Option<Signal> {
    #[derive(serde::Deserialize)]
    struct Keys {
        #[serde(rename = "resourceSpans", alias = "resource_spans")]
        spans: Option<serde::de::IgnoredAny>,
        #[serde(rename = "resourceMetrics", alias = "resource_metrics")]
        metrics: Option<serde::de::IgnoredAny>,
        #[serde(rename = "resourceLogs", alias = "resource_logs")]
        logs: Option<serde::de::IgnoredAny>,
        #[serde(rename = "resourceProfiles", alias = "resource_profiles")]
        profiles: Option<serde::de::IgnoredAny>,
    }
    // The key mostly stands at the beginning; only else is the whole line read.
    let start = &text[..text.len().min(64)];
    let near = [
        ("\"resourceSpans\"", Signal::Traces),
        ("\"resourceMetrics\"", Signal::Metrics),
        ("\"resourceLogs\"", Signal::Logs),
        ("\"resourceProfiles\"", Signal::Profiles),
    ];
    let start = start.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    if let Some((_, signal)) = near.iter().find(|(key, _)| start.starts_with(key.as_bytes())) {
        return Some(*signal);
    }
    let keys: Keys = serde_json::from_slice(text).ok()?;
    match keys {
        Keys { spans: Some(_), .. } => Some(Signal::Traces),
        Keys { metrics: Some(_), .. } => Some(Signal::Metrics),
        Keys { logs: Some(_), .. } => Some(Signal::Logs),
        Keys { profiles: Some(_), .. } => Some(Signal::Profiles),
        _ => None,
    }
}

/// The signal of a protobuf request: all three nest alike (request 1 -> resource 2 -> scope 2 -> row), so
/// the first rows' fields tell. `None` if there is no row or none that tells.
pub fn wire_signal(wire: &[u8]) -> Option<Signal> {
    let within = |message, number| fields(message).filter(move |field| field.number == number && field.kind == 2).map(|field| field.bytes);
    within(wire, 1).flat_map(|resource| within(resource, 2)).flat_map(|scope| within(scope, 2)).take(16).find_map(row_signal)
}

fn row_signal(row: &[u8]) -> Option<Signal> {
    let mut signal = None;
    for field in fields(row) {
        signal = match (field.number, field.kind) {
            // Profile: time.
            (3, 1) => Some(Signal::Profiles),
            // LogRecord: time, observed time, severity number.
            (1 | 11, 1) | (2, 0) => Some(Signal::Logs),
            // Span: start, end, kind; ids of 16 and 8 bytes.
            (7 | 8, 1) | (6, 0) => Some(Signal::Traces),
            // Metric: gauge, sum, histogram, exponential histogram, summary.
            (5 | 7 | 11, 2) => Some(Signal::Metrics),
            (9 | 10, 2) if field.bytes.len() != 16 && field.bytes.len() != 8 => Some(Signal::Metrics),
            _ => continue,
        };
        // 5 is a span's name and a log's body too: what is sure decides at once, it only in the end.
        if !matches!((field.number, field.kind), (5 | 7 | 9 | 10 | 11, 2)) {
            return signal;
        }
    }
    signal
}

struct Field<'a> {
    number: u64,
    kind: u64,
    bytes: &'a [u8],
}

/// The fields of a message, as far as they can be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let tag = varint(&mut rest)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let bytes = rest.get(..length)?;
        rest = &rest[length..];
        Some(Field { number: tag >> 3, kind: tag & 7, bytes })
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (first, others) = rest.split_first()?;
        *rest = others;
        value |= u64::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
