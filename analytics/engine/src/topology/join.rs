//! Joins spans with their parents, in whatever order they arrive, in bounded memory.
//!
//! One table keyed by trace and span id. A span whose parent has not come waits under the parent's
//! key. Joins compare durations only, so the clocks of two hosts may differ. When the table is full,
//! only traces whose hash begins with one more zero bit are kept: whole traces, and counts of what is
//! learned from them are weighed up. Invariant: what a set of spans yields does not depend on their
//! order while none of them has been evicted; only whether a request leaves something out is judged once,
//! when its window closes.

use super::{
    habits::{ANY, Deeds, Habits},
    names::{OperationIndex, ServiceIndex},
};
use crate::{hash::FixedMap, observe::sums::LogSample};
use geophone_proto::stacks::WantedSpan;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Spans kept at most.
const SPANS_MAX: usize = 32_768;
/// Children of the same service whose overlap is told exactly; more are added up.
const NESTED_MAX: usize = 64;
/// Exclusive times below this are tested as this.
const EXCLUSIVE_FLOOR_NS: u64 = 10_000;
/// Gaps below this are tested as this: loopback noise.
const GAP_FLOOR_NS: u64 = 100_000;
/// The least of the kinds of OTLP that say that a span waits for somebody elsewhere.
const CLIENT: u8 = 3;
/// `Span.peer` of spans that name nobody.
pub const NOBODY: u32 = u32::MAX;

/// A span as the table wants it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Ids and times.
    pub at: WantedSpan,
    /// Key of the parent's span, 0 for a root.
    pub parent: u128,
    /// Its operation.
    pub operation: OperationIndex,
    /// Its service.
    pub service: ServiceIndex,
    /// OTLP's span kind.
    pub kind: u8,
    /// Status error.
    pub failed: bool,
    /// Service that it says it calls, or `NOBODY`.
    pub peer: ServiceIndex,
    /// Window of its end.
    pub window: u64,
}

impl Span {
    /// Nanoseconds from start to end.
    pub const fn duration_ns(&self) -> u64 {
        self.at.end.since(self.at.start)
    }
}

/// What joining has brought to light.
#[derive(Clone, Debug)]
pub enum Joined {
    /// Time in an operation and none of its children. A span that does nothing but call another service,
    /// and does not say so by its kind, has none: that time is the edge's gap.
    Exclusive {
        /// Whose time.
        operation: OperationIndex,
        /// Window of the span's end.
        window: u64,
        /// What was said of the same span before.
        taken_back: Option<LogSample>,
        /// What is known now.
        sample: LogSample,
    },
    /// A call between services.
    Call(CallSeen),
    /// A call to somebody who sends no spans, or its retraction.
    Peer {
        /// Calling operation.
        caller: OperationIndex,
        /// Who was called.
        peer: ServiceIndex,
        /// Window of the caller's end.
        window: u64,
        /// The caller says so.
        failed: bool,
        /// Takes back what was said: a child has come after all.
        retract: bool,
    },
    /// A span of kind internal or unspecified was called from another service.
    Entry(Box<Span>),
    /// A span of kind internal or unspecified was called within its service.
    Inner(OperationIndex),
    /// A request of unspecified kind, counted before, has left out what it usually does.
    Incomplete {
        /// Entry of the service.
        operation: OperationIndex,
        /// Window of its end.
        window: u64,
        /// Operation that called it, and the window of the later end.
        caller: Option<(OperationIndex, u64)>,
    },
}

/// A call between services.
#[derive(Clone, Copy, Debug)]
pub struct CallSeen {
    /// Calling operation.
    pub caller: OperationIndex,
    /// Called operation.
    pub callee: OperationIndex,
    /// Window of the later end.
    pub window: u64,
    /// Either side says so.
    pub failed: bool,
    /// Caller's span minus callee's span.
    pub gap: LogSample,
    /// Callee's span.
    pub callee_ns: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    key: u128,
    /// `None` while only its children have come.
    span: Option<Span>,
    window: u64,
    waiting: Vec<u32>,
    remote_ns: u64,
    remote_children: u8,
    /// Children of the same service: start, end, slot.
    nested: Vec<(u64, u64, u32)>,
    /// Those of them that call another service.
    calls: Vec<(u64, u64)>,
    /// Whom it was said to have called without an answer.
    peer_said: Option<ServiceIndex>,
    exclusive: Option<LogSample>,
    /// It, or a span below it in its service, left something out.
    is_incomplete: bool,
}

