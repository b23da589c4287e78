//! The rules in order, each put to the server on the transports that it is about.

use super::{
    answer_rules, error_rules,
    finding::{Finding, Outcome, Review},
    http_rules, json_rules,
    lab::{Lab, Way},
    overload, request_rules,
    target::{Target, TargetError},
};

const BOTH: &[Way] = &[Way::Grpc, Way::Http];
const GRPC: &[Way] = &[Way::Grpc];
const HTTP: &[Way] = &[Way::Http];

macro_rules! rules {
    ($($id:literal $ways:ident $judge:path, $about:literal;)*) => {
        /// Number, transports, and the rule in a few words.
        const RULES: &[(&str, &[Way], &str)] = &[$(($id, $ways, $about)),*];

        async fn judge(id: &str, lab: &mut Lab, way: Way) -> Review {
            match id {
                $($id => $judge(lab, way).await,)*
                _ => Review::default(),
            }
        }
    };
}

rules! {
    "OTLP-01" BOTH request_rules::compression, "no compression and gzip are taken";
    "OTLP-02" BOTH request_rules::ports, "default ports are 4317 and 4318";
    "OTLP-03" BOTH request_rules::size_limit, "request size is limited, also after decompression";
    "OTLP-04" BOTH error_rules::too_large_answer, "too large is RESOURCE_EXHAUSTED or 413, not retryable";
    "OTLP-05" BOTH answer_rules::response_limit, "response size is limited";
    "OTLP-06" GRPC request_rules::services, "a unary Export per signal";
    "OTLP-10" HTTP http_rules::paths, "POST on /v1/traces, /v1/metrics, /v1/logs, /v1development/profiles";
    "OTLP-11" HTTP http_rules::encodings, "protobuf and JSON on one port, by content type";
    "OTLP-12" HTTP http_rules::answer_encoding, "the answer has the content type of the request";
    "OTLP-13" HTTP http_rules::answer_compression, "compressed answers only on demand, and marked";
    "OTLP-20" BOTH answer_rules::full_success, "full success leaves partial_success unset";
    "OTLP-21" BOTH request_rules::empty, "an empty request succeeds";
    "OTLP-22" BOTH answer_rules::partial_success, "rows refused in part are counted and explained";
    "OTLP-23" BOTH answer_rules::warnings, "a warning has count 0 and a message";
    "OTLP-24" BOTH answer_rules::final_rejection, "partial success is never used for temporary errors";
    "OTLP-30" GRPC error_rules::grpc_finality, "permanent gRPC errors are not retryable";
    "OTLP-31" GRPC overload::grpc, "overload is UNAVAILABLE, perhaps with RetryInfo";
    "OTLP-32" BOTH error_rules::bad_data, "bad data is INVALID_ARGUMENT or 400";
    "OTLP-33" HTTP error_rules::http_finality, "only 429, 502, 503, 504 ask for a retry";
    "OTLP-34" HTTP error_rules::status_bodies, "every refusal is a Status in the request's encoding";
    "OTLP-35" HTTP overload::http, "overload is 429 or 503, perhaps with Retry-After";
    "OTLP-36" BOTH request_rules::duplicates, "duplicates are accepted";
    "OTLP-37" BOTH request_rules::values, "empty, bytes, mixed-array and list values are accepted";
    "JSON-01" HTTP json_rules::ids, "ids are hex of any case, not base64";
    "JSON-02" HTTP json_rules::enums, "enums are numbers, not names";
    "JSON-03" HTTP json_rules::names, "unknown fields are ignored, original names are unknown";
    "JSON-04" HTTP json_rules::integers, "64-bit integers are taken as text and as numbers";
    "JSON-05" HTTP json_rules::bytes, "other bytes are base64";
    "JSON-06" HTTP json_rules::one_document, "one document, nothing behind it";
    "WIRE-01" BOTH request_rules::unusual, "unknown fields and groups, any field order, split messages";
}

/// Puts every rule to a server. Fails only if there is nobody to ask.
pub async fn check(target: Target) -> Result<Vec<Finding>, TargetError> {
    if target.grpc.is_none() && target.http.is_none() {
        return Err(TargetError::Nothing);
    }
    let mut lab = Lab::new(target);
    let absent = lab.settle().await?;
    let mut findings = Vec::new();
    for (rule, ways, about) in RULES {
        for way in *ways {
            let (outcome, detail) = if lab.place(*way).is_some() {
                judge(rule, &mut lab, *way).await.finish()
            } else {
                let why = absent.iter().find(|(absent, _)| absent == way).map(|(_, why)| why.clone());
                (Outcome::Skipped, why.unwrap_or_else(|| format!("no {} endpoint was given", way.title())))
            };
            findings.push(Finding { rule, transport: way.name(), outcome, detail, about });
        }
    }
    Ok(findings)
}
