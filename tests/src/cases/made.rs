//! Faults made by hand, of kinds and in services that the recordings do not have: so that it shows whether what was
//! made with the recorded faults in view carries over.
//!
//! A case is all fault-free rows of a nezha day, back to back, then two more minutes of them in which one service
//! returns early, throws, computes longer everywhere or in one operation, or hears and is heard late. Whatever waits
//! for it waits with it; whatever it no longer calls has no spans.

use super::{
    Story, Truth,
    nezha::{Day, moved},
    otlp::{self, GaugeRow, LogRow, Rows, SpanRow},
};
use geophone_proto::time::SECOND_NS;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The rows that hold the fault.
const FAULT_NS: u64 = 115 * SECOND_NS;
/// An incident about it opens within this; later ones are about the end of the recording.
const WITHIN_NS: u64 = 155 * SECOND_NS;
/// A service is worth a fault if it has so many spans in those rows.
const SPANS_MIN: usize = 60;
/// An operation is, if it runs so often.
const CALLS_MIN: usize = 6;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Metrics are taken from minutes so long after the last recorded fault.
const CALM_NS: u64 = 900 * SECOND_NS;
/// Spells in which nothing opens without a fault, by the first letters of a case.
const CLEAN: [(&str, &[usize]); 2] = [("ob", &[0, 1, 2, 3, 4, 5, 6, 7]), ("tt", &[0, 1, 5, 6, 7, 8, 10, 14])];
/// Bit that tells traces of the fault from the same rows before it.
const AGAIN: u64 = 1 << 52;

/// What is done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One operation returns at once.
    Return,
    /// One operation throws; half of its callers give up too.
    Exception,
    /// Everything it does takes about five times as long.
    CpuContention,
    /// One operation takes 0.15 s to 0.45 s more.
    CpuConsumed,
    /// Each call to it and from it takes 0.3 s more.
    NetworkDelay,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Return, "return"),
    (Kind::Exception, "exception"),
    (Kind::CpuContention, "cpu_contention"),
    (Kind::CpuConsumed, "cpu_consumed"),
    (Kind::NetworkDelay, "network_delay"),
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    /// Evenly between 0 and 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A fault and the trace it is put into.
struct Scene<'a> {
    kind: Kind,
    service: &'a str,
    operation: &'a str,
    /// Spans of one trace by their parent, in order of time.
    children: HashMap<u64, Vec<&'a SpanRow>>,
    dice: Dice,
    told: Vec<SpanRow>,
}

/// Seconds as nanoseconds.
fn ns(seconds: f64) -> i64 {
    (seconds * SECOND_NS as f64) as i64
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

impl Scene<'_> {
    /// Tells a span and all below it anew from `start` on; how much longer it took, and whether it threw.
    fn tell(&mut self, row: &SpanRow, start: u64) -> (i64, bool) {
        let slot = self.told.len();
        self.told.push(SpanRow { start_ns: start, ..row.clone() });
        let children = self.children.get(&row.span).cloned().unwrap_or_default();
        let below: i64 = children.iter().map(|child| signed(child.duration_ns)).sum();
        let own = (signed(row.duration_ns) - below).max(50_000);
        let is_hit = row.service == self.service && row.operation == self.operation;
        if is_hit && matches!(self.kind, Kind::Return | Kind::Exception) {
            return (self.last(slot, row, own / 2), self.kind == Kind::Exception);
        }
        let mut longer = 0;
        for child in children {
            let delay = self.delay(row, child);
            let offset = signed(child.start_ns) - signed(row.start_ns);
            let heard_late = if row.service == self.service { delay } else { 0 };
            let (change, threw) = self.tell(child, start.saturating_add_signed(offset + longer + heard_late));
            longer += change + delay;
            let is_own = child.service == row.service;
            if threw && (is_own || row.service.len().is_multiple_of(2)) {
                let until = offset + signed(child.duration_ns) + longer;
                return (self.last(slot, row, until), is_own || !row.service.len().is_multiple_of(3));
            }
        }
        if row.service == self.service && self.kind == Kind::CpuContention {
            longer += (own as f64 * (1.0 + 6.0 * self.dice.roll())) as i64;
        }
        if is_hit && self.kind == Kind::CpuConsumed {
            longer += ns(0.15 + 0.3 * self.dice.roll());
        }
        (self.last(slot, row, signed(row.duration_ns) + longer), false)
    }

    /// Lets a told span last so long; how much longer that is than it was.
    fn last(&mut self, slot: usize, row: &SpanRow, ns: i64) -> i64 {
        self.told[slot].duration_ns = u64::try_from(ns).unwrap_or(0).max(20_000);
        signed(self.told[slot].duration_ns) - signed(row.duration_ns)
    }

    fn delay(&mut self, caller: &SpanRow, callee: &SpanRow) -> i64 {
        let is_over = caller.service != callee.service && (caller.service == self.service || callee.service == self.service);
        if is_over && self.kind == Kind::NetworkDelay { ns(0.25 + 0.1 * self.dice.roll()) } else { 0 }
    }
}

