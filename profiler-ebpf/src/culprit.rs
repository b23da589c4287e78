//! The one function in which flagged spans spend what normal ones do not. Pure; called by `attach`. Not the first row of
//! the table of functions: callers share the excess of what they call, and a row is of one state only.

use crate::sample::{Frame, Sample};
use geophone_proto::stacks::{Culprit, ThreadState};
use std::collections::{BTreeMap, BTreeSet};

/// A way inwards is followed as long as one function has this much of the whole excess.
const MOST: f64 = 0.6;
/// A function is new where normal spans spend this share of its time in it at most.
const NEW: f64 = 0.05;
/// It matters where it has this share of the whole excess, and of all time of the flagged spans.
const MATTERS: [f64; 2] = [0.3, 0.05];
/// Of new functions that have so much of what the one with most has, the outermost is meant: the others work for it.
const NEARLY: f64 = 0.6;
/// A helper is called from elsewhere too: what is on the way has less than this share of all its time.
const SPECIFIC: f64 = 0.95;
/// Fewer samples are chance.
const SAMPLES_MIN: u32 = 3;
/// What the compiler calls a function within a function.
const CLOSURE: &str = "::{{closure}}";

/// Time by state: on the CPU, blocked, waiting.
type Times = [f64; 3];
/// Function and file.
type Name<'a> = (&'a str, &'a str);

/// What a thread did itself, and all: on a busy machine everybody waits longer, wherever that happens to be.
const OWN: Times = [1.0, 1.0, 0.0];
const ALL: Times = [1.0, 1.0, 1.0];

fn total(times: &Times, look: &Times) -> f64 {
    times.iter().zip(look).map(|(time, weight)| time * weight).sum()
}

/// Time of flagged spans, and of as many normal ones.
#[derive(Default)]
struct Sides {
    flagged: Times,
    normal: Times,
}

impl Sides {
    fn excess(&self, look: &Times) -> f64 {
        total(&self.flagged, look) - total(&self.normal, look)
    }
}

/// A function as called on one way.
#[derive(Default)]
struct Node<'a> {
    times: Sides,
    /// Of the first sample that came here.
    frame: Option<&'a Frame>,
    below: BTreeMap<Name<'a>, Node<'a>>,
}

/// A function on whatever way.
#[derive(Default)]
struct Function<'a> {
    times: Sides,
    /// Of flagged spans, in which it did something itself.
    samples: u32,
    /// How deep it lies at least.
    depth: usize,
    frame: Option<&'a Frame>,
}

impl Function<'_> {
    /// The program's own, and hardly ever met in normal spans.
    fn is_new(&self) -> bool {
        let is_rare = |look: &Times| total(&self.times.normal, look) <= total(&self.times.flagged, look) * NEW;
        is_rare(&OWN) && is_rare(&ALL) && self.samples >= SAMPLES_MIN && self.frame.is_some_and(Frame::is_own)
    }
}

/// Both sides, as a tree of calls and by function.
#[derive(Default)]
pub struct Calls<'a> {
    root: Node<'a>,
    functions: BTreeMap<Name<'a>, Function<'a>>,
    normal_samples: u32,
}

const fn place(state: ThreadState) -> usize {
    match state {
        ThreadState::OnCpu => 0,
        ThreadState::Blocked => 1,
        ThreadState::Waiting => 2,
    }
}

impl<'a> Calls<'a> {
    /// Time in a flagged span.
    pub fn add_flagged(&mut self, sample: &'a Sample, ns: u64) {
        let counted = u32::from(sample.state != ThreadState::Waiting);
        self.add(sample, counted, |times| times.flagged[place(sample.state)] += ns as f64);
    }

    /// Time in a normal span; `scale` makes as many normal spans as there are flagged ones.
    pub fn add_normal(&mut self, sample: &'a Sample, ns: u64, scale: f64) {
        self.normal_samples += 1;
        self.add(sample, 0, |times| times.normal[place(sample.state)] += ns as f64 * scale);
    }

