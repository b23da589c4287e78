//! A few series at a few moments, with their features and scores: small enough to read.

use super::fold::Folded;
use geophone_engine::feature_schema;
use geophone_proto::{
    UnixNanos,
    series::{Series, SeriesKey, SeriesKind},
    time::SECOND_NS,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Minutes after the start: learning, settled, before and in each fault, at the end.
const MINUTES: [u64; 5] = [2, 15, 21, 31, 39];

/// Which series and moments a golden file is about, chosen by name and not by value: of each kind the
/// first series with the most windows.
pub fn choose(folded: &Folded) -> Vec<(SeriesKey, UnixNanos)> {
    let mut windows: BTreeMap<SeriesKey, usize> = BTreeMap::new();
    folded.rows.keys().for_each(|(_, key)| *windows.entry(*key).or_default() += 1);
    let rank = |series: &Series| (usize::MAX - windows.get(&series.key).copied().unwrap_or(0), series.service.clone(), series.name.clone());
    let mut first: BTreeMap<SeriesKind, &Series> = BTreeMap::new();
    for series in folded.series.values() {
        let held = first.entry(series.kind).or_insert(series);
        if (rank(series), series.key) < (rank(held), held.key) {
            *held = series;
        }
    }
    let start = folded.rows.keys().next().map(|(at, _)| *at).unwrap_or_default();
    let moments = MINUTES.map(|minute| start.plus(minute * 60 * SECOND_NS));
    let pairs = first.values().flat_map(|series| moments.map(|at| (series.key, at)));
    pairs.filter(|(key, at)| folded.rows.contains_key(&(*at, *key))).collect()
}

/// The choice that a golden file was made of.
pub fn chosen(golden: &Value) -> Vec<(SeriesKey, UnixNanos)> {
    let one = |entry: &Value| {
        let key = entry["key"].as_str().and_then(SeriesKey::from_hex).expect("a golden entry has a key");
        (key, entry["at"].as_str().and_then(UnixNanos::from_rfc3339).expect("a golden entry has a time"))
    };
    golden.as_array().expect("golden entries are a list").iter().map(one).collect()
}

fn entry(folded: &Folded, key: SeriesKey, at: UnixNanos) -> Map<String, Value> {
    let name = folded.series.get(&key).map(|series| format!("{} {} {}", series.service, series.name, series.kind.as_str()));
    Map::from_iter([("series".to_owned(), json!(name)), ("key".to_owned(), json!(key)), ("at".to_owned(), json!(at))])
}

/// Six significant digits: enough for the tolerance, and short.
fn short(value: f64) -> Value {
    if value.is_finite() { json!(format!("{value:.5e}").parse::<f64>().unwrap_or(value)) } else { Value::Null }
}

/// Features of the chosen rows by name.
pub fn features(folded: &Folded, chosen: &[(SeriesKey, UnixNanos)]) -> Value {
    let names = feature_schema().names;
    let one = |(key, at): &(SeriesKey, UnixNanos)| {
        let mut entry = entry(folded, *key, *at);
        if let Some(row) = folded.rows.get(&(*at, *key)) {
            let features = names.iter().cloned().zip(row.features.iter().map(|value| short(f64::from(*value))));
            entry.insert("features".into(), Value::Object(features.collect()));
        }
        Value::Object(entry)
    };
    chosen.iter().map(one).collect()
}

/// Scores and bands of the chosen rows.
pub fn scores(folded: &Folded, chosen: &[(SeriesKey, UnixNanos)]) -> Value {
    let one = |(key, at): &(SeriesKey, UnixNanos)| {
        let mut entry = entry(folded, *key, *at);
        if let Some(row) = folded.rows.get(&(*at, *key)) {
            entry.insert("raw".into(), short(row.raw.into()));
            entry.insert("score".into(), short(row.score.into()));
            let names = ["actual", "expected", "lower", "upper"];
            entry.extend(names.iter().zip(row.shown).map(|(name, value)| ((*name).to_owned(), short(value))));
        }
        Value::Object(entry)
    };
    chosen.iter().map(one).collect()
}

/// Sums over all rows, so that a change elsewhere is seen too.
pub fn totals(folded: &Folded) -> Value {
    let scored = folded.rows.values().filter(|row| row.score.is_finite());
    let high = scored.clone().filter(|row| row.score > 0.99).count();
    let sum: f64 = scored.clone().map(|row| f64::from(row.score)).sum();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    folded.series.values().for_each(|series| *kinds.entry(series.kind.as_str()).or_default() += 1);
    json!({
        "series": kinds,
        "rows": folded.rows.len(),
        "rows_scored": scored.clone().count(),
        "rows_above_0.99": high,
        "score_mean": short(sum / scored.count().max(1) as f64),
    })
}