/// The table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpanTable {
    keys: FixedMap<u128, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entries to evict, by window.
    ages: BTreeMap<u64, Vec<u32>>,
    /// Spans whose exclusive time is told when their window closes.
    unbooked: BTreeMap<u64, Vec<u32>>,
    /// Windows before this are closed.
    open_from: u64,
    /// Spans that name a peer, by window: unless a child comes, the peer was called.
    peers: BTreeMap<u64, Vec<u32>>,
    /// Who answers calls to a peer: addresses are how services are called. `None` where several do, as behind a proxy.
    answering: FixedMap<ServiceIndex, Option<ServiceIndex>>,
    /// One trace in 2^this is kept.
    thinning: u32,
    habits: Habits,
    /// Services whose spans say what they are to others.
    telling: BTreeSet<ServiceIndex>,
}

/// Key of a span; never 0.
pub fn span_key(trace: &[u8], span: &[u8]) -> u128 {
    let mut bytes = [0u8; 24];
    bytes[..16].copy_from_slice(trace);
    bytes[16..].copy_from_slice(span);
    xxhash_rust::xxh3::xxh3_128(&bytes) | 1
}

fn trace_hash(trace: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(trace)
}

impl SpanTable {
    /// Whether spans of this trace are joined.
    pub fn keeps(&self, trace: &[u8]) -> bool {
        self.thinning == 0 || trace_hash(trace) >> (64 - self.thinning) == 0
    }

    /// How many traces each kept one stands for.
    pub const fn weight(&self) -> u64 {
        1 << self.thinning
    }

    /// Takes a span; false if it is there already. What follows from it goes to `out`.
    pub fn arrive(&mut self, key: u128, span: Span, out: &mut Vec<Joined>) -> bool {
        let slot = self.slot(key, span.window);
        let entry = &mut self.entries[slot as usize];
        if let Some(known) = &entry.span {
            // Another span under the same id is counted, but cannot be joined.
            return known.at != span.at || known.service != span.service;
        }
        let (parent, window, peer) = (span.parent, span.window, span.peer);
        if span.kind > 1 {
            self.telling.insert(span.service);
        }
        let waiting = std::mem::take(&mut entry.waiting);
        entry.span = Some(span);
        entry.window = entry.window.max(window);
        for child in &waiting {
            self.join(*child, slot, key, out);
        }
        if peer != NOBODY && self.entries[slot as usize].remote_children == 0 {
            self.peers.entry(window).or_default().push(slot);
        }
        let mut above = None;
        if parent != 0 && parent != key {
            let place = self.slot(parent, window);
            let entry = &mut self.entries[place as usize];
            if entry.span.is_some() {
                self.join(slot, place, parent, out);
                above = Some(place);
            } else {
                entry.waiting.push(slot);
                entry.window = entry.window.max(window);
            }
        }
        if window < self.open_from {
            self.book_exclusive(slot, out);
        } else {
            self.unbooked.entry(window).or_default().push(slot);
        }
        // What was said of others before may read differently now.
        for other in waiting.into_iter().chain(above) {
            self.book_again(other, out);
        }
        if let Some(above) = above {
            self.book_around(above, slot, out);
            // By this child its parent may have become a call that runs beside others.
            let grand = self.entries[above as usize].span.as_ref().and_then(|span| self.keys.get(&span.parent)).copied();
            if let Some(grand) = grand.filter(|_| self.entries[above as usize].remote_children == 1) {
                self.book_around(grand, above, out);
            }
        }
        if self.keys.len() > SPANS_MAX {
            self.thin();
        }
        true
    }

