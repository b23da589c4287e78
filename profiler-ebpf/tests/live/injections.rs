//! How often the stacks name the fault: many injections of four kinds, each asked about on its own.

use crate::{
    Logged, Target, Watching, first_of, lock, request,
    target::{EVERY_KIND, SPANS},
};
use geophone_profiler_ebpf::attach::belonging;
use geophone_proto::{UnixNanos, stacks::LinkClass};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

/// Injections of a kind where `GEOPHONE_INJECTIONS` does not say.
const QUICK: usize = 6;

/// Spans by injection: it is the first half of their trace's id.
fn by_injection(logged: &[Logged]) -> BTreeMap<u64, Vec<Logged>> {
    let mut groups: BTreeMap<u64, Vec<Logged>> = BTreeMap::new();
    for one in logged {
        let number = u64::from_be_bytes(one.span.trace_id.0[..8].try_into().expect("eight bytes"));
        groups.entry(number - 1).or_default().push(one.clone());
    }
    groups
}

/// Keeps one injection of each kind, for the test that needs no privileges.
fn record(watching: &Watching, logged: &[Logged], folder: &Path) {
    let (mut spans, mut samples) = (String::new(), String::new());
    for (number, mut group) in by_injection(logged).into_iter().skip(24).take(EVERY_KIND.len()) {
        // Some normal ones, some slow ones.
        group = group.split_off(2);
        group.truncate(9);
        for one in &group {
            writeln!(spans, "{}", json!({"injection": number, "is_slow": one.is_slow, "span": one.span})).expect("memory");
        }
        let request = request(&group);
        let evidence = watching.archive.evidence(&request, UnixNanos(u64::MAX));
        for mut sample in belonging(&request, &evidence, LinkClass::Span) {
            // Where it was built is nobody's business.
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a room lies in the house");
            // Small: the program's own frames, and what it called in the end.
            let depth = sample.stack.len();
            let mut place = 0;
            sample.stack.retain(|frame| {
                place += 1;
                frame.is_own() || place + 2 > depth
            });
            "live".clone_into(&mut sample.process);
            for frame in &mut sample.stack {
                let file = frame.file.trim_start_matches(&*root.to_string_lossy()).trim_start_matches('/').to_owned();
                frame.file = file.split_once("library/").map_or(file.clone(), |(_, rest)| format!("library/{rest}"));
                frame.module = frame.module.split('-').next().unwrap_or_default().to_owned();
            }
            writeln!(samples, "{}", serde_json::to_string(&sample).expect("plain values")).expect("memory");
        }
    }
    fs::write(folder.join("spans.jsonl"), spans).and_then(|()| fs::write(folder.join("samples.jsonl"), samples)).expect("written");
}

// Scenario: injection after injection, a few spans burn the CPU, sleep, wait for a lock or for the disk, each in a
// function of its own, beside normal spans; at the ordinary rate. `GEOPHONE_INJECTIONS=100` asks for more of each.
// `GEOPHONE_SESSION=tests/recorded` keeps four of them there.
// Guarantees: in at least 95 of 100 that function leads the difference and is the culprit, linked by span.
#[test]
fn the_fault_is_named_in_nearly_every_injection() {
    let _turn = lock();
    let each: usize = std::env::var("GEOPHONE_INJECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(QUICK);
    let Some(mut watching) = Watching::start(99) else { return };
    let target = Target::start("every", &[]);
    let from = watching.until_known(&target);
    let kinds = EVERY_KIND.len();
    let wanted = each * kinds;
    // Those around the moment when the target is known, and at the end, are not whole.
    let logged = target.log_until(from, (wanted + 2) * SPANS);
    watching.stop();
    let is_whole = |spans: &Vec<Logged>| spans.len() == SPANS && spans.iter().all(|one| one.span.start > from);
    let groups: Vec<_> = by_injection(&logged).into_iter().filter(|(_, spans)| is_whole(spans)).take(wanted).collect();
    let (mut named, mut asked, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (number, spans) in groups {
        let hot = EVERY_KIND[usize::try_from(number).expect("few") % kinds];
        *asked.entry(hot).or_insert(0) += 1;
        let answer = watching.archive.answer(&request(&spans), UnixNanos(u64::MAX));
        let stacks = answer.stacks.filter(|stacks| stacks.link == LinkClass::Span);
        let first = stacks.as_ref().and_then(|stacks| first_of(stacks).map(|first| first.0));
        let culprit = stacks.and_then(|stacks| Some(stacks.culprit?.function));
        if first.as_deref() == Some(hot) && culprit.as_ref().is_some_and(|function| function.ends_with(hot)) {
            *named.entry(hot).or_insert(0) += 1;
        } else {
            wrong.push((number, hot, first, culprit));
        }
    }
    eprintln!("named {named:?} of {asked:?}; else {wrong:?}");
    if let Some(folder) = std::env::var_os("GEOPHONE_SESSION") {
        record(&watching, &logged, Path::new(&folder));
    }
    assert_eq!(asked.values().sum::<usize>(), wanted);
    assert!(wrong.len() * 20 <= wanted, "{} of {wanted} injections are not named: {wrong:?}", wrong.len());
}
