//! What an incident says for itself: severity, title, one sentence. Called by `cluster`.

use super::{
    aspect::{Aspect, Harm},
    book::Live,
    phrase,
    suspects::Scene,
    weight::ratio_of,
};
use geophone_proto::incident::{Severity, Suspect};

/// Severity, title and verdict of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// Short name.
    pub title: String,
    /// One sentence with numbers.
    pub sentence: String,
}

/// Users feel it from here on: times slower, share lost, share failing more.
const SLOW: f64 = 2.0;
const LOST: f64 = 0.5;
const FAILING: f64 = 0.02;

/// How much an anomaly is felt by users.
fn severity_of(scene: &Scene<'_>, live: &Live) -> Severity {
    let map = scene.scales.map;
    let entry = map.is_entry(live.place.service)
        || live.place.caller.is_some_and(|caller| map.is_entry(caller) && !map.service(live.place.service).has_spans);
    let ratio = ratio_of(live);
    let added = live.anomaly.actual.unwrap_or(0.0) - live.anomaly.expected.unwrap_or(0.0);
    let felt = entry
        && match live.harm {
            Harm::Latency => ratio >= SLOW,
            Harm::Errors => added >= FAILING,
            Harm::Loss => 1.0 - ratio >= LOST,
            Harm::None | Harm::Hint | Harm::Saturation => false,
        };
    match live.harm {
        _ if felt => Severity::Critical,
        Harm::Latency | Harm::Errors | Harm::Loss | Harm::Saturation => Severity::Warning,
        Harm::Hint | Harm::None => Severity::Info,
    }
}

/// The anomaly that tells the story: what users feel most, and can be seen to be out of the ordinary.
fn lead<'a>(scene: &Scene<'_>, members: &[&'a Live]) -> Option<&'a Live> {
    let map = scene.scales.map;
    let rank = |live: &Live| {
        let span = matches!(live.harm, Harm::Latency | Harm::Errors | Harm::Loss);
        let entry = if span && map.is_entry(live.place.service) { 0.3 } else { 0.0 };
        let second_hand = live.place.caller.is_some() || live.place.aspect == Aspect::MetricDuration || live.place.outgoing;
        let plain = if phrase::is_within_band(live) { 0.4 } else { 0.0 };
        scene.scales.weigh(live) + entry - plain - if second_hand { 0.4 } else { 0.0 }
    };
    members.iter().copied().max_by(|a, b| rank(a).total_cmp(&rank(b)).then_with(|| b.anomaly.id.cmp(&a.anomaly.id)))
}

/// Puts a group into words.
pub fn verdict(scene: &Scene<'_>, members: &[&Live], suspects: &[Suspect]) -> Option<Verdict> {
    let lead = lead(scene, members)?;
    let severity = members.iter().map(|live| severity_of(scene, live)).max()?;
    let missing = members.iter().map(|live| 1.0 - scene.scales.weigh(live)).product::<f64>();
    let confidence = (1.0 - missing).clamp(0.01, 0.99);
    let series = &lead.anomaly.series;
    let what = phrase::what(series);
    let much = match lead.anomaly.actual.zip(lead.anomaly.expected) {
        Some((actual, expected)) => phrase::how_much(series.kind, actual, expected),
        None => "unusual".into(),
    };
    let first = suspects.first();
    let cause = first.filter(|suspect| suspect.service != series.service);
    let tail = cause.map(|suspect| format!(", cause {}", suspect.service)).unwrap_or_default();
    let title = phrase::short(&format!("{} {what} {much}{tail}", series.service), 120);
    let because = first.map_or_else(
        || "cause: not known".to_owned(),
        |suspect| {
            let proof = suspect.evidence.first().map_or("", String::as_str);
            let proofs = suspect.evidence.len();
            format!("cause: {} {proof} ({proofs} {})", suspect.service, if proofs == 1 { "proof" } else { "proofs" })
        },
    );
    let count = lead.anomaly.evidence_count;
    let unit = match lead.harm {
        Harm::Latency | Harm::Errors | Harm::Loss => "requests",
        Harm::None | Harm::Hint | Harm::Saturation => "readings",
    };
    let sentence = format!(
        "{} {} since {}; confidence {confidence:.2}, {count} {unit} of evidence; {because}",
        series.service,
        phrase::deviation(lead),
        phrase::clock(scene.since),
    );
    Some(Verdict { severity, title, sentence })
}
