//! Models that come and go while the brain runs: nothing is scored twice or not at all, and a bad one
//! is asked to go.

use super::*;
use crate::{
    Settings,
    brain::tests::{log, run},
    detect::baseline::LargestDeviation,
};
use geophone_proto::{
    Class, Record, RecordBody, Seq, SeriesKey, UnixNanos,
    effect::ScoredWindow,
    feature::FeatureFrame,
    model::{ModelCard, Role},
    seam::SeamError,
};
use std::collections::{BTreeMap, BTreeSet};

/// The baseline with its scores changed, under another name.
struct Changed {
    card: ModelCard,
    change: fn(f32, usize) -> f32,
}

impl Model for Changed {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        LargestDeviation::default().score(frame, scores)?;
        for (row, score) in scores.iter_mut().enumerate() {
            *score = (self.change)(*score, row);
        }
        if scores.contains(&f32::MIN) {
            return Err(SeamError { class: Class::Bug, message: "always".into() });
        }
        Ok(())
    }
}

fn model(name: &str, change: fn(f32, usize) -> f32) -> Box<dyn Model> {
    let card = ModelCard { name: name.into(), ..LargestDeviation::default().card().clone() };
    Box::new(Changed { card, change })
}

fn called(name: &str) -> ModelRef {
    model(name, |score, _| score).card().model_ref()
}

fn step(step: ModelStep) -> Record {
    Record { at: UnixNanos(0), body: RecordBody::Model(step) }
}

fn brain() -> Brain {
    Brain::new(Settings::default(), model("old", |score, _| score))
}

fn windows(effects: &[Effect]) -> Vec<&ScoredWindow> {
    fn window(effect: &Effect) -> Option<&ScoredWindow> {
        if let Effect::Window(window) = effect { Some(window) } else { None }
    }
    effects.iter().filter_map(window).collect()
}

/// Who spoke for each row last, by window and series; checks that no row has two speakers.
fn speakers(effects: &[Effect]) -> BTreeMap<(UnixNanos, SeriesKey), (String, Role)> {
    let mut spoken = BTreeMap::new();
    for window in windows(effects) {
        let mut taken = BTreeSet::new();
        for part in window.parts.iter().filter(|part| part.role != Role::Shadow) {
            assert!(part.rows.iter().all(|row| taken.insert(*row)), "two speakers");
            assert!(part.raw.is_empty());
        }
        for (row, key) in window.features.keys.iter().enumerate() {
            let (model, role) = window.speaker(row);
            spoken.insert((window.features.at, *key), (model.name.clone(), role));
        }
    }
    spoken
}

fn wishes(effects: &[Effect]) -> Vec<(String, String)> {
    let wish = |effect: &Effect| {
        if let Effect::WantRollback { model, reason } = effect { Some((model.name.clone(), reason.clone())) } else { None }
    };
    effects.iter().filter_map(wish).collect()
}

// Scenario: a model on another scale is a shadow, a canary, promoted, rolled back; the state goes through
// bytes in the middle of each.
// Guarantees: one speaker a row; shadows are heard by nobody; the canary speaks for its share only; the
// restored brain says the same; after the rollback the old model speaks again.
#[test]
fn a_model_lives_through_all_its_steps() {
    let records = log(1_600);
    let (mut first, mut effects) = (brain(), Vec::new());
    let wanted = called("new");
    let change = |score: f32, _: usize| 1_000.0 * score - 7.0;
    let steps = [
        ModelStep::Shadow { model: wanted.clone() },
        ModelStep::Canary { model: wanted.clone(), percent: 50 },
        ModelStep::Promote { model: wanted.clone() },
        ModelStep::Rollback { model: wanted.clone(), reason: "enough".into() },
    ];
    for (place, part) in records.chunks(records.len() / 5).enumerate() {
        let from = effects.len();
        if let Some(record) = place.checked_sub(1).and_then(|place| steps.get(place)) {
            if first.wanted_by(record).is_some() {
                first.offer(model("new", change));
            }
            effects.extend(first.step(Seq(0), &step(record.clone())));
        }
        let mut second = Brain::restore(Settings::default(), model("old", |score, _| score), &first.snapshot()).expect("same settings");
        for missing in second.missing() {
            second.offer(if missing.name == "new" { model("new", change) } else { model("old", |score, _| score) });
        }
        let (said, again) = (run(&mut first, part, 1), run(&mut second, part, 1));
        assert_eq!(format!("{said:?}"), format!("{again:?}"), "part {place}");
        effects.extend(said);
        let heard: BTreeSet<(String, &str)> = speakers(&effects[from..]).into_values().map(|(name, role)| (name, role.as_str())).collect();
        let shadows = windows(&effects[from..]).iter().flat_map(|window| &window.parts).filter(|part| part.role == Role::Shadow).count();
        let expected: &[(&str, Role)] = match place {
            2 => &[("old", Role::Active), ("new", Role::Canary)],
            3 => &[("new", Role::Active)],
            _ => &[("old", Role::Active)],
        };
        assert_eq!(heard, expected.iter().map(|(name, role)| ((*name).to_owned(), role.as_str())).collect());
        assert_eq!(shadows > 0, place == 1, "part {place}");
    }
    assert!(speakers(&effects).len() > 1_000);
    let line_up = first.line_up();
    assert_eq!((line_up.active, line_up.before.len()), (called("old"), 0));
    assert_eq!(line_up.retired.last().map(|retired| &*retired.reason), Some("enough"));
    assert!(wishes(&effects).is_empty(), "{:?}", wishes(&effects));
}

