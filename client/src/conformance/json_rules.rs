//! The rules of OTLP/JSON. What a server makes of a field does not show; that it takes what is right and
//! turns down what cannot be right does.

use super::{
    call::{Call, Speech},
    finding::Review,
    lab::{Lab, Way},
};
use bytes::Bytes;
use geophone_proto::Signal;

const TRACE_ID: &str = "\"traceId\":\"5b8efff798038103d269b633813fc60c\"";
const SPAN_ID: &str = "\"spanId\":\"eee19b7ec3c1b174\"";

/// A document with one span; `at` is its time.
fn document(at: u64, ids: &str, fields: &str) -> String {
    let end = at.saturating_add(1);
    format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"geophone-check\"}}}}]}},\
         \"scopeSpans\":[{{\"spans\":[{{{ids},\"name\":\"check\",\"startTimeUnixNano\":\"{at}\",\"endTimeUnixNano\":\"{end}\"{fields}}}]}}]}}]}}"
    )
}

fn span(at: u64, fields: &str) -> String {
    document(at, &format!("{TRACE_ID},{SPAN_ID}"), fields)
}

/// Sends documents: the first must be taken, the others turned down.
async fn judge(lab: &mut Lab, right: &[(&str, String)], wrong: &[(&str, String)]) -> Review {
    let mut review = Review::default();
    if !lab.speeches(Way::Http).await.0.contains(&Speech::Json) {
        review.skip("the endpoint does not take JSON (see OTLP-11)");
        return review;
    }
    let call = |what: &str, body: &str| Call::raw(Speech::Json, Signal::Traces, what, Bytes::copy_from_slice(body.as_bytes()));
    for (what, body) in right {
        let exchange = lab.ask(call(what, body)).await;
        review.expect(&exchange, exchange.is_taken(), "success with nothing rejected");
    }
    for (what, body) in wrong {
        let exchange = lab.ask(call(what, body)).await;
        review.expect(&exchange, exchange.is_turned_down(), "a refusal, or 1 rejected");
    }
    review
}

/// JSON-01: ids are hex of any case, not base64.
pub(crate) async fn ids(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let upper = "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\"";
    let trace_in_base64 = format!("\"traceId\":\"W47/95gDgQPSabYzgT/GDA==\",{SPAN_ID}");
    let span_in_base64 = format!("{TRACE_ID},\"spanId\":\"7uGbfsPBsXQ=\"");
    let right = [("ids in lower-case hex", span(at, "")), ("ids in upper-case hex", document(at, upper, ""))];
    let wrong = [("a trace id in base64", document(at, &trace_in_base64, "")), ("a span id in base64", document(at, &span_in_base64, ""))];
    judge(lab, &right, &wrong).await
}

/// JSON-02: enums are numbers, never names.
pub(crate) async fn enums(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let right = [("a kind and a status by number", span(at, ",\"kind\":2,\"status\":{\"code\":2}"))];
    let wrong = [
        ("a kind by name", span(at, ",\"kind\":\"SPAN_KIND_SERVER\"")),
        ("a status by name", span(at, ",\"status\":{\"code\":\"STATUS_CODE_ERROR\"}")),
    ];
    judge(lab, &right, &wrong).await
}

/// JSON-03: unknown fields are ignored, and so are fields by their original names.
pub(crate) async fn names(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let right = [
        ("unknown fields", span(at, ",\"unknown\":{\"a\":[1,null,{\"b\":\"c\"}]}")),
        // Were the name known, its value would be wrong.
        ("an original name (`start_time_unix_nano`), which is an unknown field", span(at, ",\"start_time_unix_nano\":{\"no\":\"time\"}")),
        ("another (`resource_spans`)", "{\"resource_spans\":7}".to_owned()),
    ];
    judge(lab, &right, &[]).await
}

/// JSON-04: 64-bit integers are text, and taken as numbers as well.
pub(crate) async fn integers(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let int = |value: &str| span(at, &format!(",\"attributes\":[{{\"key\":\"n\",\"value\":{{\"intValue\":{value}}}}}]"));
    let text = span(at, "");
    let number = text.replace(&format!("\"{at}\""), &at.to_string());
    let right = [
        ("times as text", text),
        ("times as numbers", number),
        ("an integer as text", int("\"-7\"")),
        ("an integer as a number", int("-7")),
    ];
    let wrong = [("an integer that is none", int("\"seven\""))];
    judge(lab, &right, &wrong).await
}

/// JSON-05: other bytes are base64.
pub(crate) async fn bytes(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let value = |text: &str| span(at, &format!(",\"attributes\":[{{\"key\":\"b\",\"value\":{{\"bytesValue\":\"{text}\"}}}}]"));
    let right = [("bytes in base64", value("AP+A"))];
    let wrong = [("bytes that are no base64", value("*?*?"))];
    judge(lab, &right, &wrong).await
}

/// JSON-06: one document and nothing behind it.
pub(crate) async fn one_document(lab: &mut Lab, _: Way) -> Review {
    let at = lab.at();
    let right = [("a document and white space", span(at, "") + " \n")];
    let wrong = [("a document and text behind it", span(at, "") + "x"), ("two documents", span(at, "") + "{}")];
    judge(lab, &right, &wrong).await
}
