//! What of a window counts as a lasting sign, for openings under the budget: softer than the gate's
//! conditions, as many weak windows may say what no single one does, but never on a handful of events.
//!
//! Called by the detector for every scored row; `correlate::weight` turns heat into strength.

use crate::{
    correlate::may_harm,
    features::{law::Reference, ring::Span},
    flag::Flag,
    window::StatKind,
};
use geophone_proto::series::Series;

/// Below this nobody hears of it.
pub(super) const HEARD: f64 = 0.3;
/// Candidates a window.
const CANDIDATES_MAX: usize = 32;
/// Events, trials or samples under which nothing opens by itself: 0.008 requests a second never do.
const EVENTS_MIN: f64 = 10.0;
/// Hits of a share under which it says nothing.
const HITS_MIN: f64 = 3.0;
/// Windows until a series counts fully: half of that at its first score.
const GROWN: f64 = 60.0;

/// A series that stands out in this window.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Without contributions and exemplars.
    pub flag: Flag,
    /// Mean level of the last windows, as far as they are a sign.
    pub heat: f64,
}

/// Whether a series that goes up, or down, may harm anybody.
pub(super) fn harms(series: &Series) -> [bool; 2] {
    [true, false].map(|up| may_harm(series, up))
}

/// How much of this window's level counts, 0 to 1. `over` = the deciding span, `live` and `recent` =
/// deviations of the newest windows from the expectation and from the recent past, towards the same side.
pub(super) fn part(kind: StatKind, (over, known): (Span, Reference), (live, recent): (f64, f64), age: f64) -> f64 {
    let is_enough = match kind {
        StatKind::Count => over.stat.s1.max(over.present * known.centre) >= EVENTS_MIN,
        StatKind::Share => over.stat.n >= EVENTS_MIN && over.stat.s1.max(over.stat.n * known.centre) >= HITS_MIN,
        StatKind::LogMean => over.stat.n >= EVENTS_MIN,
        StatKind::Level => over.present >= 1.0,
    };
    if !is_enough {
        return 0.0;
    }
    let (live, recent) = (live.clamp(0.0, 1.0), (recent / 2.5).clamp(0.0, 1.0));
    live * recent * (0.5 + 0.5 * (age / GROWN).min(1.0))
}

/// Keeps the hottest, hottest first; rows settle a tie. `heat` = heat and row.
pub(super) fn keep_hottest<T>(hot: &mut Vec<T>, heat: impl Fn(&T) -> (f64, usize)) {
    hot.sort_by(|a, b| {
        let (a, b) = (heat(a), heat(b));
        b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
    });
    hot.truncate(CANDIDATES_MAX);
}
