//! A few spans of a window worth a look. Which ones does not depend on their order of arrival.

use geophone_proto::{anomaly::Exemplar, stacks::WantedSpan};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Slowest spans kept.
const SLOW_MAX: usize = 2;

/// The slowest, the slowest failed, and one normal span.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picks {
    /// Slowest first.
    pub slow: Vec<WantedSpan>,
    /// Slowest of the failed.
    pub failed: Option<WantedSpan>,
    /// Any other, chosen by hash.
    pub normal: Option<WantedSpan>,
}

/// Spans of a series to ask stacks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanSamples {
    /// `service.name`.
    pub service: String,
    /// Slow and failed spans of the last windows, slowest first.
    pub flagged: Vec<WantedSpan>,
    /// Normal spans of earlier windows.
    pub baseline: Vec<WantedSpan>,
}

/// Slower comes first; ids settle a tie.
pub fn by_slowness(a: &WantedSpan, b: &WantedSpan) -> Ordering {
    let slower = b.end.since(b.start).cmp(&a.end.since(a.start));
    slower.then_with(|| (a.trace_id, a.span_id).cmp(&(b.trace_id, b.span_id)))
}

fn lot(span: &WantedSpan) -> u64 {
    u64::from_le_bytes(span.span_id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Picks {
    /// Looks at one span. Copies it only if it is picked.
    pub fn look(&mut self, span: &WantedSpan, failed: bool) {
        if self.slow.len() < SLOW_MAX || self.slow.last().is_some_and(|last| by_slowness(span, last).is_lt()) {
            let at = self.slow.partition_point(|other| by_slowness(other, span).is_le());
            self.slow.insert(at, span.clone());
            self.slow.truncate(SLOW_MAX);
        }
        if failed {
            if self.failed.as_ref().is_none_or(|other| by_slowness(span, other).is_lt()) {
                self.failed = Some(span.clone());
            }
        } else if self.normal.as_ref().is_none_or(|other| (lot(span), span.span_id) < (lot(other), other.span_id)) {
            self.normal = Some(span.clone());
        }
    }

    /// Failed first where `failed_first`, then the slowest; at most three.
    pub fn exemplars(&self, failed_first: bool) -> Vec<Exemplar> {
        let failed = self.failed.iter().filter(|_| failed_first);
        let mut exemplars: Vec<Exemplar> = Vec::with_capacity(SLOW_MAX + 1);
        for span in failed.chain(&self.slow) {
            let exemplar = Exemplar { trace_id: span.trace_id, span_id: span.span_id };
            if !exemplars.contains(&exemplar) {
                exemplars.push(exemplar);
            }
        }
        exemplars
    }
}
