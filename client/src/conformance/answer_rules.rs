//! Rules about what a server says after it has taken something: OTLP-05, 20, 22, 23, 24.

use super::{
    call::{Call, Speech},
    finding::Review,
    lab::{Exchange, Lab, SIGNALS, Way},
    reply::Partial,
    samples,
    target::RESPONSE_BYTES,
};

/// A name that fills an answer which repeats it.
const LONG_NAME_BYTES: usize = 5 << 20;

/// OTLP-05: no answer is too large.
pub(crate) async fn response_limit(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    let bytes = LONG_NAME_BYTES.min(lab.target.request_bytes_max / 2);
    let mut asked = Vec::new();
    for speech in understood {
        let what = format!("a span without trace id whose name has {bytes} bytes");
        let exchange = lab.ask(Call::export(speech, what, &samples::long_name(at, bytes))).await;
        asked.push((exchange.call.what.clone(), speech));
        let fits = exchange.got.as_ref().is_ok_and(|reply| reply.plain_body().len() <= RESPONSE_BYTES);
        review.expect(&exchange, fits, "an answer of at most 4 MiB");
    }
    let too_large = |exchange: &&Exchange| {
        let is_asked = asked.iter().any(|(what, speech)| *what == exchange.call.what && *speech == exchange.call.speech);
        let is_large = exchange.got.as_ref().is_ok_and(|reply| reply.plain_body().len() > RESPONSE_BYTES);
        exchange.is_of(way) && is_large && !is_asked
    };
    if let Some(exchange) = lab.seen.iter().find(too_large) {
        review.expect(exchange, false, "an answer of at most 4 MiB");
    }
    review
}

/// OTLP-20: after full success `partial_success` is unset.
pub(crate) async fn full_success(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, left_out) = lab.speeches(way).await;
    for speech in understood {
        for signal in SIGNALS {
            let exchange = lab.clean(speech, signal).await;
            if exchange.is_unknown() {
                review.remark(format!("{} left out: the endpoint does not take them", signal.as_str()));
                continue;
            }
            let is_full = exchange.is_ok() && exchange.partial() == Ok(None);
            review.expect(&exchange, is_full, "success with partial_success unset");
        }
    }
    left_out.into_iter().for_each(|speech| review.left_out(speech));
    review
}

/// The answers to requests with one odd row.
async fn odd(lab: &mut Lab, way: Way) -> Vec<Exchange> {
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    let mut answers = Vec::new();
    for speech in understood {
        for (what, request) in samples::odd(at) {
            if lab.clean(speech, request.signal()).await.is_unknown() {
                continue;
            }
            answers.push(lab.ask(Call::export(speech, what, &request)).await);
        }
    }
    answers
}

/// OTLP-22: what is refused in part is counted and explained, and its neighbours are taken.
pub(crate) async fn partial_success(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let mut taken = Vec::new();
    for exchange in odd(lab, way).await {
        match exchange.partial() {
            Ok(Some(Partial { rejected, message })) if exchange.is_ok() && rejected != 0 => {
                review.expect(&exchange, rejected == 1 && !message.is_empty(), "1 rejected, and an error_message that says why");
            }
            Ok(_) if exchange.is_ok() => {
                if !taken.contains(&exchange.call.what) {
                    taken.push(exchange.call.what);
                }
            }
            _ => review.expect(&exchange, false, "success with 1 rejected: one odd row must not sink its neighbours"),
        }
    }
    if !taken.is_empty() {
        review.skip(format!("the endpoint takes every odd row as good: {}", taken.join("; ")));
    }
    review
}

/// OTLP-23: a warning has a count of 0 and a text.
pub(crate) async fn warnings(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let (understood, _) = lab.speeches(way).await;
    let at = lab.at();
    let mut answers = odd(lab, way).await;
    for speech in understood {
        let unset = lab.clean(speech, geophone_proto::Signal::Traces).await.partial() == Ok(None);
        if !unset {
            review.skip("partial_success is set after every request (see OTLP-20), so no warning can be told from it");
            answers.retain(|exchange| exchange.call.speech != speech);
            continue;
        }
        for (what, request) in samples::remarkable(at) {
            answers.push(lab.ask(Call::export(speech, what, &request)).await);
        }
        // In JSON names tell the forms apart.
        if speech != Speech::Json {
            let (what, body) = samples::profile_of_old(at);
            answers.push(lab.ask(Call::raw(speech, geophone_proto::Signal::Profiles, what, body)).await);
        }
    }
    for exchange in answers {
        let Ok(Some(Partial { rejected, message })) = exchange.partial() else { continue };
        if exchange.is_ok() && rejected <= 0 {
            review.expect(&exchange, rejected == 0 && !message.is_empty(), "a rejected count of 0 with an error_message");
        }
    }
    review.skip("the endpoint gave no warning");
    review
}

/// OTLP-24: a partial success is final, so it must not stand for a passing trouble.
pub(crate) async fn final_rejection(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    for first in odd(lab, way).await {
        let count = |exchange: &Exchange| exchange.partial().ok().flatten().map_or(0, |partial| partial.rejected);
        if !first.is_ok() || count(&first) == 0 {
            continue;
        }
        let mut again = first.call.clone();
        again.what.push_str(", once more");
        let second = lab.ask(again).await;
        let want = format!("the same count of {} as the first time: clients never send rejected rows again", count(&first));
        review.expect(&second, second.is_ok() && count(&second) == count(&first), &want);
    }
    let clean: Vec<Speech> = lab.speeches(way).await.0;
    for speech in clean {
        let exchange = lab.clean(speech, geophone_proto::Signal::Traces).await;
        // A valid row that is rejected is the matter of OTLP-20.
        if exchange.is_taken() {
            review.remark(format!("valid rows are not rejected in part ({})", speech.name()));
        }
    }
    review.skip("the endpoint rejected nothing in part, so there is nothing to repeat");
    review
}