// Scenario: after 700 s of calm a model is promoted that errs, gives NaN, ranks backwards, or knows one answer.
// Guarantees: rows it cannot score are scored by the baseline and counted; it is asked to go within 15
// windows and the old model speaks again; a good one is not.
#[test]
fn a_bad_model_is_asked_to_go() {
    for (name, change, why) in [
        ("errs", (|_, _| f32::MIN) as fn(f32, usize) -> f32, "failed"),
        ("nan", |score, row| if row % 3 == 0 { f32::NAN } else { score }, "failed"),
        ("backwards", |score, _| -score, "score drift"),
        ("constant", |_, _| 3.0, "score drift"),
        ("fine", |score, _| score.sqrt() * 5.0, ""),
    ] {
        let records = log(1_100);
        let (calm, rest) = records.split_at(records.len() * 700 / 1_100);
        let mut brain = brain();
        run(&mut brain, calm, 1);
        brain.offer(model(name, change));
        brain.step(Seq(0), &step(ModelStep::Promote { model: called(name) }));
        let mut effects = Vec::new();
        let mut left = rest.iter();
        while wishes(&effects).is_empty() {
            let Some(record) = left.next() else { break };
            effects.extend(brain.step(Seq(1), record));
        }
        let counted = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Count { name: "geophone_engine_model_fallbacks_total", by, .. } if *by > 0));
        assert_eq!(counted, why == "failed", "{name}");
        let taken = speakers(&effects).into_keys().map(|(at, _)| at).collect::<BTreeSet<_>>().len();
        if why.is_empty() {
            assert!(wishes(&effects).is_empty(), "{name}: {:?}", wishes(&effects));
            continue;
        }
        let (bad, reason) = wishes(&effects).into_iter().next().unwrap_or_default();
        assert!(bad == name && reason.contains(why) && taken <= 15, "{name}: {reason} after {taken}");
        brain.step(Seq(2), &step(ModelStep::Rollback { model: called(name), reason }));
        let after: Vec<Effect> = left.flat_map(|record| brain.step(Seq(3), record)).collect();
        assert!(wishes(&after).is_empty());
        let settled = windows(&after)[0].features.at.plus(90_000_000_000);
        let late: Vec<String> =
            speakers(&after).into_iter().filter(|((at, _), _)| *at > settled).map(|(_, (speaker, _))| speaker).collect();
        assert!(late.len() > 50 && late.iter().all(|speaker| speaker == "old"), "{name}");
    }
}

// Scenario: steps whose model is nowhere, is active already, or is in no trial.
// Guarantees: nothing changes, and it is counted.
#[test]
fn steps_that_cannot_be_taken_change_nothing() {
    let mut brain = brain();
    let before = brain.line_up();
    for wrong in [
        ModelStep::Promote { model: called("ghost") },
        ModelStep::Shadow { model: called("old") },
        ModelStep::Rollback { model: called("ghost"), reason: String::new() },
        ModelStep::Rollback { model: called("old"), reason: String::new() },
    ] {
        let effects = brain.step(Seq(1), &step(wrong.clone()));
        assert!(
            effects.iter().any(|effect| matches!(effect, Effect::Count { name: "geophone_engine_model_steps_missed_total", .. })),
            "{wrong:?}"
        );
        assert_eq!(brain.line_up(), before);
    }
}