/// The operation that a fault is put in: one that calls others where it is to leave them out (an inner one if it
/// throws), else an entry of the service.
fn operation<'a>(rows: &'a [SpanRow], service: &str, kind: Kind) -> Option<&'a str> {
    #[derive(Default)]
    struct Seen {
        calls: usize,
        children: usize,
        is_entry: bool,
    }
    let by_id: HashMap<(u64, u64), &SpanRow> = rows.iter().map(|row| ((row.trace, row.span), row)).collect();
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    for row in rows {
        let parent = by_id.get(&(row.trace, row.parent));
        if let Some(parent) = parent.filter(|parent| parent.service == service) {
            seen.entry(&parent.operation).or_default().children += 1;
        }
        if row.service == service {
            let own = seen.entry(&row.operation).or_default();
            own.calls += 1;
            own.is_entry |= parent.is_none_or(|parent| parent.service != service);
        }
    }
    let leaves_out = matches!(kind, Kind::Return | Kind::Exception);
    let fits = |own: &Seen| own.calls >= CALLS_MIN && if leaves_out { own.children > own.calls / 2 } else { own.is_entry };
    let wants_inner = kind == Kind::Exception;
    let mut fit: Vec<(&str, Seen)> = seen.into_iter().filter(|(_, own)| fits(own)).collect();
    fit.sort_by_key(|(_, own)| (own.is_entry == wants_inner, std::cmp::Reverse(own.calls)));
    fit.first().map(|(name, _)| *name)
}

impl Day {
    /// Calls with every fault in every service that is busy enough, one story at a time.
    ///
    /// # Errors
    /// The first that the call gives.
    pub fn made(&self, call: &mut dyn FnMut(Story) -> Result<(), String>) -> Result<(), String> {
        let system = self.cases.first().map_or("", |case| case.id.get(..2).unwrap_or(""));
        let clean = CLEAN.iter().find(|(name, _)| *name == system).map_or(&[0][..], |(_, clean)| clean);
        for (turn, service) in self.busy().iter().enumerate() {
            let (normal, tail, from_ns) = self.normal_rows(clean[turn % clean.len()]);
            for (kind, fault) in KINDS {
                let Some(operation) = operation(&tail.spans, service, kind) else { continue };
                let seed = 77 * turn as u64 + fault.len() as u64;
                let mut rows = with_fault(&tail, (kind, service, operation), seed);
                rows.spans.extend(normal.spans.iter().cloned());
                rows.logs.extend(normal.logs.iter().cloned());
                rows.gauges = self.calm_gauges(rows.spans.iter().map(|row| row.start_ns).min().unwrap_or(0), turn);
                if matches!(kind, Kind::CpuContention | Kind::CpuConsumed) {
                    rows.gauges.iter_mut().filter(|row| row.at_ns >= from_ns && row.service == *service).for_each(burn);
                }
                let truth = Truth {
                    case: format!("made-{system}-{fault}-{service}"),
                    system: format!("made, {system}, {fault}"),
                    cause: service.clone(),
                    fault: fault.into(),
                    from_ns,
                    to_ns: from_ns + WITHIN_NS,
                };
                call(Story { truth, requests: otlp::requests(rows), quiet_s: 0.0 })?;
            }
        }
        Ok(())
    }

    /// Services with spans enough, in order.
    fn busy(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        self.normal_rows(0).1.spans.into_iter().for_each(|row| *counts.entry(row.service).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count >= SPANS_MIN).map(|(service, _)| service).collect()
    }

    /// The normal rows back to back, those of the spell `first` and the ones after it once more, and when these begin.
    fn normal_rows(&self, first: usize) -> (Rows, Rows, u64) {
        let mut spells = self.spells();
        spells.sort_by_key(|(_, from, _)| *from);
        let mut at = self.cases.first().map_or(0, |case| case.inject_ns / MINUTE_NS * MINUTE_NS);
        let (mut normal, mut tail) = (Rows::default(), Rows::default());
        let by = |at: u64, from: u64| signed(at) - signed(from);
        for (rows, from, to) in &spells {
            let part = moved(rows, *to, by(at, *from));
            normal.spans.extend(part.spans);
            normal.logs.extend(part.logs);
            at += to - from;
        }
        let begin = at;
        for (rows, from, to) in spells.iter().cycle().skip(first) {
            let to = (*to).min(from + (begin + FAULT_NS - at));
            let part = moved(rows, to, by(at, *from));
            let again = |trace: u64| if trace == 0 { 0 } else { trace | AGAIN };
            tail.spans.extend(part.spans.into_iter().map(|row| SpanRow { trace: again(row.trace), ..row }));
            tail.logs.extend(part.logs.into_iter().map(|row| LogRow { trace: again(row.trace), ..row }));
            at += to - from;
            if at >= begin + FAULT_NS {
                break;
            }
        }
        (normal, tail, begin)
    }

