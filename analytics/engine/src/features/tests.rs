//! The fold against the oracle, and what holds for every row.

use super::{
    columns::{Columns, Fresh},
    define::*,
    kernel,
    kernel::Trait,
    reference,
    ring::*,
};
use crate::window::{Stat, StatKind};
use proptest::prelude::*;

const KINDS: [StatKind; 4] = [StatKind::Count, StatKind::Share, StatKind::LogMean, StatKind::Level];

/// Folds all series at once and returns rows by series and window.
fn streamed(traits: &[Trait], histories: &[Vec<Stat>]) -> Vec<Vec<Vec<f32>>> {
    let (mut ring, mut columns) = (Ring::default(), Columns::default());
    columns.resize(traits.len());
    let mut out = vec![Vec::new(); traits.len()];
    for t in 0..histories[0].len() {
        let mut slot = Slot::empty(t as u64, traits.len());
        for (row, history) in histories.iter().enumerate() {
            slot.set(row, history[t], 0.0);
        }
        ring.slots.push_back(slot);
        if ring.slots.len() > LONG + SHORT {
            ring.slots.pop_front();
        }
        let mut fresh = Fresh::new(traits.len());
        kernel::fold((&mut columns, &mut fresh), (&ring, 0), ring.slots.len() - 1, traits);
        for (row, its) in traits.iter().enumerate() {
            let mut x = vec![0.0; WIDTH];
            kernel::write_row((&columns, &fresh), row, *its, None, &mut x);
            out[row].push(x);
        }
    }
    out
}

fn stat(kind: StatKind, n: u32, share: f64, level: f64) -> Stat {
    let n = f64::from(n);
    match kind {
        StatKind::Count => Stat { n, s1: n, s2: 0.0 },
        StatKind::Share => Stat { n, s1: (n * share).floor(), s2: 0.0 },
        StatKind::LogMean | StatKind::Level => Stat { n, s1: n * level, s2: n * (level * level + share) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Scenario: random sums of every kind, with gaps, jumps and zeros.
    // Guarantees: the streaming fold gives the same features as the definition run from the start.
    #[test]
    fn the_fold_equals_the_definition(
        raw in prop::collection::vec((0u32..9, 0.0f64..1.0, -3.0f64..3.0), 1..220),
        jump in 0usize..220,
        harmless in 0.2f64..1.0,
        lent in 0.01f64..9.0,
    ) {
        let prior = if lent < 3.0 { kernel::Prior::NONE } else { kernel::Prior { scales: [lent; 4], spread: lent / 10.0 } };
        let traits = KINDS.map(|kind| Trait { kind, born_ns: 0, up: 1.0, down: harmless, prior });
        let histories: Vec<Vec<Stat>> = KINDS
            .iter()
            .map(|&kind| {
                let at = |(t, &(n, share, level)): (usize, &(u32, f64, f64))| {
                    if t >= jump { stat(kind, n * 7, share, level + 9.0) } else { stat(kind, n, share * share, level) }
                };
                raw.iter().enumerate().map(at).collect()
            })
            .collect();
        let streamed = streamed(&traits, &histories);
        for ((its, history), rows) in traits.iter().zip(&histories).zip(streamed) {
            for (t, (wide, row)) in reference::rows(*its, history).iter().zip(rows).enumerate() {
                for ((a, b), feature) in wide.iter().zip(row).zip(FEATURES) {
                    let close = (a - f64::from(b)).abs() <= 1e-5 * (1.0 + a.abs());
                    prop_assert!(close, "{:?} window {t} {}: definition {a}, fold {b}", its.kind, feature.name);
                }
            }
        }
    }

    // Scenario: sums of any size, not finite ones included.
    // Guarantees: features are finite and bounded.
    #[test]
    fn features_are_bounded(raw in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 1..40)) {
        let traits = KINDS.map(|kind| Trait { kind, born_ns: 0, up: 1.0, down: 1.0, prior: kernel::Prior::NONE });
        let history: Vec<Stat> = raw.iter().map(|&(n, s1, s2)| Stat { n, s1, s2 }).collect();
        for rows in streamed(&traits, &vec![history; 4]) {
            prop_assert!(rows.iter().flatten().all(|x| x.is_finite() && f64::from(x.abs()) <= BOUND));
        }
    }
}

#[test]
fn names_are_unique_and_in_order() {
    let names: std::collections::BTreeSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
    assert_eq!(names.len(), WIDTH);
    assert_eq!(FEATURES[Z_18].name, "z_18");
    assert_eq!(FEATURES[IS_LEVEL].name, "is_level");
    assert_eq!(feature_schema().width(), WIDTH);
}
