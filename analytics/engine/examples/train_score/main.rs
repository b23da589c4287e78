//! Learns the forests of `score` from the labelled public series beside the checkout.
//!
//! `cargo run -p geophone-engine --example train_score` writes `src/score/*.forest` (minutes); with `cross` it
//! writes nothing and prints what forests that learnt from three quarters of the series give on the last, four
//! times: the figures to expect on series never seen. Then `cargo xtask quality`. No series is told apart but
//! by how it behaves. Where an anomaly of a machine begins is learnt by half of the forests from machines alone
//! and by half from all series: each half alone did worse. KPI teaches nothing about where an anomaly of a
//! series alone begins: its labels made that forest worse on series never seen, its own too, so all of KPI is
//! such a series.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::cast_possible_truncation, missing_docs, reason = "a tool")]

mod boost;
#[allow(dead_code, reason = "shared with the quality test")]
#[path = "../../tests/quality/judge.rs"]
mod judge;
#[allow(dead_code, reason = "shared with the quality test")]
#[path = "../../tests/quality/labelled.rs"]
mod labelled;
mod lessons;

use boost::Forest;
use geophone_engine::score::{Entity, Judgement, Univariate, evidence_names};
use judge::Judged;
use labelled::Labelled;
use lessons::{BEGINS_ALONE, BEGINS_ENTITY, FORESTS, Lesson};
use std::{fs, path::Path};

/// Place of the undamped level among the evidence, from its end.
pub const PLAIN_FROM_END: usize = 30;
/// The set that teaches where an anomaly of a series alone begins.
const TEACHES_ALONE: &str = "nab";
const FOLDS: usize = 4;
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/score");

fn main() {
    let Some(folder) = labelled::folder() else {
        println!("no data sets at ../shared/datasets beside the checkout (or in $GEOPHONE_DATASETS): nothing learnt");
        return;
    };
    let lessons: Vec<Lesson> = ["nab", "kpi", "smd"].into_iter().flat_map(|set| read(&folder, set)).collect();
    if std::env::args().any(|argument| argument == "cross") {
        cross(&lessons);
        return;
    }
    let all: Vec<&Lesson> = lessons.iter().collect();
    let taught = Taught::by(&all);
    for (name, forest) in [("begins_alone", taught.alone), ("begins_entity", taught.entity), ("lies", taught.lies)] {
        let text = format!("# written by examples/train_score\n{}", forest.text());
        fs::write(format!("{SOURCE}/{name}.forest"), text).expect("the source folder can be written");
    }
}

/// What was learnt.
struct Taught {
    alone: Forest,
    entity: Forest,
    lies: Forest,
}

impl Taught {
    fn by(lessons: &[&Lesson]) -> Self {
        let alone: Vec<&Lesson> = lessons.iter().copied().filter(|lesson| lesson.set == TEACHES_ALONE).collect();
        let machines: Vec<&Lesson> = lessons.iter().copied().filter(|lesson| lesson.data.dimensions > 1).collect();
        let half = FORESTS / 2;
        let by_machines = lessons::begins(&machines, BEGINS_ENTITY, 0..half);
        let by_all = lessons::begins(lessons, BEGINS_ENTITY, half..FORESTS);
        Self {
            alone: lessons::begins(&alone, BEGINS_ALONE, 0..FORESTS),
            entity: Forest::mean(vec![by_machines, by_all]),
            lies: lessons::lies(lessons),
        }
    }
}

/// All series of a set, with folds by the hash of their names.
fn read(folder: &Path, set: &'static str) -> Vec<Lesson> {
    let mut found: Vec<Lesson> = labelled::read(folder, set, 1)
        .into_iter()
        .map(|data| Lesson { set, evidence: evidence(&data), data, width: evidence_names().len(), fold: 0 })
        .collect();
    found.sort_by_key(|lesson| hash(&lesson.data.id));
    found.iter_mut().enumerate().for_each(|(at, lesson)| lesson.fold = at % FOLDS);
    found
}

fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (fnv ^ (fnv >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

fn evidence(data: &Labelled) -> Vec<f32> {
    let mut evidence = Vec::new();
    if data.dimensions == 1 {
        let mut scorer = Univariate::default();
        for (&seconds, &value) in data.seconds.iter().zip(&data.values) {
            scorer.row(seconds, value);
            evidence.extend_from_slice(scorer.evidence());
        }
    } else {
        let mut scorer = Entity::new(data.dimensions);
        for (&seconds, row) in data.seconds.iter().zip(data.values.chunks_exact(data.dimensions)) {
            scorer.row(seconds, row);
            evidence.extend_from_slice(scorer.evidence());
        }
    }
    evidence
}

fn cross(lessons: &[Lesson]) {
    let mut judged: Vec<(usize, Judged<'_>)> = Vec::new();
    for fold in 0..FOLDS {
        let taught: Vec<&Lesson> = lessons.iter().filter(|lesson| lesson.fold != fold).collect();
        let taught = Taught::by(&taught);
        judged
            .extend(lessons.iter().enumerate().filter(|(_, lesson)| lesson.fold == fold).map(|(at, lesson)| (at, judge(lesson, &taught))));
    }
    println!("| set | half | NAB standard | VUS-PR | event F1 | false alarms a day and series |\n|---|---|---|---|---|---|");
    for set in ["nab", "kpi", "smd"] {
        for half in ["all", "first", "second"] {
            let belongs =
                |at: &usize| lessons[*at].set == set && (half == "all" || lessons[*at].fold.is_multiple_of(2) == (half == "first"));
            let (of_half, rest): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(at, _)| belongs(at));
            let (places, those): (Vec<usize>, Vec<Judged<'_>>) = of_half.into_iter().unzip();
            let events = judge::events(&those);
            let (nab, vus) = (judge::nab(&those), judge::vus(&those, 10));
            println!("| {set} | {half} | {nab:.1} | {vus:.3} | {:.3} | {:.3} |", events.f1(), events.false_alarms_a_day());
            judged = rest.into_iter().chain(places.into_iter().zip(those)).collect();
        }
    }
}

fn judge<'a>(lesson: &'a Lesson, taught: &Taught) -> Judged<'a> {
    let begins = if lesson.data.dimensions > 1 { &taught.entity } else { &taught.alone };
    let mut judgement = Judgement::default();
    let rows = (0..lesson.rows()).map(|row| {
        let numbers = lesson.numbers(row);
        judgement.row(numbers, [begins, &taught.lies].map(|forest| f64::from(forest.correction(numbers))))
    });
    let (scores, alerts) = rows.map(|row| (row.score, row.alert)).unzip();
    Judged { data: &lesson.data, scores, alerts }
}
