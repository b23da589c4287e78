//! Rules about what a server must take: OTLP-01, 02, 03, 06, 21, 36, 37, and protobuf's own (WIRE-01).

use super::{
    call::Call,
    finding::Review,
    lab::{Lab, SIGNALS, Way},
    samples,
    target::{GRPC_PORT, HTTP_PORT},
};
use bytes::Bytes;
use geophone_proto::Signal;

/// The path of profiles, which is in development and may be missing.
const PROFILES: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// OTLP-01: no compression, and gzip.
pub(crate) async fn compression(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, left_out) = lab.speeches(way).await;
    let at = lab.at();
    for speech in understood {
        let clean = Call::clean(speech, Signal::Traces, at);
        for call in [clean.clone(), clean.gzip()] {
            let exchange = lab.ask(call).await;
            review.expect(&exchange, exchange.is_ok(), "success");
        }
    }
    left_out.into_iter().for_each(|speech| review.left_out(speech));
    review
}

/// OTLP-02: the default ports.
pub(crate) async fn ports(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let default = if way == Way::Grpc { GRPC_PORT } else { HTTP_PORT };
    let port = lab.place(way).map_or(0, |place| place.port);
    if port != default {
        review.skip(format!("the endpoint was given with port {port}: what it would choose by itself ({default}?) does not show"));
        return review;
    }
    let (understood, _) = lab.speeches(way).await;
    for speech in understood.into_iter().take(1) {
        let exchange = lab.clean(speech, Signal::Traces).await;
        review.expect(&exchange, exchange.got.is_ok(), "an answer on the default port");
    }
    review
}

/// OTLP-03: a limit of size, also after decompression.
pub(crate) async fn size_limit(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    for call in too_large(lab, way, &mut review).await {
        let exchange = lab.ask(call).await;
        review.expect(&exchange, !exchange.is_ok(), "a refusal (say with --limit if its limit is larger)");
    }
    review
}

/// The too large requests that the server could understand if they were smaller.
pub(crate) async fn too_large(lab: &mut Lab, way: Way, review: &mut Review) -> Vec<Call> {
    let (understood, _) = lab.speeches(way).await;
    let (at, bytes_max) = (lab.at(), lab.target.request_bytes_max);
    let mut calls = Vec::new();
    for speech in understood {
        let call = samples::too_large(speech, at, bytes_max);
        calls.push(call.clone());
        if lab.takes_gzip(speech).await {
            calls.push(call.gzip());
        } else {
            review.remark(format!("gzip left out for {}: the endpoint does not take it", speech.name()));
        }
    }
    calls
}

/// OTLP-06: a unary `Export` for each signal.
pub(crate) async fn services(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood {
        for signal in SIGNALS {
            let exchange = lab.clean(speech, signal).await;
            review.expect(&exchange, exchange.got.is_ok() && !exchange.is_unknown(), "an answer of this signal's service");
        }
        let mut call = Call::raw(speech, Signal::Traces, "an empty request to ProfilesService", Bytes::new());
        call.path = PROFILES.into();
        let exchange = lab.ask(call).await;
        if exchange.is_unknown() {
            review.remark(format!("{}: profiles are in development, a server may leave them out", exchange.shown()));
        } else {
            review.expect(&exchange, exchange.got.is_ok(), "an answer of ProfilesService");
        }
    }
    review
}

/// OTLP-21: nothing in it is no error.
pub(crate) async fn empty(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood {
        for signal in SIGNALS {
            if lab.clean(speech, signal).await.is_unknown() {
                review.remark(format!("{} left out: the endpoint does not take them", signal.as_str()));
                continue;
            }
            let name = signal.as_str();
            let empty = Call::export(speech, format!("an empty request of {name}"), &samples::empty(signal));
            let envelopes = Call::export(speech, format!("empty envelopes of {name}"), &samples::envelopes(signal));
            for call in [empty, envelopes] {
                let exchange = lab.ask(call).await;
                review.expect(&exchange, exchange.is_taken(), "success with nothing rejected");
            }
        }
    }
    review
}

/// OTLP-36: the same once more is no error.
pub(crate) async fn duplicates(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    for speech in understood {
        let first = lab.clean(speech, Signal::Traces).await;
        if !first.is_taken() {
            review.skip(format!("{}: a first request is not taken either", first.shown()));
            continue;
        }
        let mut again = Call::clean(speech, Signal::Traces, at);
        again.what.push_str(", the same bytes once more");
        let exchange = lab.ask(again).await;
        review.expect(&exchange, exchange.is_taken(), "success, as for the first time");
    }
    review
}

/// OTLP-37: every kind of attribute value.
pub(crate) async fn values(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    for speech in understood {
        for signal in SIGNALS {
            if lab.clean(speech, signal).await.is_unknown() {
                continue;
            }
            let what = format!("{} with empty, bytes, mixed-array and list values", signal.as_str());
            let exchange = lab.ask(Call::export(speech, what, &samples::values(signal, at))).await;
            review.expect(&exchange, exchange.is_taken(), "success with nothing rejected");
        }
    }
    review
}

/// WIRE-01: what protobuf lets senders do.
pub(crate) async fn unusual(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let at = lab.at();
    let (understood, _) = lab.speeches(way).await;
    for speech in understood.into_iter().take(1) {
        for (what, bytes) in samples::unusual(at) {
            let exchange = lab.ask(Call::raw(speech, Signal::Traces, what, bytes)).await;
            review.expect(&exchange, exchange.is_taken(), "success with nothing rejected: protobuf allows it");
        }
    }
    review
}
