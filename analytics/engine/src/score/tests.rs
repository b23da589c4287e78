//! What `score` promises whatever the data: causal, indifferent to unit and zero, robust, told once.

use super::{Entity, Row, Univariate};
use crate::detect::simulated::Dice;
use proptest::prelude::*;

fn rows(values: &[f64]) -> Vec<Row> {
    let mut scorer = Univariate::default();
    values.iter().enumerate().map(|(t, &value)| scorer.row(t as f64 * 60.0, value)).collect()
}

fn entity_rows(values: &[f64], dimensions: usize) -> Vec<Row> {
    let mut scorer = Entity::new(dimensions);
    values.chunks_exact(dimensions).enumerate().map(|(t, values)| scorer.row(t as f64 * 60.0, values)).collect()
}

/// A wave with noise and a jump.
fn wave(noise: &[f64]) -> Vec<f64> {
    noise.iter().enumerate().map(|(t, noise)| (t as f64 / 20.0).sin() + noise + if t > 350 && t < 370 { 9.0 } else { 0.0 }).collect()
}

/// Whole numbers, as counters give them: many ties, many zeros.
fn counts(noise: &[f64]) -> Vec<f64> {
    noise.iter().enumerate().map(|(t, noise)| (noise * 3.0).round().max(0.0) + if t % 97 == 96 { 40.0 } else { 0.0 }).collect()
}

fn alerts(rows: &[Row]) -> Vec<usize> {
    rows.iter().enumerate().filter(|(_, row)| row.alert).map(|(at, _)| at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Scenario: the same beginning, another continuation.
    // Guarantees: rows already scored keep score and alert.
    #[test]
    fn later_rows_change_nothing(noise in prop::collection::vec(-1.0f64..1.0, 500), cut in 1usize..499, other in -1e6f64..1e6) {
        let values = wave(&noise);
        let mut changed = values.clone();
        changed[cut..].iter_mut().for_each(|value| *value = other - *value);
        prop_assert_eq!(&rows(&values)[..cut], &rows(&changed)[..cut]);
        prop_assert_eq!(&rows(&values[..cut])[..], &rows(&values)[..cut]);
        let whole = cut / 5;
        prop_assert_eq!(&entity_rows(&values, 5)[..whole], &entity_rows(&changed, 5)[..whole]);
    }

    // Scenario: another unit and another zero, of smooth numbers and of counts.
    // Guarantees: the same alerts, nearly the same scores.
    #[test]
    fn unit_and_zero_do_not_matter(noise in prop::collection::vec(-1.0f64..1.0, 500), unit in 0.01f64..1e4, zero in -1e4f64..1e4) {
        for values in [wave(&noise), counts(&noise), vec![7.1; 500]] {
            let moved: Vec<f64> = values.iter().map(|value| value * unit + zero).collect();
            for (a, b) in rows(&values).iter().zip(rows(&moved)) {
                prop_assert_eq!(a.alert, b.alert);
                prop_assert!((a.score - b.score).abs() < 1e-3, "{} {}", a.score, b.score);
            }
        }
    }
}

#[test]
fn odd_values_never_break_it() {
    for values in
        [vec![], vec![1.0], vec![0.0; 300], vec![f64::NAN; 50], vec![f64::INFINITY, -1e300, 1e300, 0.0, 5e-324, -1.7e308, 1.7e308]]
    {
        assert!(rows(&values).iter().all(|row| (0.0..=1.0).contains(&row.score)));
        assert!(entity_rows(&values, 3).iter().all(|row| (0.0..=1.0).contains(&row.score)));
    }
    assert!(rows(&[3.0; 300]).iter().all(|row| !row.alert && row.score < 0.5));
    assert_eq!(Entity::new(0).row(0.0, &[1.0, 2.0]), Row::default());
}

#[test]
fn times_that_are_none_or_go_back_are_taken_as_they_come() {
    let mut scorer = Univariate::default();
    for (t, seconds) in [0.0, f64::NAN, -5.0, f64::INFINITY, 1e300, 60.0, 0.0].into_iter().enumerate() {
        assert!((0.0..=1.0).contains(&scorer.row(seconds, t as f64).score));
    }
}

#[test]
fn missing_readings_teach_nothing() {
    let mut noise = Dice::new(5);
    let values: Vec<f64> = (0..400).map(|_| noise.normal()).collect();
    let with_gaps: Vec<f64> = values.iter().flat_map(|&value| [value, f64::NAN]).collect();
    let told = |rows: Vec<Row>| rows.iter().filter(|row| row.alert).count();
    assert_eq!(told(rows(&values)), told(rows(&with_gaps)));
}

// Scenario: noise, then twenty rows far off, in one series and in half the dimensions of a machine.
// Guarantees: one alert, at the beginning; the score says so only there and stays up for a while.
#[test]
fn a_jump_alerts_once_where_it_begins() {
    let mut noise = Dice::new(7);
    let mut row = |jump: f64| [noise.normal() + jump, noise.normal() + jump, noise.normal() + jump, noise.normal(), noise.normal(), 5.0];
    let made: Vec<[f64; 6]> = (0..1500).map(|t| row(if (1200..1220).contains(&t) { 12.0 } else { 0.0 })).collect();
    let single = rows(&made.iter().map(|row| row[0]).collect::<Vec<f64>>());
    let mut entity = Entity::new(6);
    let many: Vec<Row> = made.iter().enumerate().map(|(t, row)| entity.row(t as f64 * 60.0, row)).collect();
    for rows in [single, many] {
        let told = alerts(&rows);
        assert!(told.iter().any(|at| (1200..1203).contains(at)), "{told:?}");
        assert!(told.len() <= 2, "{told:?}");
        assert!(rows.iter().all(|row| row.alert == (row.score >= 0.9)));
        assert!(rows[1210].score > 1.5 * rows[1190].score, "{} {}", rows[1210].score, rows[1190].score);
    }
}

// Scenario: a job runs every night for a week, and one night it does not end.
// Guarantees: only the first nights and the odd one alert.
#[test]
fn a_nightly_job_is_learnt_in_two_nights() {
    let mut noise = Dice::new(11);
    let values: Vec<f64> = (0..8 * 288)
        .map(|row| {
            let (day, slot) = (row / 288, row % 288);
            let end = if day == 7 { 80 } else { 40 };
            noise.normal() + if (36..end).contains(&slot) { if day == 7 { 90.0 } else { 30.0 } } else { 0.0 }
        })
        .collect();
    let mut scorer = Univariate::default();
    let told: Vec<usize> =
        values.iter().enumerate().filter(|(t, value)| scorer.row(*t as f64 * 300.0, **value).alert).map(|(t, _)| t / 288).collect();
    assert!(told.iter().all(|day| *day <= 2 || *day == 7), "{told:?}");
    assert!(told.contains(&7), "{told:?}");
}
