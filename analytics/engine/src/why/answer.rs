//! Puts the question of each new or worse anomaly to the rows that are kept, and to the detector.

use super::{
    compare::{Question, carriers},
    gallery::{Sides, Subject},
};
use crate::{
    Brain,
    flag::Flag,
    observe::{Observer, source::Body},
};
use geophone_proto::{UnixNanos, anomaly::AttributeShare, series::SeriesKind};

/// Flags of one window that are explained, those that deviate most first.
const FLAGS_MAX: usize = 48;
/// The newest windows of an anomaly that are looked at.
const WINDOWS_MAX: u64 = 6;
/// Rows of before below which a log template is held against all records of its service.
const OWN_MIN: usize = 20;
/// Rows taken of its other templates.
const OTHERS_MAX: usize = 600;

impl Brain {
    /// Fills in the attribute values that carry what the flags will show; how many flags were left out.
    pub(crate) fn find_carriers(&mut self, flags: &mut [Flag]) -> u64 {
        let names = &self.mind.names;
        let question_of = |flag: &Flag| names.get(flag.series as usize).and_then(|series| question(series.kind, flag));
        let mut wanted: Vec<(usize, Question)> = flags
            .iter()
            .enumerate()
            .filter(|(_, flag)| self.mind.correlator.shows(flag))
            .filter_map(|(at, flag)| Some((at, question_of(flag)?)))
            .collect();
        wanted.sort_by(|a, b| flags[b.0].z.abs().total_cmp(&flags[a.0].z.abs()).then(a.0.cmp(&b.0)));
        let left_out = wanted.len().saturating_sub(FLAGS_MAX);
        for (at, question) in wanted.into_iter().take(FLAGS_MAX) {
            let found = self.attributes_of(&flags[at], question);
            flags[at].attributes = found.unwrap_or_default();
        }
        left_out as u64
    }

    fn attributes_of(&mut self, flag: &Flag, question: Question) -> Option<Vec<AttributeShare>> {
        let found = carriers(&self.observer.gallery, question, self.observer.sides_of(flag, self.mind.correlator.since(flag))?);
        let left: Vec<(f64, f64)> = found.iter().map(|carrier| (carrier.left.evidence, carrier.left.excess)).collect();
        let scores = self.detector.without(flag.series, (flag.onset, flag.at), flag.z >= 0.0, &left)?;
        let told = found.into_iter().zip(scores).map(|(carrier, score)| AttributeShare {
            key: carrier.key,
            value: carrier.value,
            source: carrier.source,
            share: carrier.share,
            baseline_share: carrier.baseline_share,
            // Leaving rows out cannot make it worse, the noise of a sample can.
            score_without: f64::from(score.min(flag.score)),
            outcome: carrier.outcome,
        });
        Some(told.collect())
    }
}

/// What to ask of the rows; `None` for series without rows, and where better than usual is no harm.
fn question(kind: SeriesKind, flag: &Flag) -> Option<Question> {
    let up = flag.z >= 0.0;
    match kind {
        SeriesKind::RequestRate | SeriesKind::LogRate => {
            let ratio = flag.actual / flag.expected.max(1e-9);
            (ratio.is_finite() && (ratio > 1.0) == up).then_some(Question::Rate { ratio })
        }
        SeriesKind::ErrorRatio if up => Some(Question::Errors),
        SeriesKind::DurationP50 | SeriesKind::ExclusiveTime => Some(Question::Duration { q: if up { 0.75 } else { 0.25 }, up, mean: true }),
        SeriesKind::DurationP95 if up => Some(Question::Duration { q: 0.95, up, mean: false }),
        SeriesKind::DurationP99 if up => Some(Question::Duration { q: 0.99, up, mean: false }),
        _ => None,
    }
}

impl Observer {
    /// The rows of a flag's anomaly and those of before it.
    fn sides_of(&self, flag: &Flag, (started_at, opened_at): (UnixNanos, UnixNanos)) -> Option<Sides<'_>> {
        let (number, source) = self.source_of(flag.series)?;
        let to = self.window_of(flag.at.0.saturating_sub(1));
        // The change point may lie in old drift: what is odd now begins shortly before the opening.
        let opened = self.window_of(opened_at.0.saturating_sub(1));
        let onset = self.window_of(started_at.0).max((opened + 1).saturating_sub(WINDOWS_MAX)).min(to);
        let from = onset.max((to + 1).saturating_sub(WINDOWS_MAX));
        let subject = match source.body {
            #[allow(clippy::cast_possible_truncation, reason = "operations are numbered in 32 bits")]
            Body::Requests(_) | Body::Exclusive(_) => Subject::Operation(source.made_for as u32),
            Body::Log(_) => Subject::Log(number),
            Body::Edge(_) | Body::Metric(_) => return None,
        };
        let mut sides = self.gallery.sides(subject, onset, (from, to));
        if matches!(subject, Subject::Log(_)) && sides.baseline.len() < OWN_MIN {
            for other in self.logs_of(source.service).filter(|other| *other != number) {
                if sides.baseline.len() >= OTHERS_MAX {
                    break;
                }
                sides.baseline.extend(self.gallery.sides(Subject::Log(other), onset, (from, to)).baseline);
            }
        }
        Some(sides)
    }
}
