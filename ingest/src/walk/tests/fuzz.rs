//! Scenario: random and mutated requests of each signal, two requests spliced, fields repeated and moved.
//! Guarantees: the walk gives the rows and the verdict that `prost` gives, and never panics.

use super::{
    generate::{Dice, mutate},
    properties::{compare, random_wire},
};
use crate::{campaign::campaign, walk::wire::Reader};
use geophone_proto::Signal;

/// One case: a request as it is, then broken in three ways.
fn case(signal: Signal, seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let told = |wire: &[u8]| compare(signal, wire).map(drop).map_err(|error| format!("{error}\n  {wire:02x?}"));
    let whole = random_wire(signal, &mut dice);
    told(&whole)?;
    let mut broken = whole.clone();
    mutate(&mut broken, &mut dice);
    told(&broken)?;
    told(&shuffled(&whole, &mut dice))?;
    let other = random_wire(signal, &mut dice);
    let (from, to) = (dice.below(whole.len() + 1), dice.below(other.len() + 1));
    told(&[&whole[..from], &other[to..]].concat())
}

/// The outer fields in another order, some twice, some not at all, and one level deeper the same.
fn shuffled(wire: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut reader = Reader::new(wire, 10);
    let mut fields = Vec::new();
    while let Ok(Some(_)) = reader.next() {
        fields.push(reader.framed());
    }
    if fields.is_empty() {
        return wire.to_vec();
    }
    (0..fields.len() + 1).flat_map(|_| fields[dice.below(fields.len())].to_vec()).collect()
}

#[test]
fn fuzz_walk_traces() {
    campaign("fuzz_walk_traces", |seed| case(Signal::Traces, seed));
}

#[test]
fn fuzz_walk_metrics() {
    campaign("fuzz_walk_metrics", |seed| case(Signal::Metrics, seed));
}

#[test]
fn fuzz_walk_logs() {
    campaign("fuzz_walk_logs", |seed| case(Signal::Logs, seed));
}