    fn slot(&mut self, key: u128, window: u64) -> u32 {
        if let Some(slot) = self.keys.get(&key) {
            return *slot;
        }
        let entry = Entry { key, window, ..Entry::default() };
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("the table is thinned long before 2^32 spans")
        };
        self.keys.insert(key, slot);
        self.ages.entry(window).or_default().push(slot);
        slot
    }

    /// Child and parent have both come. The slot of an evicted child may hold another span by now.
    fn join(&mut self, below: u32, above: u32, parent: u128, out: &mut Vec<Joined>) {
        let entry = &self.entries[below as usize];
        let Some(child) = entry.span.as_ref().filter(|span| span.parent == parent).cloned() else { return };
        let child_calls = entry.remote_children > 0;
        let entry = &mut self.entries[above as usize];
        let Some(caller) = &entry.span else { return };
        let crosses = child.service != caller.service;
        if !crosses && entry.nested.len() < NESTED_MAX {
            entry.nested.push((child.at.start.0, child.at.end.0, below));
        } else {
            entry.remote_ns = entry.remote_ns.saturating_add(child.duration_ns());
        }
        if crosses {
            let window = child.window.max(caller.window);
            let is_client = matches!(caller.kind, 3 | 4);
            let failed = child.failed || is_client && caller.failed;
            let gap = LogSample::of(caller.duration_ns().saturating_sub(child.duration_ns()), GAP_FLOOR_NS);
            let (callee, callee_ns) = (child.operation, child.duration_ns());
            out.push(Joined::Call(CallSeen { caller: caller.operation, callee, window, failed, gap, callee_ns }));
            entry.remote_children = entry.remote_children.saturating_add(1);
            if let Some(said) = entry.peer_said.take() {
                out.push(peer_of(caller, said, true));
            }
            if is_client && caller.peer != NOBODY && caller.peer != child.service {
                let known = self.answering.entry(caller.peer).or_insert(Some(child.service));
                *known = known.filter(|known| *known == child.service);
            }
            self.note_call(above);
        } else if child_calls && child.kind < CLIENT {
            note_interval(&mut entry.calls, &child);
        }
        if child.kind < 2 {
            out.push(if crosses { Joined::Entry(Box::new(child)) } else { Joined::Inner(child.operation) });
        }
        if self.entries[below as usize].is_incomplete {
            if crosses { self.tell_incomplete(below, out) } else { self.mark_incomplete(above, out) }
        }
    }

    /// A span has turned out to call another service: its parent wants to know, if it is here.
    fn note_call(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        let Some(span) = entry.span.clone().filter(|span| entry.remote_children == 1 && span.parent != 0 && span.kind < CLIENT) else {
            return;
        };
        let Some(above) = self.keys.get(&span.parent).map(|above| &mut self.entries[*above as usize]) else { return };
        if above.span.as_ref().is_some_and(|parent| parent.service == span.service) {
            note_interval(&mut above.calls, &span);
        }
    }

    /// Whether a span does nothing but call another service: its time is the edge's gap, not its own.
    fn is_call(&self, slot: u32) -> bool {
        let entry = &self.entries[slot as usize];
        let Some(span) = entry.span.as_ref().filter(|_| entry.remote_children == 1 && entry.nested.is_empty()) else { return false };
        let parent = self.keys.get(&span.parent).and_then(|above| self.entries[*above as usize].span.as_ref());
        let is_entry = span.parent == 0 || parent.is_some_and(|parent| parent.service != span.service);
        span.kind < CLIENT && !is_entry
    }

    /// Says how long a span was in none of its children, and takes back what was said before. A call
    /// that runs beside it, as asynchronous frameworks have it, counts as its child.
    fn book_exclusive(&mut self, slot: u32, out: &mut Vec<Joined>) {
        let is_call = self.is_call(slot);
        let entry = &self.entries[slot as usize];
        let Some(span) = &entry.span else { return };
        let mut busy: Vec<(u64, u64)> = entry.nested.iter().map(|(start, end, _)| (*start, *end)).collect();
        if let Some(above) = self.keys.get(&span.parent).map(|above| &self.entries[*above as usize]) {
            let own = (span.at.start.0, span.at.end.0);
            let beside = above.calls.iter().filter(|call| above.span.is_some() && own.0 <= call.0 && call.1 <= own.1 && **call != own);
            busy.extend(beside);
        }
        let busy_ns = union_ns(&mut busy).saturating_add(entry.remote_ns);
        let own_ns = if is_call { 0 } else { span.duration_ns().saturating_sub(busy_ns) };
        let sample = LogSample::of(own_ns, EXCLUSIVE_FLOOR_NS);
        let (operation, window) = (span.operation, span.window);
        let entry = &mut self.entries[slot as usize];
        let taken_back = entry.exclusive.replace(sample);
        if taken_back != Some(sample) {
            out.push(Joined::Exclusive { operation, window, taken_back, sample });
        }
    }

    /// Books a span again if it was booked before.
    fn book_again(&mut self, slot: u32, out: &mut Vec<Joined>) {
        if self.entries[slot as usize].exclusive.is_some() {
            self.book_exclusive(slot, out);
        }
    }

    /// A child has come late: books its siblings again beside which it may run.
    fn book_around(&mut self, above: u32, late: u32, out: &mut Vec<Joined>) {
        if self.entries[late as usize].remote_children == 0 {
            return;
        }
        let parent = self.entries[above as usize].key;
        let beside: Vec<u32> = self.entries[above as usize].nested.iter().map(|(.., slot)| *slot).filter(|slot| *slot != late).collect();
        for slot in beside {
            if self.entries[slot as usize].span.as_ref().is_some_and(|span| span.parent == parent) {
                self.book_again(slot, out);
            }
        }
    }

    /// Judges the spans of the window that is being closed by their habits, then learns from them.
    fn judge(&mut self, (slots, window): (&[u32], u64), out: &mut Vec<Joined>) {
        let mut deeds = Deeds::default();
        let mut lacking = Vec::new();
        for slot in slots {
            let entry = &self.entries[*slot as usize];
            // The slot of a span that was dropped may hold one by now that has not heard of its children yet.
            let is_judged = |span: &&Span| span.kind < 2 && span.window <= window && !self.telling.contains(&span.service);
            let Some(span) = entry.span.as_ref().filter(is_judged) else { continue };
            if entry.nested.len() >= NESTED_MAX {
                continue;
            }
            let child = |below: &u32| self.entries[*below as usize].span.as_ref().filter(|child| child.parent == entry.key);
            let mut children: Vec<OperationIndex> = entry.nested.iter().filter_map(|(.., below)| Some(child(below)?.operation)).collect();
            children.sort_unstable();
            children.dedup();
            if !entry.nested.is_empty() {
                children.push(ANY);
            }
            if self.habits.leaves_out(span.operation, &children) {
                lacking.push(*slot);
            }
            deeds.add(span.operation, children);
        }
        self.habits.learn(&deeds);
        lacking.into_iter().for_each(|slot| self.mark_incomplete(slot, out));
    }

    /// A span has left something out, and so have those above it in its service, up to the entry.
    fn mark_incomplete(&mut self, mut slot: u32, out: &mut Vec<Joined>) {
        loop {
            let entry = &mut self.entries[slot as usize];
            let Some(span) = entry.span.as_ref().filter(|span| span.kind < 2) else { return };
            if std::mem::replace(&mut entry.is_incomplete, true) {
                return;
            }
            let (parent, service) = (span.parent, span.service);
            match self.keys.get(&parent).copied().filter(|_| parent != 0) {
                // Whoever called it has not come yet: joining tells.
                None if parent != 0 => return,
                Some(above) if self.entries[above as usize].span.is_none() => return,
                Some(above) if self.entries[above as usize].span.as_ref().is_some_and(|parent| parent.service == service) => slot = above,
                _ => return self.tell_incomplete(slot, out),
            }
        }
    }

    /// Tells of an entry that is incomplete.
    fn tell_incomplete(&self, slot: u32, out: &mut Vec<Joined>) {
        let Some(span) = self.entries[slot as usize].span.as_ref().filter(|span| !span.failed) else { return };
        let caller = self.keys.get(&span.parent).and_then(|above| self.entries[*above as usize].span.as_ref());
        let caller = caller.map(|caller| (caller.operation, span.window.max(caller.window)));
        out.push(Joined::Incomplete { operation: span.operation, window: span.window, caller });
    }

    /// The window is being closed: tells exclusive times; and spans that name a peer and have no child
    /// there called the peer.
    pub fn close(&mut self, window: u64, out: &mut Vec<Joined>) {
        self.open_from = window + 1;
        let later = self.unbooked.split_off(&(window + 1));
        let closing: Vec<u32> = std::mem::replace(&mut self.unbooked, later).into_values().flatten().collect();
        self.judge((&closing, window), out);
        for slot in closing {
            if self.entries[slot as usize].exclusive.is_none() {
                self.book_exclusive(slot, out);
            }
        }
        let later = self.peers.split_off(&(window + 1));
        for slot in std::mem::replace(&mut self.peers, later).into_values().flatten() {
            let entry = &mut self.entries[slot as usize];
            let is_open = entry.remote_children == 0 && entry.peer_said.is_none();
            if let Some(span) = entry.span.as_ref().filter(|span| span.peer != NOBODY && is_open) {
                let called = self.answering.get(&span.peer).copied().flatten().unwrap_or(span.peer);
                out.push(peer_of(span, called, false));
                entry.peer_said = Some(called);
            }
        }
    }

    /// Forgets spans of this and earlier windows; eases thinning when there is room again.
    pub fn evict(&mut self, window: u64) {
        let later = self.ages.split_off(&(window + 1));
        for slot in std::mem::replace(&mut self.ages, later).into_values().flatten() {
            let entry = &mut self.entries[slot as usize];
            if entry.key == 0 {
                continue;
            }
            if entry.window > window {
                self.ages.entry(entry.window).or_default().push(slot);
                continue;
            }
            self.drop_slot(slot);
        }
        if self.thinning > 0 && self.keys.len() < SPANS_MAX / 8 {
            self.thinning -= 1;
        }
    }

    fn drop_slot(&mut self, slot: u32) {
        let entry = std::mem::take(&mut self.entries[slot as usize]);
        self.keys.remove(&entry.key);
        self.free.push(slot);
    }

    /// Keeps half of the traces from here on. Placeholders go, their children stay.
    fn thin(&mut self) {
        self.thinning += 1;
        for slot in 0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX) {
            let entry = &self.entries[slot as usize];
            let is_kept = entry.span.as_ref().is_some_and(|span| self.keeps(&span.at.trace_id.0));
            if entry.key != 0 && !is_kept {
                self.drop_slot(slot);
            }
        }
        let entries = &self.entries;
        self.ages.values_mut().for_each(|slots| slots.retain(|slot| entries[*slot as usize].key != 0));
    }

    /// Spans and awaited parents in the table.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Remembers when a child called another service.
fn note_interval(calls: &mut Vec<(u64, u64)>, span: &Span) {
    if calls.len() < NESTED_MAX {
        calls.push((span.at.start.0, span.at.end.0));
    }
}

fn peer_of(span: &Span, peer: ServiceIndex, retract: bool) -> Joined {
    Joined::Peer { caller: span.operation, peer, window: span.window, failed: span.failed, retract }
}

/// Length of the union of intervals. Sorts them.
fn union_ns(intervals: &mut [(u64, u64)]) -> u64 {
    intervals.sort_unstable();
    let (mut total, mut reached) = (0, 0);
    for (start, end) in intervals.iter() {
        total += end.saturating_sub((*start).max(reached));
        reached = reached.max(*end);
    }
    total
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
