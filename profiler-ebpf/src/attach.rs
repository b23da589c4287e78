//! Which samples belong to which spans, and what they add up to. Pure: samples and question in,
//! answer out. Called by every `StackSource`.

use crate::{culprit::Calls, sample::Sample};
use geophone_proto::{
    SpanId, TraceId,
    stacks::{Culprit, LinkClass, SpanPlace, StackAnswer, StackRequest, Stacks, ThreadState, TopFunction, WantedSpan},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

/// Functions in the table; the rest is in the folded text.
const TOP_MAX: usize = 200;

/// Where the spans of a request ran, and samples sorted for looking up.
struct Evidence<'a> {
    request: &'a StackRequest,
    places: HashMap<SpanId, &'a SpanPlace>,
    tagged: HashMap<(TraceId, SpanId), Vec<&'a Sample>>,
    untagged: Vec<&'a Sample>,
}

impl<'a> Evidence<'a> {
    fn new(request: &'a StackRequest, samples: &'a [Sample]) -> Self {
        let places = request.places.iter().map(|place| (place.span_id, place)).collect();
        let mut evidence = Self { request, places, tagged: HashMap::new(), untagged: Vec::new() };
        for sample in samples {
            match (sample.trace_id, sample.span_id) {
                (Some(trace), Some(span)) => evidence.tagged.entry((trace, span)).or_default().push(sample),
                // A sample tagged with another span never counts by time.
                _ if sample.service == request.service => evidence.untagged.push(sample),
                _ => {}
            }
        }
        evidence
    }

    /// Samples of one span by one kind of link, each with the time that falls into the span.
    fn of(&self, span: &WantedSpan, link: LinkClass) -> Vec<(&'a Sample, u64)> {
        if link == LinkClass::Span {
            let tagged = self.tagged.get(&(span.trace_id, span.span_id));
            return tagged.into_iter().flatten().map(|sample| (*sample, sample.weight_ns)).collect();
        }
        let place = self.places.get(&span.span_id).copied();
        let linked = self.untagged.iter().filter(|sample| self.is_linked(sample, place, link));
        linked.filter_map(|sample| Some((*sample, within(sample, span)?))).collect()
    }

    /// Without the thread's own word: same thread or process as the span's attributes say, or only the
    /// same service.
    fn is_linked(&self, sample: &Sample, place: Option<&SpanPlace>, link: LinkClass) -> bool {
        let same_pid = place.is_some_and(|place| place.pid != 0 && place.pid == sample.pid);
        let instance = place.map(|place| &place.instance).filter(|instance| !instance.is_empty()).unwrap_or(&self.request.instance);
        let same_instance = !instance.is_empty() && sample.instance == *instance;
        let same_thread = place.is_some_and(|place| place.tid != 0 && place.tid == sample.tid);
        match link {
            LinkClass::Span => false,
            LinkClass::Thread => same_thread && (same_pid || same_instance),
            LinkClass::Process => same_pid || same_instance,
            LinkClass::Service => true,
        }
    }
}

/// Time of an untagged sample within a span: all of a moment on the CPU, the common part of an interval.
fn within(sample: &Sample, span: &WantedSpan) -> Option<u64> {
    if sample.state == ThreadState::OnCpu {
        return (span.start..=span.end).contains(&sample.at).then_some(sample.weight_ns);
    }
    let half = sample.weight_ns / 2;
    let (from, to) = (sample.at.minus(half).max(span.start), sample.at.plus(half).min(span.end));
    (from < to).then(|| to.since(from))
}

/// Of one function in one state.
#[derive(Clone, Copy, Default)]
struct Sum {
    line: u32,
    self_ns: u64,
    total_ns: u64,
    /// How deep it lies at most, where it is the program's own; 0 elsewhere.
    own_depth: usize,
}

/// What a set of spans adds up to.
#[derive(Default)]
struct Sums {
    spans: u64,
    samples: u64,
    by_state: BTreeMap<ThreadState, u64>,
    /// By function, file and state: lines differ from call to call.
    functions: BTreeMap<(String, String, ThreadState), Sum>,
    folded: BTreeMap<String, u64>,
}

impl Sums {
    fn of(spans: &[WantedSpan], evidence: &Evidence<'_>, link: LinkClass) -> Self {
        let mut sums = Self::default();
        for found in spans.iter().map(|span| evidence.of(span, link)).filter(|found| !found.is_empty()) {
            sums.spans += 1;
            found.into_iter().for_each(|(sample, ns)| sums.add(sample, ns));
        }
        sums
    }

