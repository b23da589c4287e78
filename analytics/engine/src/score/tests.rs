//! What `score` promises whatever the data: causal, indifferent to unit and zero, robust.

use super::{Entity, Row, Univariate};
use proptest::prelude::*;

fn rows(values: &[f64]) -> Vec<Row> {
    let mut scorer = Univariate::new("s");
    values.iter().enumerate().map(|(t, &value)| scorer.row(t as f64 * 60.0, value)).collect()
}

/// A wave with noise and a jump.
fn wave(noise: &[f64]) -> Vec<f64> {
    noise.iter().enumerate().map(|(t, noise)| (t as f64 / 20.0).sin() + noise + if t > 150 && t < 170 { 9.0 } else { 0.0 }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Scenario: the same beginning, another continuation.
    // Guarantees: rows already scored keep score and alert.
    #[test]
    fn later_rows_change_nothing(noise in prop::collection::vec(-1.0f64..1.0, 220), cut in 1usize..219, other in -1e6f64..1e6) {
        let values = wave(&noise);
        let mut changed = values.clone();
        changed[cut..].iter_mut().for_each(|value| *value = other - *value);
        prop_assert_eq!(&rows(&values)[..cut], &rows(&changed)[..cut]);
        prop_assert_eq!(&rows(&values[..cut])[..], &rows(&values)[..cut]);
    }

    // Scenario: another unit and another zero.
    // Guarantees: the same alerts, nearly the same scores.
    #[test]
    fn unit_and_zero_do_not_matter(noise in prop::collection::vec(-1.0f64..1.0, 220), unit in 0.01f64..1e4, zero in -1e4f64..1e4) {
        let values = wave(&noise);
        let moved: Vec<f64> = values.iter().map(|value| value * unit + zero).collect();
        for (a, b) in rows(&values).iter().zip(rows(&moved)) {
            prop_assert_eq!(a.alert, b.alert);
            prop_assert!((a.score - b.score).abs() < 1e-3, "{} {}", a.score, b.score);
        }
    }
}

#[test]
fn odd_values_never_break_it() {
    for values in [vec![], vec![1.0], vec![0.0; 300], vec![f64::NAN; 50], vec![f64::INFINITY, -1e300, 1e300, 0.0, 5e-324]] {
        assert!(rows(&values).iter().all(|row| (0.0..=1.0).contains(&row.score)));
    }
    assert!(rows(&vec![3.0; 300]).iter().all(|row| !row.alert && row.score < 0.5));
}

#[test]
fn a_jump_alerts_in_one_dimension_and_in_many() {
    let mut noise = crate::detect::simulated::Dice::new(7);
    let values: Vec<f64> = (0..500).map(|t| noise.normal() + if (400..420).contains(&t) { 12.0 } else { 0.0 }).collect();
    let single = rows(&values);
    assert!(single[..400].iter().all(|row| !row.alert));
    assert!(single[400..406].iter().any(|row| row.alert));
    let mut entity = Entity::new("m", 4);
    let many: Vec<Row> = (0..500)
        .map(|t| {
            let jump = if (400..420).contains(&t) { 12.0 } else { 0.0 };
            entity.row(t as f64 * 60.0, &[noise.normal() + jump, noise.normal() + jump, noise.normal(), 5.0])
        })
        .collect();
    assert!(many[..400].iter().all(|row| !row.alert));
    assert!(many[400..406].iter().any(|row| row.alert));
}