    fn add(&mut self, sample: &'a Sample, counted: u32, put: impl Fn(&mut Sides)) {
        let mut node = &mut self.root;
        put(&mut node.times);
        // Recursion counts once.
        let mut met: BTreeSet<Name<'a>> = BTreeSet::new();
        for (depth, frame) in sample.stack.iter().enumerate() {
            let name: Name<'a> = (&frame.function, &frame.file);
            node = node.below.entry(name).or_default();
            node.frame.get_or_insert(frame);
            put(&mut node.times);
            let function = self.functions.entry(name).or_insert_with(|| Function { depth, ..Function::default() });
            function.depth = function.depth.min(depth);
            if met.insert(name) {
                function.frame.get_or_insert(frame);
                function.samples += counted;
                put(&mut function.times);
            }
        }
    }

    /// The function that normal spans hardly ever meet and that has most of what the flagged ones do more.
    fn newest(&self) -> Option<(&Sides, &'a Frame)> {
        if self.normal_samples < SAMPLES_MIN {
            return None;
        }
        let (whole, all) = (self.root.times.excess(&OWN), total(&self.root.times.flagged, &OWN));
        let least = (whole * MATTERS[0]).max(all * MATTERS[1]);
        let excess = |function: &&Function<'_>| function.times.excess(&OWN);
        let new = || self.functions.values().filter(|function| function.is_new() && excess(function) >= least);
        let most = new().map(|function| excess(&function)).max_by(f64::total_cmp)?;
        let found = new().filter(|function| excess(function) >= most * NEARLY).min_by_key(|function| function.depth)?;
        Some((&found.times, found.frame?))
    }

    /// On the way of the excess, as long as one function has most of it: the innermost of the program's own that is no helper.
    fn innermost(&self, look: &Times) -> Option<(&Sides, &'a Frame)> {
        let least = self.root.times.excess(look) * MOST;
        let (mut node, mut found, mut specific) = (&self.root, None, None);
        if least <= 0.0 {
            return None;
        }
        loop {
            let next = node.below.iter().max_by(|(_, one), (_, two)| one.times.excess(look).total_cmp(&two.times.excess(look)));
            let Some((name, next)) = next.filter(|(_, next)| next.times.excess(look) >= least) else { return specific.or(found) };
            if let Some(frame) = next.frame.filter(|frame| frame.is_own()) {
                found = Some((&next.times, frame));
                let anywhere = self.functions.get(name).map_or(0.0, |function| total(&function.times.flagged, &ALL));
                specific = if total(&next.times.flagged, &ALL) >= anywhere * SPECIFIC { found } else { specific };
            }
            node = next;
        }
    }

