//! Exponential histograms spelt out as explicit bounds.
//!
//! Bucket `i` of scale `s` covers `(b^i, b^(i+1)]` with `b = 2^(2^-s)`. Negative buckets mirror that.
//! Invariants: bounds ascend strictly and are finite; there is one more count than bounds; all counts
//! add up; at most `BUCKETS_MAX` buckets a side (more are merged in pairs, which is exact).

use super::{
    WalkError,
    column::Lists,
    points::as_f64,
    wire::{Reader, Value, each_varint},
};

/// Buckets per side beyond which pairs are merged. SDKs send up to 160.
const BUCKETS_MAX: usize = 1024;

/// An exponential histogram as it comes.
#[derive(Debug, Default)]
pub(crate) struct Exponential {
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Side,
    negative: Side,
}

#[derive(Debug, Default)]
struct Side {
    offset: i32,
    counts: Vec<f64>,
}

impl Exponential {
    /// Takes one of the fields 6 to 9 and 14 of a data point.
    pub(crate) fn field(&mut self, number: u32, value: Value<'_>, left: u32) -> Result<(), WalkError> {
        match number {
            6 => self.scale = value.sint32()?,
            7 => self.zero_count = value.fixed64()?,
            8 => self.positive.absorb(value.bytes()?, left)?,
            9 => self.negative.absorb(value.bytes()?, left)?,
            _ => self.zero_threshold = value.double()?,
        }
        Ok(())
    }
}

impl Side {
    fn absorb(&mut self, bytes: &[u8], left: u32) -> Result<(), WalkError> {
        let mut reader = Reader::new(bytes, left - 1);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => self.offset = value.sint32()?,
                2 => each_varint(value, |count| self.counts.push(as_f64(count)))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops empty buckets at both ends.
    fn trim(&mut self) {
        let len = self.counts.iter().rposition(|count| *count > 0.0).map_or(0, |last| last + 1);
        self.counts.truncate(len);
        let empty = self.counts.iter().take_while(|count| **count == 0.0).count();
        self.counts.drain(..empty);
        self.offset = self.offset.saturating_add(i32::try_from(empty).unwrap_or(i32::MAX));
    }

    /// Halves the resolution: buckets `2k` and `2k + 1` become bucket `k`.
    fn merge_pairs(&mut self) {
        let odd = self.offset.rem_euclid(2) == 1;
        self.offset = self.offset.div_euclid(2);
        let mut merged = 0;
        let mut at = 0;
        while at < self.counts.len() {
            let alone = at == 0 && odd;
            let second = if alone { 0.0 } else { self.counts.get(at + 1).copied().unwrap_or_default() };
            self.counts[merged] = self.counts[at] + second;
            merged += 1;
            at += if alone { 1 } else { 2 };
        }
        self.counts.truncate(merged);
    }
}

/// Bounds of a scale: `2^(index * 2^-scale)` has this index; 0 or infinite where doubles end.
struct Bounds {
    step: f64,
}

impl Bounds {
    fn of(scale: i32) -> Self {
        Self { step: (-f64::from(scale)).exp2() }
    }

    #[allow(clippy::cast_precision_loss, reason = "indices are sums of 32-bit numbers, below 2^53")]
    fn at(&self, index: i64) -> f64 {
        (index as f64 * self.step).exp2()
    }
}

/// Writes ascending bounds and their counts into the open lists.
pub(crate) fn spell_out(histogram: &mut Exponential, bounds: &mut Lists, buckets: &mut Lists) {
    histogram.positive.trim();
    histogram.negative.trim();
    while histogram.positive.counts.len().max(histogram.negative.counts.len()) > BUCKETS_MAX {
        histogram.positive.merge_pairs();
        histogram.negative.merge_pairs();
        histogram.scale = histogram.scale.saturating_sub(1);
    }
    let (scale, zero_count) = (Bounds::of(histogram.scale), as_f64(histogram.zero_count));
    let zero = if histogram.zero_threshold > 0.0 { histogram.zero_threshold } else { 0.0 };
    let (first_bound, first_bucket) = (bounds.numbers().len(), buckets.numbers().len());
    let mut out = Buckets { bounds: bounds.numbers(), buckets: buckets.numbers(), first_bound, first_bucket, pending: 0.0 };
    let negative = &histogram.negative;
    if !negative.counts.is_empty() {
        let first = i64::from(negative.offset);
        let len = i64::try_from(negative.counts.len()).expect("at most BUCKETS_MAX");
        out.push(-scale.at(first + len), 0.0);
        for (behind, count) in (1..).zip(negative.counts.iter().rev()) {
            out.push(-scale.at(first + len - behind), *count);
        }
        out.push(-zero, 0.0);
    }
    if zero_count > 0.0 {
        out.push(zero, zero_count);
    }
    let positive = &histogram.positive;
    if !positive.counts.is_empty() {
        let first = i64::from(positive.offset);
        out.push(scale.at(first), 0.0);
        for (place, count) in (1..).zip(&positive.counts) {
            out.push(scale.at(first + place), *count);
        }
    }
    out.finish();
}

struct Buckets<'a> {
    bounds: &'a mut Vec<f64>,
    buckets: &'a mut Vec<f64>,
    /// Where the open lists begin.
    first_bound: usize,
    first_bucket: usize,
    /// Counts that wait for the next finite, greater bound.
    pending: f64,
}

impl Buckets<'_> {
    /// Adds the bucket that ends at `bound`. Where doubles cannot tell two bounds apart, buckets join.
    fn push(&mut self, bound: f64, count: f64) {
        // A negative zero would sort like zero and print like nonsense.
        let bound = if bound == 0.0 { 0.0 } else { bound };
        if bound == f64::NEG_INFINITY || bound.is_nan() || bound == f64::INFINITY {
            self.pending += count;
        } else if self.bounds[self.first_bound..].last().is_some_and(|last| *last >= bound) {
            if let Some(last) = self.buckets[self.first_bucket..].last_mut() {
                *last += count + std::mem::take(&mut self.pending);
            }
        } else {
            self.bounds.push(bound);
            self.buckets.push(count + std::mem::take(&mut self.pending));
        }
    }

    /// The last bucket has no upper bound.
    fn finish(self) {
        if self.bounds.len() > self.first_bound || self.pending > 0.0 {
            self.buckets.push(self.pending);
        }
    }
}
