//! Scenario: random requests, in any field order, split, packed, with unknown fields; then broken ones.
//! Guarantees: the walk gives the rows that `prost` and OTLP's rules give, and accepts what it accepts.

use super::{
    generate::{Dice, message, mutate},
    oracle::{self, Rows},
};
use crate::walk::{WalkError, Walked, check, schema, walk};
use bytes::Bytes;
use geophone_proto::{
    Signal, Tenant, UnixNanos,
    otlp::collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
};
use proptest::prelude::*;
use prost::{DecodeError, Message};

const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

fn walk_bytes(signal: Signal, wire: &[u8]) -> Result<Walked, WalkError> {
    walk(signal, Bytes::copy_from_slice(wire), Tenant::default(), UnixNanos(1))
}

fn expected(signal: Signal, wire: &[u8]) -> Result<Rows, DecodeError> {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(wire).map(|request| oracle::traces(&request)),
        Signal::Metrics => ExportMetricsServiceRequest::decode(wire).map(|request| oracle::metrics(&request)),
        Signal::Logs => ExportLogsServiceRequest::decode(wire).map(|request| oracle::logs(&request)),
        Signal::Profiles => unreachable!("profiles have tests of their own"),
    }
}

pub(crate) fn random_wire(signal: Signal, dice: &mut Dice) -> Vec<u8> {
    let table = match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Metrics => &schema::METRICS,
        Signal::Logs => &schema::LOGS,
        Signal::Profiles => &schema::PROFILES,
    };
    let depth = 5 + dice.below(8);
    message(table, dice, depth)
}

/// Same rows where both accept; where `prost` refuses for text or depth, the walk refuses rows only.
pub(crate) fn compare(signal: Signal, wire: &[u8]) -> Result<bool, TestCaseError> {
    let prost = expected(signal, wire);
    match (walk_bytes(signal, wire), &prost) {
        (Ok(walked), Ok((rows, refused))) => {
            prop_assert_eq!(&oracle::rows_of(&walked.batch), rows);
            prop_assert_eq!(walked.rejected_count(), *refused);
            Ok(true)
        }
        (Ok(walked), Err(error)) => {
            let flawed = |row: &crate::Rejected| row.reason == check::INVALID_UTF8 || row.reason == check::TOO_DEEP;
            // A flaw of a resource, scope or metric without rows refuses nothing.
            let excused = walked.rejected.iter().any(flawed) || error.to_string().contains("UTF-8");
            prop_assert!(excused, "prost refuses ({}), the walk accepts", error);
            Ok(false)
        }
        (Err(error), prost) => {
            prop_assert!(prost.is_err(), "the walk refuses ({error}), prost accepts");
            Ok(false)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_walk_gives_what_prost_gives(seed: u64) {
        let mut dice = Dice(seed);
        for signal in SIGNALS {
            let wire = random_wire(signal, &mut dice);
            compare(signal, &wire)?;
            // Its resources are remembered now.
            compare(signal, &wire)?;
        }
    }

    #[test]
    fn broken_messages_get_the_same_verdict(seed: u64) {
        let mut dice = Dice(seed);
        for signal in SIGNALS {
            let mut wire = random_wire(signal, &mut dice);
            mutate(&mut wire, &mut dice);
            compare(signal, &wire)?;
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for signal in SIGNALS {
            compare(signal, &bytes)?;
        }
    }
}

#[test]
fn every_truncation_gets_the_same_verdict() {
    let mut dice = Dice(7);
    for signal in SIGNALS {
        let wire = random_wire(signal, &mut dice);
        for end in 0..wire.len().min(4000) {
            compare(signal, &wire[..end]).expect("same verdict");
        }
    }
}

#[test]
fn the_generator_makes_rows() {
    let mut dice = Dice(1);
    for signal in SIGNALS {
        let rows: usize =
            (0..100).map(|_| walk_bytes(signal, &random_wire(signal, &mut dice)).map_or(0, |walked| walked.batch.len())).sum();
        assert!(rows > 50, "{signal:?} gave {rows} rows");
    }
}