    fn add(&mut self, sample: &Sample, ns: u64) {
        self.samples += 1;
        *self.by_state.entry(sample.state).or_default() += ns;
        // Recursion counts once in the total.
        let mut met: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (depth, frame) in (1..).zip(&sample.stack) {
            let is_first = met.insert((&frame.function, &frame.file));
            let sum = self.function(&frame.function, &frame.file, frame.line, sample.state);
            sum.total_ns += if is_first { ns } else { 0 };
            sum.own_depth = sum.own_depth.max(if frame.is_own() { depth } else { 0 });
        }
        if let Some(leaf) = sample.stack.last() {
            self.function(&leaf.function, &leaf.file, leaf.line, sample.state).self_ns += ns;
        }
        *self.folded.entry(folded_line(sample)).or_default() += ns;
    }

    fn function(&mut self, function: &str, file: &str, line: u32, state: ThreadState) -> &mut Sum {
        let sum = self.functions.entry((function.to_owned(), file.to_owned(), state)).or_default();
        // The line that most often comes first stands for the function.
        if sum.line == 0 {
            sum.line = line;
        }
        sum
    }

    fn state_ns(&self, state: ThreadState) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }
}

fn folded_line(sample: &Sample) -> String {
    let state = match sample.state {
        ThreadState::OnCpu => "[on_cpu]",
        ThreadState::Blocked => "[blocked]",
        ThreadState::Waiting => "[waiting]",
    };
    let clean = |text: &str| text.replace([';', '\n'], ":");
    let mut line = format!("{};{state}", clean(&sample.process));
    for frame in &sample.stack {
        let _ = write!(line, ";{}", clean(&frame.function));
    }
    line
}

/// Scales what `normal` spans took to as many spans as were flagged.
fn scaled(total_ns: u64, normal: u64, flagged: u64) -> u64 {
    if normal == 0 { 0 } else { u64::try_from(u128::from(total_ns) * u128::from(flagged) / u128::from(normal)).unwrap_or(u64::MAX) }
}

