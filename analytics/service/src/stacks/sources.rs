//! Who is asked for stacks of flagged spans: our own recorder or a recorded session, and the profiles that others
//! sent. Never both in one answer, which would count time twice: the surer link answers.

use super::{sent::Sent, whereabouts::Whereabouts};
use geophone_profiler_ebpf::{
    Archive, ReplaySource, Sample,
    attach::{attach, belonging},
};
use geophone_proto::{
    Tenant,
    seam::{Clock, SeamError, StackSource},
    stacks::{LinkClass, StackAnswer, StackRequest},
};
use geophone_store::Store;
use std::{borrow::Cow, cmp::Reverse, sync::Arc};

/// Our own samples.
pub enum Own {
    /// None: no privileges, or not wanted.
    Nobody,
    /// The kernel's recorder.
    Recorder(Arc<Archive>, Arc<dyn Clock>),
    /// A recorded session.
    Session(ReplaySource),
}

/// See the module.
pub struct Sources {
    own: Own,
    sent: Sent,
    store: Arc<Store>,
}

/// An answer, and our own samples that belong to its spans.
#[derive(Debug)]
pub struct Found {
    /// For the brain.
    pub answer: StackAnswer,
    /// Of flagged and of normal spans; empty where others answered.
    pub own: Vec<Sample>,
    /// Whose spans they are.
    pub tenant: Tenant,
}

/// How good an answer is, the best first: a sure link, many spans.
pub fn rank(answer: &StackAnswer) -> (bool, Option<LinkClass>, Reverse<u64>) {
    let stacks = answer.stacks.as_ref();
    (stacks.is_none(), stacks.map(|stacks| stacks.link), Reverse(stacks.map_or(0, |stacks| stacks.spans)))
}

impl Sources {
    /// Asks these.
    pub const fn new(own: Own, sent: Sent, store: Arc<Store>) -> Self {
        Self { own, sent, store }
    }

    /// Whether anybody can answer at all.
    pub fn has_any(&mut self) -> bool {
        !matches!(self.own, Own::Nobody) || self.sent.has_any()
    }

    /// Whether a later question may find more: others send their profiles after a while.
    pub fn may_grow(&mut self) -> bool {
        self.sent.has_any()
    }

    /// The best answer there is now.
    pub fn find(&mut self, request: &StackRequest) -> Found {
        let whereabouts = Whereabouts::of(&self.store, request);
        let request = StackRequest { places: whereabouts.places.clone(), ..request.clone() };
        let samples = match &self.own {
            Own::Nobody => Cow::default(),
            Own::Recorder(archive, clock) => archive.evidence(&request, clock.now()).into(),
            Own::Session(session) => session.samples().into(),
        };
        let tenant = whereabouts.tenant.as_deref().map_or_else(Tenant::default, |name| Tenant(name.into()));
        let own = attach(&request, &samples);
        if rank(&own).1 != Some(LinkClass::Span) && self.sent.has_any() {
            let sent = attach(&request, &self.sent.samples(&request, &whereabouts));
            if rank(&sent) < rank(&own) {
                return Found { answer: sent, own: Vec::new(), tenant };
            }
        }
        let belonging = own.stacks.as_ref().map_or_else(Vec::new, |stacks| belonging(&request, &samples, stacks.link));
        Found { answer: own, own: belonging, tenant }
    }
}

impl StackSource for Sources {
    fn stacks(&mut self, request: &StackRequest) -> Result<StackAnswer, SeamError> {
        Ok(self.find(request).answer)
    }
}
