//! The faults, a row each, with the rules that they break.

use super::proxy::{Answer, Fault, LIMIT, Seen};
use bytes::Bytes;
use std::io::Write;

/// A fault and what must fail.
pub struct Case {
    pub name: &'static str,
    /// Rule and transport, in the order of the report.
    pub breaks: &'static [(&'static str, &'static str)],
    pub fault: Fault,
}

const fn early(name: &'static str, breaks: &'static [(&'static str, &'static str)], before: fn(&Seen) -> Option<Answer>) -> Case {
    Case { name, breaks, fault: Fault { before, after: |_, _| {} } }
}

const fn late(name: &'static str, breaks: &'static [(&'static str, &'static str)], after: fn(&Seen, &mut Answer)) -> Case {
    Case { name, breaks, fault: Fault { before: |_| None, after } }
}

const NOTHING: &[(&str, &str)] = &[];

fn is_packed(seen: &Seen) -> bool {
    seen.field("grpc-encoding") == "gzip" || seen.field("content-encoding") == "gzip"
}

fn is_clean_trace(seen: &Seen) -> bool {
    seen.holds(b"check 2") && seen.path.contains("trace")
}

fn code_is(answer: &Answer, code: &str) -> bool {
    answer.fields.get("grpc-status").is_some_and(|status| status == code)
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all").into()
}

