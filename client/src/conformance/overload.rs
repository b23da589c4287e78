//! Rules of overload: OTLP-31, 35. Many requests are held open just before their end, so that a server with a
//! bound on what it holds must say no to some; then all are let go.

use super::{
    call::{Call, Speech},
    finding::Review,
    http1, http2,
    lab::{Exchange, Lab, Way},
    samples,
};
use geophone_proto::Signal;
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests held open at once where bytes shall fill the server.
const LARGE_BYTES_MAX: usize = 16 << 20;
/// Longest wait for all of them to stand before their end.
const GATHER_MAX: Duration = Duration::from_secs(5);

/// The requests that fill a server.
fn load(lab: &Lab, speech: Speech) -> Vec<Call> {
    let (at, bytes) = (lab.at(), lab.target.overload_bytes);
    if bytes == 0 {
        let requests = lab.target.requests_at_once;
        let call = |number: u64| {
            // Each with times and ids of its own: none is a repetition.
            let mut call = Call::clean(speech, Signal::Traces, at + 1_000 * (number + 1));
            call.what = format!("one of {requests} requests at once");
            call
        };
        return (0..requests).map(call).collect();
    }
    let size = LARGE_BYTES_MAX.min(lab.target.request_bytes_max / 2).max(1);
    let count = bytes.div_ceil(size);
    let what = format!("one of {count} requests of {size} bytes at once");
    vec![Call::raw(speech, Signal::Traces, what, samples::padded(speech, at, size)); count]
}

/// Holds all calls open at once, then lets them go; gives the answers.
async fn flood(lab: &mut Lab, way: Way) -> Vec<Exchange> {
    let speech = if way == Way::Grpc { Speech::Grpc } else { Speech::Protobuf };
    let calls = load(lab, speech);
    let gate = http2::Gate::new();
    let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
    let mut tasks = JoinSet::new();
    let line = match (way, &lab.target.grpc) {
        (Way::Grpc, Some(place)) => http2::dial(&lab.target, place).await.ok(),
        _ => None,
    };
    for call in calls {
        let (target, gate, line, finished) = (lab.target.clone(), gate.clone(), line.clone(), gate.waiting.clone());
        tasks.spawn(async move {
            let work = async {
                match (line, &target.grpc) {
                    (Some(mut line), Some(place)) => {
                        let request = http2::request(&target, place, &call, Some(gate))?;
                        let response = line.send_request(request).await.map_err(|error| error.to_string())?;
                        http2::read(response).await
                    }
                    _ => http1::exchange(&target, &call, Some(gate)).await,
                }
            };
            let got = tokio::time::timeout(target.timeout, work).await;
            let got = got.unwrap_or_else(|_| Err(format!("nothing within {:?}", target.timeout)));
            // Who was refused early is not waited for.
            finished.add_permits(1);
            Exchange { call, got }
        });
    }
    // Those that queue behind a cap on streams never come to their end.
    let all = tokio::time::timeout(GATHER_MAX.min(lab.target.timeout / 4), gate.waiting.acquire_many(count)).await;
    drop(all);
    gate.open.close();
    let mut answers = Vec::new();
    while let Some(done) = tasks.join_next().await {
        answers.extend(done.ok());
    }
    answers
}

fn refused(answers: Vec<Exchange>, review: &mut Review) -> Vec<Exchange> {
    let what = answers.first().map(|exchange| exchange.call.what.clone()).unwrap_or_default();
    review.skip(format!("sent {what}, none was refused; --overload SIZE fills the server with so many bytes"));
    answers.into_iter().filter(Exchange::is_refused).collect()
}

/// OTLP-31: overload is UNAVAILABLE, and the delay is one.
pub(crate) async fn grpc(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let answers = flood(lab, way).await;
    for exchange in refused(answers, &mut review) {
        let reply = exchange.got.as_ref().ok();
        let refusal = reply.and_then(|reply| reply.refusal(Speech::Grpc).ok()).unwrap_or_default();
        let is_delay = refusal.retry.as_ref().is_none_or(|retry| retry.delay().is_some());
        let is_right = refusal.code == 14 || (refusal.code == 8 && refusal.retry.is_some());
        review.expect(&exchange, is_right && is_delay, "14 UNAVAILABLE, with a delay in RetryInfo if it has one");
    }
    review
}

/// OTLP-35: overload is 429 or 503, and `Retry-After` is seconds or a date.
pub(crate) async fn http(lab: &mut Lab, way: Way) -> Review {
    let mut review = Review::default();
    let answers = flood(lab, way).await;
    for exchange in refused(answers, &mut review) {
        let reply = exchange.got.as_ref().ok();
        let after = reply.and_then(|reply| reply.field("retry-after"));
        let is_right = reply.is_some_and(|reply| matches!(reply.status, 429 | 503)) && after.is_none_or(is_delay);
        review.expect(&exchange, is_right, "429 or 503, with Retry-After in seconds or as a date if it has one");
    }
    review
}

/// Seconds, or a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_delay(text: &str) -> bool {
    let text = text.trim();
    let is_date = || {
        let parts: Vec<&str> = text.split(' ').collect();
        matches!(parts[..], [day, _, _, year, time, "GMT"] if day.ends_with(',') && year.len() == 4 && time.split(':').count() == 3)
    };
    text.parse::<u64>().is_ok() || is_date()
}

#[cfg(test)]
mod tests {
    #[test]
    fn delays_are_seconds_or_dates() {
        for (text, is) in
            [("0", true), ("30", true), ("Sun, 06 Nov 1994 08:49:37 GMT", true), ("-1", false), ("1.5", false), ("soon", false)]
        {
            assert_eq!(super::is_delay(text), is, "{text}");
        }
    }
}
