//! Sends calls and keeps what came back, so that no question is asked twice and rules about all answers can
//! look at all of them.

use super::{
    call::{Call, Speech},
    http1, http2,
    reply::{Partial, Reply},
    target::{Place, Target, TargetError},
};
use geophone_proto::Signal;

/// The signals that every server of OTLP takes.
pub(crate) const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

/// The two ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Grpc,
    Http,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    /// What TLS calls the protocol below.
    const fn protocol(self) -> &'static str {
        match self {
            Self::Grpc => "h2",
            Self::Http => "http/1.1",
        }
    }

    /// As people write it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        }
    }

    const fn speeches(self) -> &'static [Speech] {
        match self {
            Self::Grpc => &[Speech::Grpc],
            Self::Http => &[Speech::Protobuf, Speech::Json],
        }
    }
}

/// One call and what came back.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) call: Call,
    pub(crate) got: Result<Reply, String>,
}

impl Exchange {
    /// Whether the answer is there and says that all or part was taken.
    pub(crate) fn is_ok(&self) -> bool {
        self.got.as_ref().is_ok_and(|reply| reply.is_ok(self.call.speech))
    }

    /// Whether all was taken.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_ok() && self.partial().is_ok_and(|partial| partial.is_none_or(|partial| partial.rejected == 0))
    }

    /// Whether the answer is there and says no.
    pub(crate) fn is_refused(&self) -> bool {
        self.got.as_ref().is_ok_and(|reply| !reply.is_ok(self.call.speech))
    }

    /// Whether the answer says no for good.
    pub(crate) fn is_refused_for_good(&self) -> bool {
        self.is_refused() && self.got.as_ref().is_ok_and(|reply| !reply.is_retryable(self.call.speech))
    }

    /// Whether nothing or not all was taken, for good.
    pub(crate) fn is_turned_down(&self) -> bool {
        self.is_refused_for_good() || self.is_ok() && !self.is_taken()
    }

    /// Whether the server does not know the path.
    pub(crate) fn is_unknown(&self) -> bool {
        self.got.as_ref().is_ok_and(|reply| reply.is_unknown(self.call.speech))
    }

    /// Whether it went this way.
    pub(crate) fn is_of(&self, way: Way) -> bool {
        (self.call.speech == Speech::Grpc) == (way == Way::Grpc)
    }

    /// `partial_success` of an answer that is there.
    pub(crate) fn partial(&self) -> Result<Option<Partial>, String> {
        match &self.got {
            Ok(reply) => reply.partial(self.call.speech),
            Err(why) => Err(why.clone()),
        }
    }

    /// `sent ..., got ...`.
    pub(crate) fn shown(&self) -> String {
        let Call { what, speech, method, .. } = &self.call;
        let how = if *method == "POST" { speech.name().to_owned() } else { format!("{method}, {}", speech.name()) };
        match &self.got {
            Ok(reply) => format!("sent {what} ({how}), got {}", reply.shown(*speech)),
            Err(why) => format!("sent {what} ({how}), got no answer: {why}"),
        }
    }
}

/// The server under test and all that it has said.
pub(crate) struct Lab {
    pub(crate) target: Target,
    pub(crate) seen: Vec<Exchange>,
}

impl Lab {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, seen: Vec::new() }
    }

    pub(crate) const fn place(&self, way: Way) -> Option<&Place> {
        match way {
            Way::Grpc => self.target.grpc.as_ref(),
            Way::Http => self.target.http.as_ref(),
        }
    }

    /// Time of rows.
    pub(crate) const fn at(&self) -> u64 {
        self.target.at.0
    }

    /// Sends a call, whatever was sent before.
    pub(crate) async fn send(&mut self, call: Call) -> Exchange {
        let work = async {
            if call.speech == Speech::Grpc {
                http2::exchange(&self.target, &call).await
            } else {
                http1::exchange(&self.target, &call, None).await
            }
        };
        let got = tokio::time::timeout(self.target.timeout, work).await;
        let got = got.unwrap_or_else(|_| Err(format!("nothing within {:?}", self.target.timeout)));
        let exchange = Exchange { call, got };
        self.seen.push(exchange.clone());
        exchange
    }

    /// Sends a call unless the same was sent before.
    pub(crate) async fn ask(&mut self, call: Call) -> Exchange {
        let same = |seen: &&Exchange| seen.call.what == call.what && seen.call.speech == call.speech && seen.call.path == call.path;
        match self.seen.iter().find(same) {
            Some(seen) => seen.clone(),
            None => self.send(call).await,
        }
    }

    /// A clean request of this signal.
    pub(crate) async fn clean(&mut self, speech: Speech, signal: Signal) -> Exchange {
        let at = self.at();
        self.ask(Call::clean(speech, signal, at)).await
    }

    /// The ways of writing that the server understands. One that it does not is the matter of one rule
    /// (OTLP-11) and of no other.
    pub(crate) async fn speeches(&mut self, way: Way) -> (Vec<Speech>, Vec<Speech>) {
        let (mut understood, mut left_out) = (Vec::new(), Vec::new());
        for speech in way.speeches() {
            let taken = *speech != Speech::Json || !self.clean(*speech, Signal::Traces).await.is_refused_for_good();
            if taken { understood.push(*speech) } else { left_out.push(*speech) }
        }
        (understood, left_out)
    }

    /// Whether compressed requests are understood: the matter of OTLP-01 and of no other rule.
    pub(crate) async fn takes_gzip(&mut self, speech: Speech) -> bool {
        let at = self.at();
        self.ask(Call::clean(speech, Signal::Traces, at).gzip()).await.is_ok()
    }

    /// Makes sure that somebody is there. A transport that is only guessed to be there is left out where it
    /// is not, with the reason.
    pub(crate) async fn settle(&mut self) -> Result<Vec<(Way, String)>, TargetError> {
        let mut absent = Vec::new();
        for way in [Way::Grpc, Way::Http] {
            let Some(place) = self.place(way).cloned() else { continue };
            let connected = tokio::time::timeout(self.target.timeout, http1::connect(&self.target, &place, way.protocol())).await;
            let connected = connected.unwrap_or_else(|_| Err(format!("nothing within {:?}", self.target.timeout)));
            match connected {
                Ok(_) if !self.target.is_guessed || self.speaks(way).await => {}
                Ok(_) => absent.push((way, format!("{} is not spoken at {}", way.title(), place.authority()))),
                Err(why) if !self.target.is_guessed || (way == Way::Http && !absent.is_empty()) => {
                    return Err(TargetError::Unreachable { place: place.authority(), why });
                }
                Err(why) => absent.push((way, format!("nothing answers at {}: {why}", place.authority()))),
            }
        }
        for (way, _) in &absent {
            let place = if *way == Way::Grpc { self.target.grpc.take() } else { self.target.http.take() };
            if let (None, None, Some(place)) = (&self.target.grpc, &self.target.http, place) {
                return Err(TargetError::Unreachable { place: place.authority(), why: "neither gRPC nor HTTP is spoken there".into() });
            }
        }
        Ok(absent)
    }

    /// Whether an answer to a clean request is one of this transport.
    async fn speaks(&mut self, way: Way) -> bool {
        let speech = if way == Way::Grpc { Speech::Grpc } else { Speech::Protobuf };
        let exchange = self.clean(speech, Signal::Traces).await;
        let Ok(reply) = exchange.got else { return false };
        if way == Way::Grpc { reply.grpc_status().is_some() } else { !matches!(reply.status, 404 | 405 | 415 | 426) }
    }
}