pub const CASES: &[Case] = &[
    late("none", NOTHING, |_, _| {}),
    early("no gzip", &[("OTLP-01", "grpc"), ("OTLP-01", "http")], |seen| is_packed(seen).then(|| Answer::refused(seen, 12, 415))),
    early("no limit", &[("OTLP-03", "grpc"), ("OTLP-03", "http")], |seen| (seen.plain.len() > LIMIT).then(|| Answer::taken(seen))),
    early("no limit after decompression", &[("OTLP-03", "grpc"), ("OTLP-03", "http")], |seen| {
        (is_packed(seen) && seen.plain.len() > LIMIT).then(|| Answer::taken(seen))
    }),
    late("too large has another code", &[("OTLP-04", "grpc"), ("OTLP-04", "http")], |seen, answer| {
        if code_is(answer, "8") || answer.status == 413 {
            *answer = Answer::refused(seen, 11, 400);
        }
    }),
    late("too large shall be tried again", &[("OTLP-04", "grpc"), ("OTLP-04", "http")], |seen, answer| {
        if code_is(answer, "8") || answer.status == 413 {
            *answer = Answer::refused(seen, 8, 429);
            // Status { code: 8, details: [RetryInfo {}] } in base64.
            answer.put("grpc-status-details-bin", "CAgaKgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbw");
        }
    }),
    late("endless messages", &[("OTLP-05", "grpc"), ("OTLP-05", "http")], |seen, answer| {
        if answer.is_partial() && seen.holds(b"nnnnnnnn") {
            *answer = Answer::partial(seen, 1, &"m".repeat(5 << 20));
        }
    }),
    early("no metrics over gRPC", &[("OTLP-06", "grpc")], |seen| {
        (seen.path.contains("MetricsService")).then(|| Answer::refused(seen, 12, 404))
    }),
    early("no logs over HTTP", &[("OTLP-10", "http")], |seen| (seen.path == "/v1/logs").then(|| Answer::refused(seen, 12, 404))),
    early("no JSON", &[("OTLP-11", "http")], |seen| seen.is_json().then(|| Answer::refused(seen, 12, 415))),
    late("another content type", &[("OTLP-12", "http")], |seen, answer| {
        if !seen.is_grpc {
            answer.put("content-type", "text/plain");
        }
    }),
    late("compressed without saying so", &[("OTLP-13", "http")], |seen, answer| {
        if seen.field("accept-encoding") == "gzip" {
            answer.body = gzip(&answer.body);
        }
    }),
    late("compressed unasked", &[("OTLP-13", "http")], |seen, answer| {
        if !seen.is_grpc && answer.is_ok() {
            answer.body = gzip(&answer.body);
            answer.put("content-encoding", "gzip");
        }
    }),
    late("empty partial success", &[("OTLP-20", "grpc"), ("OTLP-20", "http")], |seen, answer| {
        if answer.is_ok() && !answer.is_partial() {
            *answer = Answer::partial(seen, 0, "");
        }
    }),
    late("nothing is too little", &[("OTLP-21", "grpc"), ("OTLP-21", "http")], |seen, answer| {
        if seen.plain.is_empty() && answer.is_ok() || seen.is_json() && seen.plain.len() < 25 && answer.is_ok() && !seen.holds(b"_") {
            *answer = Answer::refused(seen, 3, 400);
        }
    }),
    late("counts too many", &[("OTLP-22", "grpc"), ("OTLP-22", "http")], |seen, answer| {
        if answer.is_partial() {
            *answer = Answer::partial(seen, 2, "two");
        }
    }),
    late("says no reason", &[("OTLP-22", "grpc"), ("OTLP-22", "http")], |seen, answer| {
        if answer.is_partial() {
            *answer = Answer::partial(seen, 1, "");
        }
    }),
    late("one odd row sinks the others", &[("OTLP-22", "grpc"), ("OTLP-22", "http")], |seen, answer| {
        if answer.is_partial() {
            *answer = Answer::refused(seen, 3, 400);
        }
    }),
    late("warns without words", &[("OTLP-23", "grpc"), ("OTLP-23", "http")], |seen, answer| {
        // Ids in base64 are the matter of another rule.
        if answer.is_partial() && !seen.holds(b"W47/95gD") && !seen.holds(b"7uGbfsPB") {
            *answer = Answer::partial(seen, 0, "");
        }
    }),
    late("rejects in part for a while", &[("OTLP-24", "grpc"), ("OTLP-24", "http")], |seen, answer| {
        if answer.is_partial() && seen.is_repeated {
            *answer = Answer::taken(seen);
        }
    }),
    late("an unknown method may come later", &[("OTLP-30", "grpc")], |seen, answer| {
        if seen.path.ends_with("/Nothing") {
            *answer = Answer::refused(seen, 14, 404);
        }
    }),
    early("overload is INTERNAL and 500", &[("OTLP-31", "grpc"), ("OTLP-35", "http")], |seen| {
        (seen.open > 16).then(|| Answer::refused(seen, 13, 500))
    }),
    late("bad data has another code", &[("OTLP-32", "grpc"), ("OTLP-32", "http")], |seen, answer| {
        if code_is(answer, "3") || answer.status == 400 {
            *answer = Answer::refused(seen, 13, 422);
        }
    }),
    late("an unknown encoding may come later", &[("OTLP-33", "http")], |seen, answer| {
        if answer.status == 415 {
            *answer = Answer::refused(seen, 3, 503);
        }
    }),
    late("refusals in plain text", &[("OTLP-34", "http")], |seen, answer| {
        if !seen.is_grpc && !answer.is_ok() {
            answer.body = "no".into();
        }
    }),
    late("no duplicates", &[("OTLP-36", "grpc"), ("OTLP-36", "http")], |seen, answer| {
        if is_clean_trace(seen) && seen.is_repeated && answer.is_ok() && !answer.is_partial() {
            *answer = Answer::refused(seen, 6, 409);
        }
    }),
    early("only plain values", &[("OTLP-37", "grpc"), ("OTLP-37", "http")], |seen| {
        seen.holds(b"mixed").then(|| Answer::refused(seen, 3, 400))
    }),
    early("ids in base64", &[("JSON-01", "http")], |seen| seen.holds(b"W47/95gD").then(|| Answer::taken(seen))),
    early("enums by name", &[("JSON-02", "http")], |seen| seen.holds(b"SPAN_KIND_SERVER").then(|| Answer::taken(seen))),
    early("no unknown fields", &[("JSON-03", "http")], |seen| seen.holds(b"\"unknown\"").then(|| Answer::refused(seen, 3, 400))),
    early("original names", &[("JSON-03", "http")], |seen| seen.holds(b"resource_spans").then(|| Answer::refused(seen, 3, 400))),
    early("integers only as text", &[("JSON-04", "http")], |seen| seen.holds(b"\"intValue\":-7").then(|| Answer::refused(seen, 3, 400))),
    early("any text is bytes", &[("JSON-05", "http")], |seen| seen.holds(b"*?*?").then(|| Answer::taken(seen))),
    early("text behind the document", &[("JSON-06", "http")], |seen| seen.plain.ends_with(b"}x").then(|| Answer::taken(seen))),
    early("no groups", &[("WIRE-01", "grpc"), ("WIRE-01", "http")], |seen| {
        seen.holds(&[0xb3, 0x38]).then(|| Answer::refused(seen, 3, 400))
    }),
];
