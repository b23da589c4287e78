//! "Ask senders to sample more (or less)": how large a part of their traces the senders of a service should keep.
//!
//! OTLP has no word for it; Jaeger's remote sampling has, and OpenTelemetry's SDKs (`JaegerRemoteSampler`) and
//! the Collector (`jaegerremotesampling`) ask by it:
//! `GET /sampling?service=NAME` on the HTTP receiver answers with a probabilistic strategy.

use geophone_proto::UnixNanos;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where senders ask.
pub(crate) const PATH: &str = "/sampling";
/// Of all others everything is wanted.
const ALL: f64 = 1.0;

/// Services whose senders are asked to keep another part of their traces. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sampling(Arc<Mutex<BTreeMap<String, Part>>>);

#[derive(Clone, Copy, Debug)]
struct Part {
    ratio: f64,
    until: UnixNanos,
}

impl Sampling {
    /// Asks the senders of `service` to keep `ratio` (0 to 1) of their traces until `until`; they learn of it when
    /// they ask next. A time that is over takes it back.
    pub fn keep(&self, service: &str, ratio: f64, until: UnixNanos) {
        self.lock().insert(service.into(), Part { ratio: ratio.clamp(0.0, ALL), until });
    }

    /// The answer to a sender, in Jaeger's words.
    pub(crate) fn strategy(&self, service: &str, now: UnixNanos) -> Value {
        let mut parts = self.lock();
        parts.retain(|_, part| part.until > now);
        let ratio = parts.get(service).map_or(ALL, |part| part.ratio);
        json!({"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": ratio}})
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        // The map stays whole whatever panics: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service that a query such as `service=cart%20api&x=1` names; `None` without one.
pub(crate) fn service_of(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, name)| key == "service" && !name.is_empty()).map(|(_, name)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_until_its_time_is_over_and_for_its_service_only() {
        let sampling = Sampling::default();
        sampling.keep("cart", 0.25, UnixNanos(10));
        let rate = |service, now| sampling.strategy(service, UnixNanos(now))["probabilisticSampling"]["samplingRate"].as_f64();
        assert_eq!([rate("cart", 9), rate("payment", 9), rate("cart", 10)], [Some(0.25), Some(1.0), Some(1.0)]);
    }

    #[test]
    fn names_are_read_as_browsers_write_them() {
        assert_eq!(service_of("a=b&service=cart%20api+2").as_deref(), Some("cart api 2"));
        assert_eq!([service_of(""), service_of("service="), service_of("Service=cart")], [None, None, None]);
    }
}