/// Functions by how much more time they took than in as many normal spans; of equals, those first that
/// took it themselves.
fn top(flagged: &Sums, normal: &Sums) -> Vec<TopFunction> {
    let mut rows: Vec<(usize, TopFunction)> = flagged
        .functions
        .iter()
        .map(|(key, sum)| {
            let (function, file, state) = key;
            let baseline = normal.functions.get(key).map_or(0, |sum| sum.total_ns);
            let row = TopFunction {
                function: function.clone(),
                file: file.clone(),
                line: sum.line,
                state: *state,
                self_ns: sum.self_ns,
                total_ns: sum.total_ns,
                baseline_total_ns: scaled(baseline, normal.spans, flagged.spans),
            };
            (sum.own_depth, row)
        })
        .collect();
    let excess = |row: &TopFunction| i128::from(row.total_ns) - i128::from(row.baseline_total_ns);
    // A chain of callers shares its excess: the innermost function that is the program's own says most.
    rows.sort_by_key(|(own_depth, row)| Reverse((excess(row), *own_depth, row.self_ns)));
    rows.truncate(TOP_MAX);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Lines in order, each count scaled from `normal` spans to `flagged` ones.
fn folded_text(sums: &Sums, (normal, flagged): (u64, u64)) -> String {
    sums.folded.iter().fold(String::new(), |mut text, (line, ns)| {
        let _ = writeln!(text, "{line} {}", scaled(*ns, normal, flagged));
        text
    })
}

/// Answers a request from these samples, by the surest link that any flagged span has; the baseline is
/// looked up by the same, so that like is compared with like. Cost: samples times spans. Never fails: no
/// samples, no stacks, and a note that says so.
pub fn attach(request: &StackRequest, samples: &[Sample]) -> StackAnswer {
    let evidence = Evidence::new(request, samples);
    let has = |link: &LinkClass| request.flagged.iter().any(|span| !evidence.of(span, *link).is_empty());
    let links = [LinkClass::Span, LinkClass::Thread, LinkClass::Process, LinkClass::Service];
    let Some(link) = links.into_iter().find(has) else {
        let note = format!("no sample of `{}` falls into the flagged spans", request.service);
        return StackAnswer {
            anomaly_id: request.anomaly_id.clone(),
            stacks: None,
            folded_text: String::new(),
            baseline_text: String::new(),
            note,
        };
    };
    let flagged = Sums::of(&request.flagged, &evidence, link);
    let normal = Sums::of(&request.baseline, &evidence, link);
    let url = |kind: &str| format!("/api/v1/anomalies/{}/{kind}", request.anomaly_id);
    let stacks = Stacks {
        link,
        spans_flagged: request.flagged.len() as u64,
        spans: flagged.spans,
        samples: flagged.samples,
        on_cpu_ns: flagged.state_ns(ThreadState::OnCpu),
        blocked_ns: flagged.state_ns(ThreadState::Blocked),
        waiting_ns: flagged.state_ns(ThreadState::Waiting),
        culprit: culprit(request, &evidence, (link, flagged.spans, normal.spans)),
        top: top(&flagged, &normal),
        folded: url("folded"),
        pprof: url("pprof"),
    };
    StackAnswer {
        anomaly_id: request.anomaly_id.clone(),
        stacks: Some(stacks),
        folded_text: folded_text(&flagged, (1, 1)),
        baseline_text: folded_text(&normal, (normal.spans, flagged.spans)),
        note: String::new(),
    }
}

fn culprit(request: &StackRequest, evidence: &Evidence<'_>, (link, flagged, normal): (LinkClass, u64, u64)) -> Option<Culprit> {
    let mut calls = Calls::default();
    let scale = flagged as f64 / normal.max(1) as f64;
    for (sample, ns) in request.flagged.iter().flat_map(|span| evidence.of(span, link)) {
        calls.add_flagged(sample, ns);
    }
    for (sample, ns) in request.baseline.iter().flat_map(|span| evidence.of(span, link)) {
        calls.add_normal(sample, ns, scale);
    }
    calls.culprit()
}

/// The samples that such a link ties to flagged or normal spans, each once, in their order.
pub fn belonging(request: &StackRequest, samples: &[Sample], link: LinkClass) -> Vec<Sample> {
    let evidence = Evidence::new(request, samples);
    let spans = request.flagged.iter().chain(&request.baseline);
    let found: HashSet<*const Sample> =
        spans.flat_map(|span| evidence.of(span, link)).map(|(sample, _)| std::ptr::from_ref(sample)).collect();
    samples.iter().filter(|sample| found.contains(&std::ptr::from_ref(*sample))).cloned().collect()
}

/// Samples of any subject as folded text.
pub fn folded(samples: &[Sample]) -> String {
    let mut sums = Sums::default();
    for sample in samples {
        *sums.folded.entry(folded_line(sample)).or_default() += sample.weight_ns;
    }
    folded_text(&sums, (1, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Frame;
    use geophone_proto::UnixNanos;

    fn span(number: u8, start: u64, end: u64) -> WantedSpan {
        WantedSpan { trace_id: TraceId([number; 16]), span_id: SpanId([number; 8]), start: UnixNanos(start), end: UnixNanos(end) }
    }

    fn sample(at: u64, tag: Option<u8>, functions: &[&str]) -> Sample {
        Sample {
            at: UnixNanos(at),
            weight_ns: 10,
            state: ThreadState::OnCpu,
            service: "cart".into(),
            instance: "cart-1".into(),
            process: "cart".into(),
            pid: 1,
            tid: 1,
            trace_id: tag.map(|number| TraceId([number; 16])),
            span_id: tag.map(|number| SpanId([number; 8])),
            stack: functions.iter().map(|name| Frame { function: (*name).into(), ..Frame::default() }).collect(),
        }
    }

    fn request() -> StackRequest {
        StackRequest {
            anomaly_id: "a".into(),
            service: "cart".into(),
            instance: String::new(),
            flagged: vec![span(1, 100, 200)],
            baseline: vec![span(2, 300, 400), span(3, 300, 400)],
            places: Vec::new(),
        }
    }

    #[test]
    fn a_thread_that_says_its_span_beats_time() {
        let samples =
            [sample(150, Some(1), &["main", "hot"]), sample(151, None, &["main", "other"]), sample(152, Some(9), &["main", "foreign"])];
        let answer = attach(&request(), &samples);
        let stacks = answer.stacks.expect("one sample is tagged");
        assert_eq!((stacks.link, stacks.samples, stacks.on_cpu_ns), (LinkClass::Span, 1, 10));
        assert_eq!(answer.folded_text, "cart;[on_cpu];main;hot 10\n");
    }

    #[test]
    fn without_tags_time_and_service_decide_and_the_link_says_so() {
        let answer = attach(&request(), &[sample(150, None, &["main"]), sample(250, None, &["main"])]);
        assert_eq!(answer.stacks.map(|stacks| (stacks.link, stacks.samples)), Some((LinkClass::Service, 1)));
        let with_instance = StackRequest { instance: "cart-1".into(), ..request() };
        assert_eq!(attach(&with_instance, &[sample(150, None, &["main"])]).stacks.map(|stacks| stacks.link), Some(LinkClass::Process));
    }

    #[test]
    fn attributes_of_the_span_name_its_process_and_thread() {
        let place = |tid| vec![SpanPlace { span_id: SpanId([1; 8]), pid: 1, tid, instance: String::new() }];
        let link = |places| attach(&StackRequest { places, ..request() }, &[sample(150, None, &["main"])]).stacks.map(|stacks| stacks.link);
        assert_eq!(link(place(0)), Some(LinkClass::Process));
        assert_eq!(link(place(1)), Some(LinkClass::Thread));
        assert_eq!(link(place(7)), Some(LinkClass::Process), "such numbers are not always the kernel's");
    }

    #[test]
    fn what_belongs_is_kept_once_and_nothing_else() {
        let samples =
            [sample(150, Some(1), &["hot"]), sample(151, None, &["other"]), sample(350, Some(2), &["normal"]), sample(900, Some(9), &[])];
        assert_eq!(belonging(&request(), &samples, LinkClass::Span), [samples[0].clone(), samples[2].clone()]);
        assert_eq!(belonging(&request(), &samples, LinkClass::Service), [samples[1].clone()]);
    }

    #[test]
    fn one_kind_of_link_for_all() {
        let flagged = vec![span(1, 100, 200), span(4, 100, 200)];
        let samples = [sample(150, Some(1), &["main", "hot"]), sample(160, None, &["main", "idle"])];
        let stacks = attach(&StackRequest { flagged, ..request() }, &samples).stacks.expect("one is tagged");
        assert_eq!((stacks.link, stacks.spans, stacks.spans_flagged, stacks.samples), (LinkClass::Span, 1, 2, 1));
    }

    #[test]
    fn of_a_long_sleep_only_the_part_within_the_span_counts() {
        let asleep = Sample { weight_ns: 1_000, state: ThreadState::Blocked, ..sample(550, None, &["main", "sleep"]) };
        let stacks = attach(&request(), &[asleep]).stacks.expect("it overlaps");
        assert_eq!((stacks.blocked_ns, stacks.on_cpu_ns), (100, 0));
    }

    #[test]
    fn the_baseline_is_scaled_to_as_many_spans() {
        let samples =
            [sample(1, Some(1), &["hot"]), sample(2, Some(2), &["hot"]), sample(3, Some(3), &["hot"]), sample(4, Some(3), &["hot"])];
        let stacks = attach(&request(), &samples).stacks.expect("tagged samples");
        assert_eq!((stacks.top[0].total_ns, stacks.top[0].baseline_total_ns), (10, 15));
    }

    #[test]
    fn of_a_chain_with_equal_excess_the_programs_innermost_is_first() {
        let frame = |function: &str, file: &str, module: &str| Frame {
            function: function.into(),
            file: file.into(),
            module: module.into(),
            line: 1,
        };
        let asleep = Sample {
            state: ThreadState::Blocked,
            stack: vec![
                frame("main", "src/main.rs", "cart"),
                frame("cart::wait", "src/wait.rs", "cart"),
                frame("std::thread::sleep", "/rustc/abc/library/std/src/thread/mod.rs", "cart"),
                frame("clock_nanosleep", "", "libc.so.6"),
                frame("sys_clock_nanosleep", "", ""),
            ],
            ..sample(150, Some(1), &[])
        };
        let stacks = attach(&request(), &[asleep]).stacks.expect("tagged");
        assert_eq!(stacks.top.iter().map(|row| row.function.as_str()).take(2).collect::<Vec<_>>(), ["cart::wait", "main"]);
    }

    #[test]
    fn nothing_found_says_why() {
        let answer = attach(&request(), &[]);
        assert_eq!(answer.stacks, None);
        assert!(answer.note.contains("cart"));
    }
}