    /// Pod metrics of half an hour far from any fault, other minutes each turn, from `start` on.
    fn calm_gauges(&self, start: u64, turn: usize) -> Vec<GaugeRow> {
        let last = self.cases.iter().map(|case| case.inject_ns).max().unwrap_or(0) + CALM_NS;
        let minutes: BTreeSet<u64> =
            self.gauges.iter().map(|row| row.at_ns / MINUTE_NS).filter(|minute| minute * MINUTE_NS > last).collect();
        let taken: HashMap<u64, u64> = minutes.into_iter().skip(7 * turn).take(30).zip(0..).collect();
        let moved = |row: &GaugeRow| {
            let minute = taken.get(&(row.at_ns / MINUTE_NS))?;
            Some(GaugeRow { at_ns: start + minute * MINUTE_NS + row.at_ns % MINUTE_NS, ..row.clone() })
        };
        self.gauges.iter().filter_map(moved).collect()
    }
}

fn burn(row: &mut GaugeRow) {
    if row.name.starts_with("CpuUsage") {
        row.value = 8.0 * row.value + 2.0;
    }
}

/// The rows with a fault in every trace that meets it.
fn with_fault(rows: &Rows, (kind, service, operation): (Kind, &str, &str), seed: u64) -> Rows {
    let mut traces: BTreeMap<u64, Vec<&SpanRow>> = BTreeMap::new();
    rows.spans.iter().for_each(|row| traces.entry(row.trace).or_default().push(row));
    let mut changed = Rows::default();
    for (trace, list) in traces {
        let ids: BTreeSet<u64> = list.iter().map(|row| row.span).collect();
        let mut children: HashMap<u64, Vec<&SpanRow>> = HashMap::new();
        list.iter().filter(|row| ids.contains(&row.parent)).for_each(|row| children.entry(row.parent).or_default().push(row));
        children.values_mut().for_each(|list| list.sort_by_key(|row| row.start_ns));
        let mut scene = Scene { kind, service, operation, children, dice: Dice(seed ^ trace), told: Vec::new() };
        for root in list.iter().filter(|row| !ids.contains(&row.parent)) {
            scene.tell(root, root.start_ns);
        }
        let thrown = scene.told.iter().filter(|row| kind == Kind::Exception && row.service == service && row.operation == operation);
        if !rows.logs.is_empty() {
            let body = "ERROR o.a.c.c.C.[.[.[.[dispatcherServlet]# Servlet.service() threw exception java.lang.RuntimeException: made";
            changed.logs.extend(thrown.map(|row| LogRow { at_ns: row.end_ns(), service: service.into(), trace, body: body.into() }));
        }
        changed.spans.append(&mut scene.told);
    }
    // A service that is no longer called writes nothing either.
    let part = |rows: &[SpanRow]| rows.iter().map(|row| (row.trace, row.service.clone())).collect::<BTreeSet<_>>();
    let (had, has) = (part(&rows.spans), part(&changed.spans));
    let writes = |row: &&LogRow| {
        let key = (row.trace, row.service.clone());
        !had.contains(&key) || has.contains(&key)
    };
    changed.logs.extend(rows.logs.iter().filter(writes).cloned());
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(span: u64, parent: u64, service: &str, start_ns: u64, duration_ns: u64) -> SpanRow {
        SpanRow { trace: 1, span, parent, service: service.into(), operation: service.into(), start_ns, duration_ns }
    }

    fn told(kind: Kind) -> Vec<(String, u64, u64)> {
        let spans = vec![
            span(1, 0, "front", 0, 100_000_000),
            span(2, 1, "shop", 10_000_000, 40_000_000),
            span(3, 2, "store", 20_000_000, 10_000_000),
            span(4, 1, "mail", 60_000_000, 20_000_000),
        ];
        let rows = with_fault(&Rows { spans, ..Rows::default() }, (kind, "shop", "shop"), 1);
        rows.spans.into_iter().map(|row| (row.service, row.start_ns, row.duration_ns)).collect()
    }

    #[test]
    fn who_returns_early_calls_nobody_and_who_waited_is_done_earlier() {
        let spans = told(Kind::Return);
        assert_eq!(spans[0], ("front".into(), 0, 75_000_000));
        assert_eq!(spans[1], ("shop".into(), 10_000_000, 15_000_000));
        assert_eq!(spans[2], ("mail".into(), 35_000_000, 20_000_000));
        assert_eq!(spans.len(), 3);
    }

    #[test]
    fn a_late_network_is_felt_by_callers_and_not_by_the_service_that_is_called() {
        let spans = told(Kind::NetworkDelay);
        let longer = |at: usize, was: u64| (spans[at].2 - was) / 100_000_000;
        assert_eq!((longer(2, 10_000_000), longer(3, 20_000_000)), (0, 0), "they do not feel it themselves");
        assert!((2..=3).contains(&longer(1, 40_000_000)), "its call: {spans:?}");
        assert!((5..=7).contains(&longer(0, 100_000_000)), "both calls: {spans:?}");
    }
}
