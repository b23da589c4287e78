//! Which samples belong to which spans, and what they add up to. Pure: samples and question in,
//! answer out. Called by every `StackSource`.

use crate::sample::{Frame, Sample};
use geophone_proto::stacks::{LinkClass, StackAnswer, StackRequest, Stacks, ThreadState, TopFunction, WantedSpan};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Functions in the table; the rest is in the folded text.
const TOP_MAX: usize = 200;

/// How a sample can be tied to a span without the thread's own word: same process (service and
/// instance known on both sides) or only same service, at a time within the span.
fn loose_link(sample: &Sample, request: &StackRequest) -> Option<LinkClass> {
    if sample.service != request.service {
        return None;
    }
    let same_instance = !request.instance.is_empty() && sample.instance == request.instance;
    Some(if same_instance { LinkClass::Process } else { LinkClass::Service })
}

fn is_tagged(sample: &Sample, span: &WantedSpan) -> bool {
    sample.trace_id == Some(span.trace_id) && sample.span_id == Some(span.span_id)
}

/// The samples of one span by the surest link there is; a tagged sample of another span never counts.
fn samples_of<'a>(span: &WantedSpan, request: &StackRequest, samples: &'a [Sample]) -> Option<(LinkClass, Vec<&'a Sample>)> {
    let tagged: Vec<&Sample> = samples.iter().filter(|sample| is_tagged(sample, span)).collect();
    if !tagged.is_empty() {
        return Some((LinkClass::Span, tagged));
    }
    let within = samples.iter().filter(|sample| (span.start..=span.end).contains(&sample.at) && sample.span_id.is_none());
    let linked: Vec<(LinkClass, &Sample)> = within.filter_map(|sample| loose_link(sample, request).map(|link| (link, sample))).collect();
    let surest = linked.iter().map(|(link, _)| *link).min()?;
    Some((surest, linked.into_iter().filter(|(link, _)| *link == surest).map(|(_, sample)| sample).collect()))
}

/// What a set of spans adds up to.
#[derive(Default)]
struct Sums {
    spans: u64,
    samples: u64,
    link: Option<LinkClass>,
    by_state: BTreeMap<ThreadState, u64>,
    /// (function, state) -> (self, total).
    functions: BTreeMap<(Frame, ThreadState), (u64, u64)>,
    folded: BTreeMap<String, u64>,
}

impl Sums {
    fn of(spans: &[WantedSpan], request: &StackRequest, samples: &[Sample]) -> Self {
        let mut sums = Self::default();
        for (link, found) in spans.iter().filter_map(|span| samples_of(span, request, samples)) {
            sums.spans += 1;
            sums.link = sums.link.max(Some(link));
            found.into_iter().for_each(|sample| sums.add(sample));
        }
        sums
    }

    fn add(&mut self, sample: &Sample) {
        self.samples += 1;
        *self.by_state.entry(sample.state).or_default() += sample.weight_ns;
        // Recursion counts once in the total.
        let distinct: BTreeSet<&Frame> = sample.stack.iter().collect();
        for frame in distinct {
            self.functions.entry((frame.clone(), sample.state)).or_default().1 += sample.weight_ns;
        }
        if let Some(leaf) = sample.stack.last() {
            self.functions.entry((leaf.clone(), sample.state)).or_default().0 += sample.weight_ns;
        }
        *self.folded.entry(folded_line(sample)).or_default() += sample.weight_ns;
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

/// Functions by how much more time they took than in as many normal spans.
fn top(flagged: &Sums, normal: &Sums) -> Vec<TopFunction> {
    let mut rows: Vec<TopFunction> = flagged
        .functions
        .iter()
        .map(|((frame, state), (self_ns, total_ns))| {
            let baseline = normal.functions.get(&(frame.clone(), *state)).map_or(0, |(_, total)| *total);
            TopFunction {
                function: frame.function.clone(),
                file: frame.file.clone(),
                line: frame.line,
                state: *state,
                self_ns: *self_ns,
                total_ns: *total_ns,
                baseline_total_ns: scaled(baseline, normal.spans, flagged.spans),
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(i128::from(row.total_ns) - i128::from(row.baseline_total_ns)));
    rows.truncate(TOP_MAX);
    rows
}

/// Answers a request from these samples. Cost: samples times spans. Never fails: no samples, no stacks,
/// and a note that says so.
pub fn attach(request: &StackRequest, samples: &[Sample]) -> StackAnswer {
    let flagged = Sums::of(&request.flagged, request, samples);
    let normal = Sums::of(&request.baseline, request, samples);
    let url = |kind: &str| format!("/api/v1/anomalies/{}/{kind}", request.anomaly_id);
    let stacks = flagged.link.map(|link| Stacks {
        link,
        spans_flagged: request.flagged.len() as u64,
        spans: flagged.spans,
        samples: flagged.samples,
        on_cpu_ns: flagged.state_ns(ThreadState::OnCpu),
        blocked_ns: flagged.state_ns(ThreadState::Blocked),
        waiting_ns: flagged.state_ns(ThreadState::Waiting),
        top: top(&flagged, &normal),
        folded: url("folded"),
        pprof: url("pprof"),
    });
    let note = if stacks.is_some() { String::new() } else { format!("no sample of `{}` falls into the flagged spans", request.service) };
    let folded_text = flagged.folded.iter().fold(String::new(), |mut text, (line, ns)| {
        let _ = writeln!(text, "{line} {ns}");
        text
    });
    StackAnswer { anomaly_id: request.anomaly_id.clone(), stacks, folded_text, note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{SpanId, TraceId, UnixNanos};

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
            stack: functions.iter().map(|name| Frame { function: (*name).into(), file: String::new(), line: 0 }).collect(),
        }
    }

    fn request() -> StackRequest {
        StackRequest {
            anomaly_id: "a".into(),
            service: "cart".into(),
            instance: String::new(),
            flagged: vec![span(1, 100, 200)],
            baseline: vec![span(2, 300, 400), span(3, 300, 400)],
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
    fn the_baseline_is_scaled_to_as_many_spans() {
        let samples =
            [sample(1, Some(1), &["hot"]), sample(2, Some(2), &["hot"]), sample(3, Some(3), &["hot"]), sample(4, Some(3), &["hot"])];
        let stacks = attach(&request(), &samples).stacks.expect("tagged samples");
        assert_eq!((stacks.top[0].total_ns, stacks.top[0].baseline_total_ns), (10, 15));
    }

    #[test]
    fn nothing_found_says_why() {
        let answer = attach(&request(), &[]);
        assert_eq!(answer.stacks, None);
        assert!(answer.note.contains("cart"));
    }
}
