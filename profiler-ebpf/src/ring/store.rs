//! The minutes in order, the oldest dropped by age or when the budget is spent.

use super::epoch::{Entry, Epoch, Found, Tag};
use crate::process::ModuleId;
use geophone_proto::UnixNanos;
use std::collections::{HashSet, VecDeque};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the whole ring: with it a recorder stays below 100 MB.
    pub bytes_max: usize,
    /// Nothing older.
    pub keep_ns: u64,
    /// One epoch.
    pub epoch_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 48 << 20, keep_ns: 15 * 60 * 1_000_000_000, epoch_ns: 60 * 1_000_000_000 }
    }
}

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// From here on.
    pub from: UnixNanos,
    /// Up to here.
    pub to: UnixNanos,
    /// Samples tagged so, whoever took them.
    pub tags: HashSet<Tag>,
    /// Samples of these processes (our numbers), tagged or not.
    pub processes: HashSet<u32>,
}

/// The flight recorder's memory.
#[derive(Debug)]
pub struct Ring {
    limits: Limits,
    epochs: VecDeque<Epoch>,
    sealed_bytes: usize,
    /// Epochs begun since the start; a stack's number is of use only in its own.
    begun: u64,
}

impl Ring {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Self { limits, epochs: VecDeque::new(), sealed_bytes: 0, begun: 0 }
    }

    /// The number of a stack in the epoch that now is, and that epoch's. Begins a new epoch when it is time.
    pub fn stack(&mut self, now: UnixNanos, frames: &[(ModuleId, u64)]) -> (u64, u32) {
        let epoch = self.current(now);
        let stack = epoch.stack(frames);
        (self.begun, stack)
    }

    /// Keeps a sample under a stack of this epoch; gives whether it was kept.
    pub fn push(&mut self, entry: &Entry, (epoch, stack): (u64, u32)) -> bool {
        // A minute of one process may fill a third of a minute's budget.
        let share = u32::try_from(self.limits.bytes_max / self.epochs_max() / 3 / 20).unwrap_or(u32::MAX);
        let is_current = epoch == self.begun;
        match self.epochs.back_mut() {
            Some(current) if is_current && current.of_process(entry.process) < share => current.push(entry, stack),
            _ => {
                let reason = if is_current { "process_share" } else { "epoch_over" };
                metrics::counter!("geophone_profiler_samples_dropped_total", "reason" => reason).increment(1);
                return false;
            }
        }
        true
    }

    fn epochs_max(&self) -> usize {
        usize::try_from(self.limits.keep_ns / self.limits.epoch_ns.max(1)).unwrap_or(1).max(1)
    }

    fn current(&mut self, now: UnixNanos) -> &mut Epoch {
        let budget = self.limits.bytes_max;
        let is_over = self.epochs.back().is_none_or(|epoch| now.since(epoch.from) >= self.limits.epoch_ns || epoch.bytes() > budget / 6);
        if is_over {
            if let Some(last) = self.epochs.back_mut() {
                last.seal();
                self.sealed_bytes += last.bytes();
            }
            self.begun += 1;
            self.epochs.push_back(Epoch::new(now));
            let oldest = now.minus(self.limits.keep_ns);
            // Room for the new one as well.
            while self.epochs.len() > 1
                && (self.sealed_bytes > budget - budget / 5 || self.epochs.front().is_some_and(|epoch| epoch.to < oldest))
            {
                let gone = self.epochs.pop_front().expect("more than one");
                self.sealed_bytes -= gone.bytes();
                if gone.to >= oldest {
                    metrics::counter!("geophone_profiler_samples_dropped_total", "reason" => "budget").increment(gone.len() as u64);
                }
            }
        }
        self.epochs.back_mut().expect("one was pushed above")
    }

    /// Memory.
    pub fn bytes(&self) -> usize {
        self.sealed_bytes + self.epochs.back().map_or(0, Epoch::bytes)
    }

    /// Samples, and the time from the oldest to the newest.
    pub fn extent(&self) -> (usize, u64) {
        let samples = self.epochs.iter().map(Epoch::len).sum();
        let span = self.epochs.front().zip(self.epochs.back()).map_or(0, |(first, last)| last.to.since(first.from));
        (samples, span)
    }

    /// Numbers of processes that something is kept of.
    pub fn processes(&self) -> HashSet<u32> {
        self.epochs.iter().flat_map(Epoch::processes).collect()
    }

    /// Samples that are wanted and meant, at most `max`, the newest first to go.
    pub fn find(&self, wanted: &Wanted, is_meant: impl Fn(&Entry) -> bool, max: usize) -> Vec<Found> {
        let mut found = Vec::new();
        for epoch in self.epochs.iter().filter(|epoch| epoch.to >= wanted.from && epoch.from <= wanted.to) {
            let is_wanted = |entry: &Entry| {
                let half = entry.weight_ns / 2;
                entry.at.plus(half) >= wanted.from
                    && entry.at.minus(half) <= wanted.to
                    && (wanted.processes.contains(&entry.process) || entry.tag.is_some_and(|tag| wanted.tags.contains(&tag)))
                    && is_meant(entry)
            };
            epoch.each(is_wanted, |sample| {
                if found.len() < max {
                    found.push(sample);
                }
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{SpanId, TraceId, stacks::ThreadState, time::SECOND_NS};

    fn entry(at: u64, process: u32, tag: Option<u8>) -> Entry {
        let tag = tag.map(|number| Tag { trace_id: TraceId([number; 16]), span_id: SpanId([number; 8]) });
        Entry { at: UnixNanos(at), weight_ns: 10_000_000, state: ThreadState::Blocked, process, tid: process + 7, tag }
    }

    fn keep(ring: &mut Ring, entry: Entry, frames: &[(ModuleId, u64)]) -> bool {
        let stack = ring.stack(entry.at, frames);
        ring.push(&entry, stack)
    }

    #[test]
    fn what_is_kept_is_found_again_in_order_and_whole() {
        let mut ring = Ring::new(Limits::default());
        let frames = [(1, 10), (1, 20), (2, 5)];
        let at = 1_000 * SECOND_NS;
        assert!(keep(&mut ring, entry(at, 3, Some(9)), &frames));
        assert!(keep(&mut ring, entry(at + SECOND_NS, 4, None), &frames[..2]));
        let tag = Tag { trace_id: TraceId([9; 16]), span_id: SpanId([9; 8]) };
        let wanted = Wanted { from: UnixNanos(at - SECOND_NS), to: UnixNanos(at + SECOND_NS), tags: [tag].into(), processes: [4].into() };
        let found = ring.find(&wanted, |_| true, 10);
        assert_eq!(found.iter().map(|sample| sample.frames.as_slice()).collect::<Vec<_>>(), [&frames[..], &frames[..2]]);
        assert_eq!(found[0].entry, entry(at, 3, Some(9)));
        assert_eq!(ring.find(&Wanted { tags: [tag].into(), ..Wanted::default() }, |_| true, 10), []);
    }

    #[test]
    fn ten_minutes_of_two_busy_cores_fit() {
        let mut ring = Ring::new(Limits::default());
        let start = 5_000 * SECOND_NS;
        // 200 samples on the CPU and 400 off it a second, 20 frames, 4,000 different stacks, a span each 10.
        for number in 0..600 * 12 * 60u64 {
            let at = start + number * SECOND_NS / 600;
            let frames: Vec<(ModuleId, u64)> =
                (0..20).map(|depth| (1, if depth < 12 { depth } else { number % 4_000 * 20 + depth })).collect();
            let mut entry = entry(at, (number % 20) as u32, None);
            let id = (number / 10).to_le_bytes();
            entry.tag = Some(Tag { trace_id: TraceId([[id, id].concat().try_into().expect("16"); 1][0]), span_id: SpanId(id) });
            assert!(keep(&mut ring, entry, &frames));
        }
        let (samples, span) = ring.extent();
        assert!(span >= 600 * SECOND_NS && samples >= 360_000, "{samples} samples over {} s", span / SECOND_NS);
        assert!(ring.bytes() <= 64 << 20, "{} bytes", ring.bytes());
    }

    #[test]
    fn one_process_cannot_push_the_others_out() {
        let mut ring = Ring::new(Limits { bytes_max: 1 << 20, ..Limits::default() });
        let at = 1_000 * SECOND_NS;
        let kept = (0..10_000).filter(|number| keep(&mut ring, entry(at + number, 1, None), &[(1, 1)])).count();
        assert!(kept < 2_000, "{kept}");
        assert!(keep(&mut ring, entry(at + 20_000, 2, None), &[(1, 1)]));
    }

    #[test]
    fn old_minutes_go() {
        let mut ring = Ring::new(Limits::default());
        for minute in 0..40 {
            keep(&mut ring, entry(1_000 * SECOND_NS + minute * 60 * SECOND_NS, 1, None), &[(1, minute)]);
        }
        let (samples, span) = ring.extent();
        assert!((15..=17).contains(&samples) && span <= 16 * 60 * SECOND_NS, "{samples} {span}");
        assert_eq!(ring.processes(), [1].into());
    }
}
