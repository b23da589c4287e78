//! One minute: its own tree of stacks, tables of tags and threads, and 20 bytes a record. An old minute
//! goes as a whole, so nothing is ever counted by references or swept.

use super::hasher::QuickMap;
use crate::process::ModuleId;
use geophone_proto::{SpanId, TraceId, UnixNanos, stacks::ThreadState};

/// A thread's own word on its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// What is kept of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Middle of what it stands for.
    pub at: UnixNanos,
    /// Time it stands for.
    pub weight_ns: u64,
    /// Doing what.
    pub state: ThreadState,
    /// Our number of the process.
    pub process: u32,
    /// Thread.
    pub tid: u32,
    /// Its word, or none.
    pub tag: Option<Tag>,
}

/// A sample found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was kept.
    pub entry: Entry,
    /// Outermost first.
    pub frames: Vec<(ModuleId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Since the beginning of the epoch.
    at_us: u32,
    weight_us: u32,
    stack: u32,
    /// 0 = none.
    tag: u32,
    /// Number of the thread, and two bits of the state above.
    thread: u32,
}

const STATE_SHIFT: u32 = 30;
const STATES: [ThreadState; 3] = [ThreadState::OnCpu, ThreadState::Blocked, ThreadState::Waiting];

/// A node of the tree: a frame below its caller. Node 0 is the root.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    frame: u32,
}

/// One minute.
#[derive(Debug)]
pub struct Epoch {
    /// When it began.
    pub from: UnixNanos,
    /// The last moment of a record in it.
    pub to: UnixNanos,
    records: Vec<Record>,
    nodes: Vec<Node>,
    frames: Vec<(ModuleId, u64)>,
    tags: Vec<Tag>,
    threads: Vec<(u32, u32)>,
    known_nodes: QuickMap<(u32, u32), u32>,
    known_frames: QuickMap<(ModuleId, u64), u32>,
    known_tags: QuickMap<Tag, u32>,
    known_threads: QuickMap<(u32, u32), u32>,
    per_process: QuickMap<u32, u32>,
}

impl Epoch {
    /// An empty one.
    pub fn new(from: UnixNanos) -> Self {
        Self {
            from,
            to: from,
            records: Vec::new(),
            nodes: vec![Node { parent: 0, frame: 0 }],
            frames: Vec::new(),
            tags: Vec::new(),
            threads: Vec::new(),
            known_nodes: QuickMap::default(),
            known_frames: QuickMap::default(),
            known_tags: QuickMap::default(),
            known_threads: QuickMap::default(),
            per_process: QuickMap::default(),
        }
    }

    /// The number of a stack (outermost first); the same stack has the same number.
    pub fn stack(&mut self, frames: &[(ModuleId, u64)]) -> u32 {
        let mut at = 0;
        for frame in frames {
            let next = self.frames.len() as u32;
            let number = *self.known_frames.entry(*frame).or_insert(next);
            if number == next {
                self.frames.push(*frame);
            }
            let next = self.nodes.len() as u32;
            let node = *self.known_nodes.entry((at, number)).or_insert(next);
            if node == next {
                self.nodes.push(Node { parent: at, frame: number });
            }
            at = node;
        }
        at
    }

    /// Keeps a record.
    pub fn push(&mut self, entry: &Entry, stack: u32) {
        let next = self.threads.len() as u32;
        let thread = *self.known_threads.entry((entry.process, entry.tid)).or_insert(next);
        if thread == next {
            self.threads.push((entry.process, entry.tid));
        }
        let tag = entry.tag.map_or(0, |tag| {
            let next = self.tags.len() as u32 + 1;
            let number = *self.known_tags.entry(tag).or_insert(next);
            if number == next {
                self.tags.push(tag);
            }
            number
        });
        let state = STATES.iter().position(|state| *state == entry.state).unwrap_or(0) as u32;
        let small = |ns: u64| u32::try_from(ns / 1_000).unwrap_or(u32::MAX);
        self.records.push(Record {
            at_us: small(entry.at.since(self.from)),
            weight_us: small(entry.weight_ns).max(1),
            stack,
            tag,
            thread: thread | state << STATE_SHIFT,
        });
        self.to = self.to.max(entry.at);
        *self.per_process.entry(entry.process).or_default() += 1;
    }

    /// Records of one process.
    pub fn of_process(&self, process: u32) -> u32 {
        self.per_process.get(&process).copied().unwrap_or(0)
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Memory, as the tables were allocated.
    pub fn bytes(&self) -> usize {
        // A hash table has 8/7 of its capacity in slots, each with one byte more.
        let table = |capacity: usize, slot: usize| capacity * (slot + 1) * 8 / 7;
        self.records.capacity() * size_of::<Record>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.frames.capacity() * 16
            + self.tags.capacity() * 24
            + self.threads.capacity() * 8
            + table(self.known_nodes.capacity(), 12)
            + table(self.known_frames.capacity(), 24)
            + table(self.known_tags.capacity(), 28)
            + table(self.known_threads.capacity(), 12)
            + table(self.per_process.capacity(), 8)
    }

    /// Nothing comes any more: only what answers need is kept.
    pub fn seal(&mut self) {
        self.known_nodes = QuickMap::default();
        self.known_frames = QuickMap::default();
        self.known_tags = QuickMap::default();
        self.known_threads = QuickMap::default();
        self.records.shrink_to_fit();
        self.nodes.shrink_to_fit();
        self.frames.shrink_to_fit();
        self.tags.shrink_to_fit();
        self.threads.shrink_to_fit();
    }

    /// Numbers of processes with records.
    pub fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.per_process.keys().copied()
    }

    /// Every record that is wanted; the caller says so from what is cheap to know.
    pub fn each(&self, is_wanted: impl Fn(&Entry) -> bool, mut take: impl FnMut(Found)) {
        for record in &self.records {
            let entry = self.entry(record);
            if is_wanted(&entry) {
                take(Found { entry, frames: self.frames_of(record.stack) });
            }
        }
    }

    fn entry(&self, record: &Record) -> Entry {
        let (process, tid) = self.threads[(record.thread & ((1 << STATE_SHIFT) - 1)) as usize];
        Entry {
            at: self.from.plus(u64::from(record.at_us) * 1_000),
            weight_ns: u64::from(record.weight_us) * 1_000,
            state: STATES[(record.thread >> STATE_SHIFT) as usize],
            process,
            tid,
            tag: record.tag.checked_sub(1).map(|number| self.tags[number as usize]),
        }
    }

    fn frames_of(&self, stack: u32) -> Vec<(ModuleId, u64)> {
        let mut frames = Vec::new();
        let mut at = stack;
        while at != 0 {
            let node = self.nodes[at as usize];
            frames.push(self.frames[node.frame as usize]);
            at = node.parent;
        }
        frames.reverse();
        frames
    }
}
