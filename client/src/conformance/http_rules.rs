//! Rules of HTTP alone: OTLP-10, 11, 12, 13.

use super::{
    call::{Call, Speech},
    error_rules::refusals,
    finding::Review,
    http2,
    lab::{Exchange, Lab, SIGNALS, Way},
};
use bytes::Bytes;
use geophone_proto::Signal;

/// OTLP-10: POST on the known paths, over HTTP/1.1; HTTP/2 is noted.
pub(crate) async fn paths(lab: &mut Lab, _: Way) -> Review {
    let mut review = Review::default();
    let at = lab.at();
    let speech = Speech::Protobuf;
    for signal in SIGNALS {
        let exchange = lab.clean(speech, signal).await;
        let is_served = exchange.got.as_ref().is_ok_and(|reply| !matches!(reply.status, 404 | 405 | 501));
        review.expect(&exchange, is_served, &format!("an answer of {}", exchange.call.path));
    }
    let mut profiles = Call::raw(speech, Signal::Traces, "an empty request to /v1development/profiles", Bytes::new());
    profiles.path = "/v1development/profiles".into();
    let exchange = lab.ask(profiles).await;
    if exchange.is_unknown() {
        review.remark(format!("{}: profiles are in development, a server may leave them out", exchange.shown()));
    } else {
        review.expect(&exchange, exchange.got.is_ok(), "an answer of /v1development/profiles");
    }
    let mut call = Call::clean(speech, Signal::Traces, at);
    call.what.push_str(" over HTTP/2");
    let got = tokio::time::timeout(lab.target.timeout, http2::exchange(&lab.target, &call)).await;
    let got = got.unwrap_or_else(|_| Err("nothing in time".into()));
    let exchange = Exchange { call, got };
    if exchange.is_ok() {
        review.expect(&exchange, true, "success");
    } else {
        review.remark(format!("{}: HTTP/2 with prior knowledge is not spoken, which a server may leave out", exchange.shown()));
    }
    review
}

/// OTLP-11: protobuf and JSON on one port, chosen by `Content-Type`.
pub(crate) async fn encodings(lab: &mut Lab, _: Way) -> Review {
    let mut review = Review::default();
    let at = lab.at();
    for speech in [Speech::Protobuf, Speech::Json] {
        let exchange = lab.clean(speech, Signal::Traces).await;
        review.expect(&exchange, exchange.is_ok(), "success");
    }
    if !lab.clean(Speech::Json, Signal::Traces).await.is_ok() {
        return review;
    }
    let mut call = Call::clean(Speech::Json, Signal::Traces, at).with("content-type", "application/json; charset=utf-8");
    call.what.push_str(" as `application/json; charset=utf-8`");
    let exchange = lab.ask(call).await;
    review.expect(&exchange, exchange.is_ok(), "success");
    let mut call = Call::clean(Speech::Json, Signal::Traces, at).with("content-type", Speech::Protobuf.content_type());
    call.speech = Speech::Protobuf;
    call.what.push_str(" in JSON, said to be protobuf");
    let exchange = lab.ask(call).await;
    review.expect(&exchange, !exchange.is_ok(), "a refusal: the content type decides");
    review
}

/// OTLP-12: the answer is in the encoding of the request.
pub(crate) async fn answer_encoding(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood {
        let clean = lab.clean(speech, Signal::Traces).await;
        let has_type = |exchange: &Exchange| exchange.got.as_ref().is_ok_and(|reply| reply.content_type() == speech.content_type());
        let is_message = !clean.is_ok() || clean.partial().is_ok();
        review.expect(&clean, has_type(&clean) && is_message, &format!("{} with an export response", speech.content_type()));
        for exchange in refusals(lab, speech).await {
            review.expect(&exchange, has_type(&exchange), &format!("content-type {}", speech.content_type()));
        }
    }
    review
}

/// OTLP-13: a compressed answer is asked for and says so.
pub(crate) async fn answer_compression(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    for speech in understood {
        let is_packed = |exchange: &Exchange| exchange.got.as_ref().is_ok_and(|reply| reply.body.starts_with(&[0x1f, 0x8b]));
        let encoding = |exchange: &Exchange| {
            let reply = exchange.got.as_ref().ok();
            reply.and_then(|reply| reply.field("content-encoding")).unwrap_or("identity").to_ascii_lowercase()
        };
        let unasked = lab.clean(speech, Signal::Traces).await;
        let is_plain = encoding(&unasked) == "identity" && !is_packed(&unasked);
        review.expect(&unasked, unasked.got.is_ok() && is_plain, "an answer without compression, as none was asked for");
        let mut call = Call::clean(speech, Signal::Traces, at).with("accept-encoding", "gzip");
        call.what.push_str(" with accept-encoding: gzip");
        let exchange = lab.ask(call).await;
        let is_sound = match encoding(&exchange).as_str() {
            "identity" => !is_packed(&exchange),
            "gzip" => is_packed(&exchange) || exchange.got.as_ref().is_ok_and(|reply| reply.body.is_empty()),
            _ => false,
        };
        review.expect(&exchange, exchange.got.is_ok() && is_sound, "gzip with content-encoding: gzip, or no compression at all");
    }
    review
}