    /// A function that is new and matters, else the innermost that has most of what the flagged spans do more, else of how
    /// much longer they last. None where they last no longer.
    pub fn culprit(&self) -> Option<Culprit> {
        let (times, frame) = self.newest().or_else(|| self.innermost(&OWN)).or_else(|| self.innermost(&ALL))?;
        // Sums of whole nanoseconds, and their differences rounded.
        let whole = |ns: f64| ns.max(0.0) as u64;
        let [on_cpu_ns, blocked_ns, waiting_ns] = times.flagged.map(whole);
        Some(Culprit {
            function: frame.function.trim_end_matches(CLOSURE).to_owned(),
            file: frame.file.clone(),
            line: frame.line,
            excess_ns: whole(times.excess(&ALL)),
            on_cpu_ns,
            blocked_ns,
            waiting_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::UnixNanos;

    fn sample(state: ThreadState, functions: &[&str]) -> Sample {
        Sample {
            at: UnixNanos(1),
            weight_ns: 1,
            state,
            service: String::new(),
            instance: String::new(),
            process: "till".into(),
            pid: 1,
            tid: 1,
            trace_id: None,
            span_id: None,
            stack: functions.iter().map(|name| Frame { function: (*name).into(), ..Frame::default() }).collect(),
        }
    }

    fn found(flagged: &[(&Sample, u64)], normal: &[(&Sample, u64)], scale: f64) -> Option<(String, u64)> {
        let mut calls = Calls::default();
        // In parts: one sample alone is chance.
        for part in [2, 3, 5] {
            flagged.iter().for_each(|(sample, ns)| calls.add_flagged(sample, ns * part / 10));
        }
        for part in [2, 3, 5] {
            normal.iter().for_each(|(sample, ns)| calls.add_normal(sample, ns * part / 10, scale));
        }
        calls.culprit().map(|culprit| (culprit.function, culprit.excess_ns))
    }

    #[test]
    fn who_waits_for_a_core_would_have_gone_on_there() {
        let on_cpu = sample(ThreadState::OnCpu, &["main", "checkout", "hot"]);
        let waiting = sample(ThreadState::Waiting, &["main", "checkout", "hot"]);
        let elsewhere = sample(ThreadState::Waiting, &["main", "checkout", "print"]);
        let flagged = [(&on_cpu, 100), (&waiting, 130), (&elsewhere, 60)];
        assert_eq!(found(&flagged, &[], 1.0), Some(("hot".into(), 230)));
    }

    #[test]
    fn the_programs_own_function_is_named_not_what_it_sleeps_in() {
        let asleep = sample(ThreadState::Blocked, &["main", "wait_for_printer", "std::thread::sleep", "sys_clock_nanosleep"]);
        assert_eq!(found(&[(&asleep, 50)], &[], 1.0), Some(("wait_for_printer".into(), 50)));
    }

    #[test]
    fn normal_time_is_taken_off_and_scaled() {
        let (usual, hot) = (sample(ThreadState::OnCpu, &["main", "usual"]), sample(ThreadState::OnCpu, &["main", "hot"]));
        assert_eq!(found(&[(&usual, 80), (&hot, 20)], &[(&usual, 40)], 2.0), Some(("hot".into(), 20)));
        assert_eq!(found(&[(&usual, 80)], &[(&usual, 40)], 2.0), None, "no longer than normal");
        assert_eq!(found(&[], &[], 1.0), None);
    }

    #[test]
    fn a_helper_that_everybody_calls_is_not_to_blame() {
        let usual = sample(ThreadState::OnCpu, &["main", "serve", "usual", "spin"]);
        let hot = sample(ThreadState::OnCpu, &["main", "serve", "hot::{{closure}}", "spin"]);
        assert_eq!(found(&[(&usual, 40), (&hot, 100)], &[(&usual, 40)], 1.0), Some(("hot".into(), 100)));
        assert_eq!(found(&[(&usual, 40), (&hot, 100)], &[], 1.0), Some(("hot".into(), 100)), "by the flagged spans alone");
        // In the same functions as ever, only longer.
        assert_eq!(found(&[(&usual, 140)], &[(&usual, 40)], 1.0), Some(("spin".into(), 100)));
    }

    #[test]
    fn a_busy_machine_does_not_hide_the_function() {
        let [hot, usual] = ["hot", "usual"].map(|name| sample(ThreadState::OnCpu, &["main", "serve", name]));
        let [waits, waits_too] = ["usual", "print"].map(|name| sample(ThreadState::Waiting, &["main", "serve", name]));
        let on_cpu = [(&hot, 10), (&hot, 10), (&hot, 10)];
        let flagged: Vec<_> = on_cpu.into_iter().chain([(&usual, 20), (&waits, 300), (&waits_too, 300)]).collect();
        assert_eq!(found(&flagged, &[(&usual, 20)], 1.0), Some(("hot".into(), 30)));
        // Nothing but waiting: nobody is to blame but who calls them all.
        assert_eq!(found(&flagged[3..], &[(&usual, 20)], 1.0), Some(("serve".into(), 600)));
        // Normal spans may have been the unlucky ones: what is new is new.
        assert_eq!(found(&flagged, &[(&usual, 20), (&waits, 2_000)], 1.0), Some(("hot".into(), 30)));
    }

    #[test]
    fn where_nobody_has_most_of_it_the_caller_is_named() {
        let [one, two] = ["one", "two"].map(|name| sample(ThreadState::OnCpu, &["main", "serve", name]));
        assert_eq!(found(&[(&one, 50), (&two, 50)], &[], 1.0), Some(("serve".into(), 100)));
    }
}
