//! Takes a raw score apart: parts per feature that add up to it, whatever the model.
//!
//! Walks from the baseline row (all zeros: as expected) to the row, one feature at a time, and credits
//! each feature with the step of the raw score; averages walks in column order, its reverse and a few
//! seeded orders with their reverses (sampled Shapley values: Strumbelj, Kononenko 2014). Each walk
//! telescopes, so the parts add up to `raw - raw(zeros)` up to the rounding of doubles.

use geophone_proto::{
    anomaly::Contribution,
    feature::FeatureFrame,
    model::ModelCard,
    seam::{Model, SeamError},
};

/// Walks, without their reverses.
const WALKS: u64 = 4;

/// Column orders: the plain one and seeded shuffles, each followed by its reverse.
fn orders(width: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for walk in 0..WALKS {
        let mut order: Vec<usize> = (0..width).collect();
        let mut state = walk.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for at in (1..width).rev().filter(|_| walk > 0) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, (state >> 33) as usize % (at + 1));
        }
        let reverse = order.iter().rev().copied().collect();
        all.push(order);
        all.push(reverse);
    }
    all
}

/// A score taken apart: `parts` add up to `raw - baseline`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    /// Largest first; parts of 0 are left out.
    pub parts: Vec<Contribution>,
    /// The model's score of the row.
    pub raw: f64,
    /// Its score where every feature is as expected.
    pub baseline: f64,
}

/// Parts of `raw`, the model's score of this row.
///
/// Cost: one call of the model with `8 * (width - 1) + 1` rows.
///
/// # Errors
/// If the model fails on the way, or gives no finite number there.
pub fn explain(model: &mut dyn Model, row: &[f32], raw: f32) -> Result<Explained, SeamError> {
    let width = row.len();
    let orders = orders(width);
    let mut frame = FeatureFrame { width, x: vec![0.0; width], ..FeatureFrame::default() };
    for order in &orders {
        let mut step = vec![0.0f32; width];
        for &feature in &order[..width - 1] {
            step[feature] = row[feature];
            frame.x.extend_from_slice(&step);
        }
    }
    frame.keys = vec![geophone_proto::SeriesKey(0); frame.x.len() / width];
    let mut scores = Vec::new();
    model.score(&frame, &mut scores)?;
    if scores.len() != frame.keys.len() || !scores.iter().all(|score| score.is_finite()) {
        let message = "the model gives no number on the way to this row".to_owned();
        return Err(SeamError { class: geophone_proto::Class::Reject, message });
    }
    let mut parts = vec![0.0f64; width];
    for (order, path) in orders.iter().zip(scores[1..].chunks(width - 1)) {
        let mut before = f64::from(scores[0]);
        for (&feature, after) in order.iter().zip(path.iter().copied().chain([raw])) {
            parts[feature] += (f64::from(after) - before) / orders.len() as f64;
            before = f64::from(after);
        }
    }
    Ok(Explained { parts: ranked(model.card(), &parts), raw: f64::from(raw), baseline: f64::from(scores[0]) })
}

fn ranked(card: &ModelCard, parts: &[f64]) -> Vec<Contribution> {
    let mut named: Vec<Contribution> = card
        .features
        .iter()
        .zip(parts)
        .filter(|(_, value)| **value != 0.0)
        .map(|(feature, &value)| Contribution { feature: feature.clone(), value })
        .collect();
    named.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()).then_with(|| a.feature.cmp(&b.feature)));
    named
}
