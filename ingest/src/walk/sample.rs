//! One sample of a profile, in either of the two forms that are sent.
//!
//! Version 1.10 of the protocol gave the fields of `Sample` other numbers than 1.9, in the same package, so
//! nothing but the bytes tells them apart. Field 3 is a list in 1.9 and a number since; field 4 the other way
//! round; field 2 alone, without times, can only be the values of 1.9; a number in field 4 of a sample that had neither
//! values nor times in 1.9 is a value written unpacked. Each sample that can tell votes; those
//! that cannot are read as most of the request.

use super::{
    WalkError,
    dictionary::{Index, index},
    wire::{DEPTH_MAX, Reader, Value, each_fixed64, each_varint},
};

/// Levels that may lie below a sample.
const SAMPLE_LEFT: u32 = DEPTH_MAX - 5;

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Up to 1.9: values 2, attributes 3, link 4.
    Old,
    /// From 1.10 on: attributes 2, link 3, values 4.
    New,
}

/// How the samples of a request voted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Votes {
    old: u64,
    new: u64,
}

impl Votes {
    /// Counts the votes of all samples: request 1 -> resource 2 -> scope 2 -> profile 2 -> sample.
    pub(crate) fn count(wire: &[u8]) -> Result<Self, WalkError> {
        let mut votes = Self::default();
        votes.descend(wire, &[1, 2, 2, 2])?;
        Ok(votes)
    }

    fn descend(&mut self, bytes: &[u8], path: &[u32]) -> Result<(), WalkError> {
        let Some((wanted, below)) = path.split_first() else {
            match vote(bytes)? {
                Some(Form::Old) => self.old += 1,
                Some(Form::New) => self.new += 1,
                None => {}
            }
            return Ok(());
        };
        let mut reader = Reader::new(bytes, DEPTH_MAX - 4);
        while let Some((number, value)) = reader.next()? {
            if number == *wanted {
                self.descend(value.bytes()?, below)?;
            }
        }
        Ok(())
    }

    /// What most samples are; the present form where nothing tells.
    pub(crate) const fn winner(self) -> Form {
        if self.old > self.new { Form::Old } else { Form::New }
    }

    /// Whether any sample is in the old form.
    pub(crate) const fn any_old(self) -> bool {
        self.old > 0
    }
}

/// The form of one sample, if its bytes tell; contradictory ones do not.
fn vote(bytes: &[u8]) -> Result<Option<Form>, WalkError> {
    let (mut old, mut new, mut fourth) = (false, false, false);
    let mut has = [false; 6];
    let mut reader = Reader::new(bytes, SAMPLE_LEFT);
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (3, Value::Bytes(_)) => old = true,
            (4, Value::Varint(_)) => fourth = true,
            (3, Value::Varint(_)) | (4, Value::Bytes(_)) => new = true,
            _ => {}
        }
        if let Some(seen) = usize::try_from(number).ok().and_then(|number| has.get_mut(number)) {
            *seen = true;
        }
    }
    let only_values = has[2] && !has[3] && !has[4] && !has[5];
    let is_link = fourth && (has[2] || has[5]);
    Ok(match (old || only_values || is_link, new || fourth && !is_link) {
        (true, false) => Some(Form::Old),
        (false, true) => Some(Form::New),
        _ => None,
    })
}

/// A sample's fields.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) stack: Index,
    pub(crate) link: Index,
    pub(crate) attributes: Vec<Index>,
    pub(crate) values: Vec<i64>,
    pub(crate) times: Vec<u64>,
}

impl Sample {
    /// Reads a sample in its own form, else in that of the request. The inner error is a field that fits
    /// neither: that costs the profile, not the request.
    #[allow(clippy::cast_possible_wrap, reason = "protobuf writes negative numbers so")]
    pub(crate) fn read(bytes: &[u8], usual: Form) -> Result<Result<Self, ()>, WalkError> {
        let form = vote(bytes)?.unwrap_or(usual);
        let mut sample = Self::default();
        let mut reader = Reader::new(bytes, SAMPLE_LEFT);
        while let Some((number, value)) = reader.next()? {
            let list = |list: &mut Vec<Index>| each_varint(value, |number| list.push(usize::try_from(number).unwrap_or(usize::MAX)));
            let taken = match (form, number) {
                (_, 1) => index(value).map(|at| sample.stack = at),
                (Form::Old, 3) | (Form::New, 2) => list(&mut sample.attributes),
                (Form::Old, 4) | (Form::New, 3) => index(value).map(|at| sample.link = at),
                (Form::Old, 2) | (Form::New, 4) => each_varint(value, |number| sample.values.push(number as i64)),
                (_, 5) => each_fixed64(value, |at| sample.times.push(at)),
                _ => Ok(()),
            };
            if taken.is_err() {
                return Ok(Err(()));
            }
        }
        Ok(Ok(sample))
    }
}
