//! Rules about what a server says when it says no: OTLP-04, 30, 32, 33, 34.

use super::{
    call::{Call, Speech},
    finding::Review,
    lab::{Exchange, Lab, Way},
    request_rules::too_large,
    samples,
};
use bytes::Bytes;
use geophone_proto::Signal;

/// OTLP-04: too large has its own answer, and it is final.
pub(crate) async fn too_large_answer(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    for call in too_large(lab, way, &mut review).await {
        let exchange = lab.ask(call).await;
        if exchange.is_ok() {
            review.skip("nothing was too large for the endpoint (see OTLP-03)");
            continue;
        }
        let (is_right, want) = match (&exchange.got, way) {
            (Ok(reply), Way::Grpc) => {
                let retry = reply.refusal(Speech::Grpc).is_ok_and(|refusal| refusal.retry.is_some());
                (reply.grpc_status() == Some(8) && !retry, "8 RESOURCE_EXHAUSTED without RetryInfo")
            }
            (Ok(reply), Way::Http) => (reply.status == 413, "413"),
            (Err(_), Way::Grpc) => (false, "8 RESOURCE_EXHAUSTED without RetryInfo"),
            (Err(_), Way::Http) => (false, "413"),
        };
        review.expect(&exchange, is_right, want);
    }
    review
}

/// OTLP-30: what will never work is not answered as retryable.
pub(crate) async fn grpc_finality(lab: &mut Lab, _: Way) -> Review {
    let mut review = Review::default();
    let at = lab.at();
    let clean = || Call::clean(Speech::Grpc, Signal::Traces, at);
    let mut unknown = clean();
    unknown.what = "a call of an unknown method".into();
    unknown.path = unknown.path.replace("/Export", "/Nothing");
    let mut packed = clean().gzip();
    packed.what = "a message in the encoding `geophone`".into();
    let packed = packed.with("grpc-encoding", "geophone");
    for call in [unknown, packed, undecompressable(Speech::Grpc)] {
        let exchange = lab.ask(call).await;
        let code = exchange.got.as_ref().ok().and_then(super::reply::Reply::grpc_status);
        let is_right = exchange.is_refused_for_good() && code.is_some_and(|code| (1..=16).contains(&code));
        review.expect(&exchange, is_right, "a status that is not retryable");
    }
    review
}

/// A body that says it is gzip and is not.
fn undecompressable(speech: Speech) -> Call {
    let mut call = Call::raw(speech, Signal::Traces, "a body marked as gzip that is none", Bytes::from_static(b"no gzip at all"));
    if speech == Speech::Grpc {
        call.content.head = [&[1], &call.content.head[1..]].concat().into();
        call.with("grpc-encoding", "gzip")
    } else {
        call.with("content-encoding", "gzip")
    }
}

/// OTLP-32: bad data has its own answer.
pub(crate) async fn bad_data(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, left_out) = lab.speeches(way).await;
    let at = lab.at();
    let mut details = 0;
    for speech in understood {
        for (what, body) in samples::malformed(speech, at) {
            let exchange = lab.ask(Call::raw(speech, Signal::Traces, what, body)).await;
            let reply = exchange.got.as_ref().ok();
            let (is_right, want) = match way {
                Way::Grpc => (reply.is_some_and(|reply| reply.grpc_status() == Some(3)), "3 INVALID_ARGUMENT"),
                Way::Http => (reply.is_some_and(|reply| reply.status == 400), "400"),
            };
            let refusal = reply.and_then(|reply| reply.refusal(speech).ok()).unwrap_or_default();
            details += usize::from(refusal.details.iter().any(|name| name.ends_with("google.rpc.BadRequest")));
            review.expect(&exchange, is_right, want);
        }
    }
    if details == 0 {
        review.remark("no answer holds a BadRequest, as it should");
    }
    left_out.into_iter().for_each(|speech| review.left_out(speech));
    review
}

/// Requests that no repetition makes right.
fn hopeless(speech: Speech, at: u64) -> [Call; 3] {
    let clean = Call::clean(speech, Signal::Traces, at);
    let mut packed = clean.clone().with("content-encoding", "geophone");
    packed.what = "a body in the encoding `geophone`".into();
    let mut fetched = Call { method: "GET", ..clean };
    fetched.what = "a request".into();
    fetched.content = Bytes::new().into();
    [packed, undecompressable(speech), fetched]
}

/// OTLP-33: only what may work later is answered as retryable, and what is valid is never thrown away.
pub(crate) async fn http_finality(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let at = lab.at();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood {
        let clean = lab.clean(speech, Signal::Traces).await;
        if let Ok(reply) = &clean.got
            && reply.status >= 500
        {
            review.expect(&clean, reply.is_retryable(speech), "no status that makes clients drop valid data");
        }
        for call in hopeless(speech, at) {
            let exchange = lab.ask(call).await;
            review.expect(&exchange, exchange.is_refused_for_good(), "a status other than 2xx, 429, 502, 503, 504");
        }
    }
    review
}

/// The refusals of all kinds on paths of OTLP.
pub(crate) async fn refusals(lab: &mut Lab, speech: Speech) -> Vec<Exchange> {
    let (at, bytes_max) = (lab.at(), lab.target.request_bytes_max);
    let malformed = samples::malformed(speech, at).into_iter().take(2);
    let mut calls: Vec<Call> = malformed.map(|(what, body)| Call::raw(speech, Signal::Traces, what, body)).collect();
    calls.push(samples::too_large(speech, at, bytes_max));
    calls.extend(hopeless(speech, at));
    let mut refusals = Vec::new();
    for call in calls {
        let exchange = lab.ask(call).await;
        if exchange.is_refused() {
            refusals.push(exchange);
        }
    }
    refusals
}

/// OTLP-34: every refusal holds a `Status`, in the encoding of the request.
pub(crate) async fn status_bodies(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood {
        for exchange in refusals(lab, speech).await {
            let refusal = exchange.got.as_ref().ok().and_then(|reply| reply.refusal(speech).ok());
            let is_right = refusal.is_some_and(|refusal| !refusal.message.is_empty());
            review.expect(&exchange, is_right, "a Status with a message, in the encoding of the request");
        }
    }
    review.skip("nothing was refused");
    review
}
