//! How requests get here: in order, or late, in another order and twice. Never lost: senders try again.

use super::{dice::Dice, world::Sent};
use geophone_ingest::decode_export;
use geophone_proto::{Record, RecordBody, Seq, Signal, UnixNanos, record::Export, time::SECOND_NS};

/// What may happen to a request on its way.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// Share of requests that are late.
    pub late: f64,
    /// By at most so many seconds; below the lateness minus a flush.
    pub late_s: u64,
    /// Share of requests that come twice, as after a lost answer.
    pub twice: f64,
    /// Only requests of spans do: their ids tell a repeat, log records and points have none.
    pub only_spans_twice: bool,
}

/// Everything that can happen.
pub const ROUGH: Trouble = Trouble { late: 0.3, late_s: 20, twice: 0.15, only_spans_twice: false };

/// Arrivals with their times, a tick for each second between them, and a minute of ticks at the end.
pub fn records(sent: &[Sent], trouble: Trouble, dice: &mut Dice) -> Vec<Record> {
    let mut arrivals: Vec<(UnixNanos, Export)> = Vec::new();
    for Sent { at, export } in sent {
        let mut arrive = |dice: &mut Dice| {
            let late = if dice.chance(trouble.late) { dice.below(trouble.late_s * 1000) } else { 0 };
            arrivals.push((at.plus((20 + late) * 1_000_000), export.clone()));
        };
        arrive(dice);
        if dice.chance(trouble.twice) && (export.signal == Signal::Traces || !trouble.only_spans_twice) {
            arrive(dice);
        }
    }
    arrivals.sort_by_key(|(at, _)| *at);
    let end = arrivals.last().map_or(UnixNanos(0), |(at, _)| at.plus(60 * SECOND_NS));
    let mut records = Vec::new();
    let mut tick = arrivals.first().map_or(end, |(at, _)| *at);
    let mut ticks = |until: UnixNanos, records: &mut Vec<Record>| {
        while tick < until {
            records.push(Record { at: tick, body: RecordBody::Tick });
            tick = tick.plus(SECOND_NS);
        }
    };
    for (at, mut export) in arrivals {
        ticks(at, &mut records);
        export.decoded = Some(decode_export(&export, at));
        records.push(Record { at, body: RecordBody::Batch(export) });
    }
    ticks(end, &mut records);
    records
}

/// The records at consecutive positions.
pub fn logged(records: &[Record]) -> impl Iterator<Item = (Seq, Record)> {
    (1..).map(Seq).zip(records.iter().cloned())
}
