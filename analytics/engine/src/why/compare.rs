//! What sets the rows of an anomaly apart from those of before it: one attribute value at a time.
//!
//! The *cases* are the anomaly's failed rows, its slow (fast) ones, or all of them where the rate is
//! odd. What counts as slow is the limit, of a few, that tells most. A value carries the anomaly if its share of the cases is not what an even-handed fault would
//! give: the composition of the cases there always were, plus what has come on top in the composition
//! of all rows of before. The two-sample likelihood ratio of the two shares (G test) says how sure that
//! is, and ranks: a value that takes in others beside the cause, or only a part of it, says less. How
//! much of the deviation goes with the value is told by the rest: the rows without it, held against
//! the rows without it of before. Ids that name one row have no share and never pass.

use super::{
    cell::Kept,
    gallery::{Gallery, Sides},
};
use crate::hash::FixedMap;
use geophone_proto::{anomaly::AttributeSource, attributes};

/// Values told at most, symptoms included.
const TOLD_MAX: usize = 10;
/// Rows of before below which the anomaly's own ordinary rows stand in for them.
const BASELINE_MIN: usize = 20;
/// G above this is no chance, among some hundred values.
const SURE: f64 = 12.0;
/// Cases with the value at least, and the part of the deviation that goes with it.
const CASES_MIN: usize = 3;
const EXPLAINED_MIN: f64 = 0.05;
/// Longest value told.
const VALUE_MAX: usize = 200;

/// What is odd about the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Question {
    /// How many there are: `ratio` times as many as expected.
    Rate { ratio: f64 },
    /// How many of them fail.
    Errors,
    /// Which of them last longer (`up`) than at least a share `q` of those of before did; `mean` where the
    /// mean of the logarithms is tested, not the share beyond `q`.
    Duration { q: f64, up: bool, mean: bool },
}

/// What is left of a series in the anomaly's windows if a value is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Left {
    /// Share of the samples.
    pub(crate) evidence: f64,
    /// Share of the deviation.
    pub(crate) excess: f64,
}

/// A value that stands out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Carrier {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) source: AttributeSource,
    pub(crate) share: f64,
    pub(crate) baseline_share: f64,
    pub(crate) outcome: bool,
    pub(crate) left: Left,
    rank: f64,
}

/// Weighed sums over some rows.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rows: usize,
    weight: f64,
    squares: f64,
    y: f64,
    case_rows: usize,
    cases: f64,
    case_squares: f64,
}

impl Sums {
    fn add(&mut self, row: &Judged) {
        let weight = row.weight;
        self.rows += 1;
        self.weight += weight;
        self.squares += weight * weight;
        self.y += weight * row.y;
        if row.is_case {
            self.case_rows += 1;
            self.cases += weight;
            self.case_squares += weight * weight;
        }
    }

    fn without(self, other: Self) -> Self {
        Self { weight: self.weight - other.weight, y: self.y - other.y, ..self }
    }

    fn mean(self) -> f64 {
        self.y / self.weight
    }

    /// Rows of equal weight that would say as much (Kish).
    fn size(self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }

    fn case_size(self) -> f64 {
        if self.case_squares > 0.0 { self.cases * self.cases / self.case_squares } else { 0.0 }
    }
}

/// A row with what is measured in it.
struct Judged {
    weight: f64,
    y: f64,
    is_case: bool,
}

/// One attribute value.
#[derive(Clone)]
struct Pair<'a> {
    encoded: &'a [u8],
    source: AttributeSource,
    anomaly: Sums,
    baseline: Sums,
}

/// All attribute values of some rows, in the order in which they come up, and which of them each row has.
struct Index<'a> {
    pairs: Vec<Pair<'a>>,
    anomaly: Vec<Vec<usize>>,
    baseline: Vec<Vec<usize>>,
}

/// Shares of the rows of before that limits of what is slow may leave below them; mirrored for fast.
const LIMITS: [f64; 6] = [0.75, 0.9, 0.95, 0.98, 0.99, 0.995];

/// The values that carry an anomaly, strongest first, then those that only show it. Empty where the
/// rows do not tell. Cost: a pass over the encoded attributes of some hundred rows, and one over what
/// they index for each limit.
pub(crate) fn carriers(gallery: &Gallery, question: Question, mut sides: Sides<'_>) -> Vec<Carrier> {
    if sides.baseline.len() < BASELINE_MIN {
        if question != Question::Errors {
            return Vec::new();
        }
        // Little is known of before: requests that went well stand for it.
        sides.baseline = sides.anomaly.iter().filter(|kept| !kept.row.failed).copied().collect();
    }
    let (tested, limits) = match question {
        Question::Duration { q, up, .. } => {
            let mirrored = LIMITS.into_iter().map(|limit| if up { limit } else { 1.0 - limit });
            let beyond = mirrored.filter(|limit| if up { *limit >= q } else { *limit <= q });
            (quantile(&sides.baseline, q), beyond.filter_map(|limit| quantile(&sides.baseline, limit)).collect())
        }
        Question::Rate { .. } | Question::Errors => (Some(0), vec![0]),
    };
    let Some(tested) = tested else { return Vec::new() };
    let index = Index::of(gallery, &sides);
    let told = limits.into_iter().map(|limit| carriers_beyond(&index, question, &sides, (tested, limit)));
    let strength = |found: &Vec<Carrier>| found.iter().filter(|carrier| !carrier.outcome).map(|carrier| carrier.rank).fold(0.0, f64::max);
    told.max_by(|a, b| strength(a).total_cmp(&strength(b))).unwrap_or_default()
}

/// The carriers if rows beyond `limit` count as slow; `tested` = the limit of the series itself.
fn carriers_beyond(index: &Index<'_>, question: Question, sides: &Sides<'_>, limits: (u64, u64)) -> Vec<Carrier> {
    let mut pairs = index.pairs.clone();
    let mut all = (Sums::default(), Sums::default());
    for (kept, places) in sides.anomaly.iter().zip(&index.anomaly) {
        let row = judged(question, *kept, limits);
        all.0.add(&row);
        places.iter().for_each(|place| pairs[*place].anomaly.add(&row));
    }
    for (kept, places) in sides.baseline.iter().zip(&index.baseline) {
        let row = judged(question, *kept, limits);
        all.1.add(&row);
        places.iter().for_each(|place| pairs[*place].baseline.add(&row));
    }
    if all.0.case_rows < CASES_MIN || all.1.rows == 0 {
        return Vec::new();
    }
    let is_rare = |pair: &&Pair<'_>| pair.anomaly.case_rows + pair.baseline.rows < CASES_MIN;
    let mut found: Vec<Carrier> = pairs.iter().filter(|pair| !is_rare(pair)).filter_map(|pair| carrier(question, pair, all)).collect();
    found.sort_by(|a, b| {
        let by_rank = a.outcome.cmp(&b.outcome).then(b.rank.total_cmp(&a.rank));
        by_rank.then_with(|| (&a.key, &a.value, a.source).cmp(&(&b.key, &b.value, b.source)))
    });
    found.truncate(TOLD_MAX);
    found
}

/// What is measured in a row, and whether it is a case.
fn judged(question: Question, Kept { row, weight }: Kept<'_>, (tested, limit): (u64, u64)) -> Judged {
    let beyond = |limit: u64| match question {
        Question::Rate { .. } => true,
        Question::Errors => row.failed,
        Question::Duration { up: true, .. } => row.ns > limit,
        Question::Duration { up: false, .. } => row.ns < limit,
    };
    #[allow(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
    let y = match question {
        Question::Duration { mean: true, .. } => (row.ns.max(1) as f64).ln(),
        _ => f64::from(u8::from(beyond(tested))),
    };
    Judged { weight, y, is_case: beyond(limit) }
}

/// The duration that a share `q` of all rows stays below.
fn quantile(rows: &[Kept<'_>], q: f64) -> Option<u64> {
    let mut sorted: Vec<(u64, f64)> = rows.iter().map(|kept| (kept.row.ns, kept.weight)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let wanted = q * sorted.iter().map(|row| row.1).sum::<f64>();
    let mut seen = 0.0;
    let reached = sorted.iter().find(|row| {
        seen += row.1;
        seen >= wanted
    });
    reached.or(sorted.last()).map(|row| row.0)
}

impl<'a> Index<'a> {
    fn of(gallery: &'a Gallery, sides: &Sides<'a>) -> Self {
        let mut known: FixedMap<u64, usize> = FixedMap::default();
        let mut senders: FixedMap<u64, Vec<usize>> = FixedMap::default();
        let mut pairs: Vec<Pair<'a>> = Vec::new();
        let mut place = |pairs: &mut Vec<Pair<'a>>, encoded: &'a [u8], source: AttributeSource| {
            *known.entry(xxhash_rust::xxh3::xxh3_64_with_seed(encoded, source as u64)).or_insert_with(|| {
                pairs.push(Pair { encoded, source, anomaly: Sums::default(), baseline: Sums::default() });
                pairs.len() - 1
            })
        };
        let mut of_row = |kept: &Kept<'a>| {
            let of_sender = senders.entry(kept.row.sender).or_insert_with(|| {
                let resource = attributes::pairs(gallery.resource(kept.row.sender));
                resource.map(|pair| place(&mut pairs, pair, AttributeSource::Resource)).collect()
            });
            let mut at = of_sender.clone();
            at.extend(attributes::pairs(&kept.row.attributes).map(|pair| place(&mut pairs, pair, AttributeSource::Row)));
            at.sort_unstable();
            at.dedup();
            at
        };
        let anomaly = sides.anomaly.iter().map(&mut of_row).collect();
        let baseline = sides.baseline.iter().map(&mut of_row).collect();
        Self { pairs, anomaly, baseline }
    }
}

/// The two-sample G of shares `a` among `n` and `b` among `m`: twice the log likelihood ratio.
fn g_test((a, n): (f64, f64), (b, m): (f64, f64)) -> f64 {
    let pooled = (a * n + b * m) / (n + m);
    let term = |p: f64, q: f64| if p > 0.0 { p * (p / q.max(1e-12)).ln() } else { 0.0 };
    let divergence = |p: f64| term(p, pooled) + term(1.0 - p, 1.0 - pooled);
    2.0 * (n * divergence(a) + m * divergence(b)).max(0.0)
}

fn carrier(question: Question, pair: &Pair<'_>, (anomaly, baseline): (Sums, Sums)) -> Option<Carrier> {
    let share = pair.anomaly.cases / anomaly.cases;
    let baseline_share = pair.baseline.weight / baseline.weight;
    let usual = usual_share(pair, (anomaly, baseline));
    let is_less = matches!(question, Question::Rate { ratio } if ratio < 1.0);
    if (share < usual) != is_less || (share - usual).abs() < 1e-9 {
        return None;
    }
    let (n, m) = (anomaly.case_size(), baseline.size());
    let sure = g_test((share, n), (usual, m));
    let left = left(question, pair, (anomaly, baseline), (share, baseline_share))?;
    let explained = 1.0 - left.excess;
    if sure < SURE || explained < EXPLAINED_MIN {
        return None;
    }
    let (key, mut value) = attributes::pair_text(pair.encoded)?;
    value.truncate(value.floor_char_boundary(VALUE_MAX));
    let only_fails = pair.baseline.cases >= pair.baseline.weight && pair.baseline.case_rows >= CASES_MIN;
    let outcome = is_outcome(&key) || question == Question::Errors && only_fails;
    // Where several values name the same rows, the one that says more to people comes first.
    let taste = if is_instance(&key) {
        0.95
    } else if pair.source == AttributeSource::Resource || ["true", "false"].contains(&value.as_str()) {
        0.99
    } else {
        1.0
    };
    let rank = sure * explained * taste;
    Some(Carrier { key, value, source: pair.source, share, baseline_share, outcome, left, rank })
}

/// Share of the cases that the value would have if what is on top had hit everybody alike.
fn usual_share(pair: &Pair<'_>, (anomaly, baseline): (Sums, Sums)) -> f64 {
    let all = pair.baseline.weight / baseline.weight;
    let (was, is) = (baseline.cases / baseline.weight, anomaly.cases / anomaly.weight);
    if baseline.case_rows < CASES_MIN || is <= 0.0 {
        return all;
    }
    let of_cases = pair.baseline.cases / baseline.cases;
    let old = (was / is).min(1.0);
    old * of_cases + (1.0 - old) * all
}

/// What is left without the value; `None` where that cannot be told.
fn left(question: Question, pair: &Pair<'_>, (anomaly, baseline): (Sums, Sums), (share, usual): (f64, f64)) -> Option<Left> {
    if let Question::Rate { ratio } = question {
        let rest = if usual < 0.999 { ratio * (1.0 - share) / (1.0 - usual) } else { 1.0 };
        let excess = (rest - 1.0) / (ratio - 1.0);
        return excess.is_finite().then(|| Left { evidence: 1.0, excess: excess.clamp(0.0, 1.0) });
    }
    let evidence = (1.0 - pair.anomaly.weight / anomaly.weight).max(0.0);
    if evidence < 1e-3 {
        // Everybody has it: it carries all if it is new, nothing if it was always there.
        return Some(Left { evidence: 1.0, excess: (usual / 0.9).min(1.0) });
    }
    let before = if pair.baseline.weight < 0.999 * baseline.weight { baseline.without(pair.baseline).mean() } else { baseline.mean() };
    let excess = (anomaly.without(pair.anomaly).mean() - before) / (anomaly.mean() - baseline.mean());
    excess.is_finite().then(|| Left { evidence, excess: excess.clamp(0.0, 1.0) })
}

/// Attributes that tell how a request ended, by the names of the semantic conventions and usual ones.
fn is_outcome(key: &str) -> bool {
    const LAST: [&str; 4] = ["status_code", "error", "exception", "error_code"];
    const WHOLE: [&str; 10] = [
        "status",
        "outcome",
        "result",
        "http.status",
        "grpc.status",
        "grpc.code",
        "response.status",
        "http.response_content_length",
        "http.response.body.size",
        "http.response.size",
    ];
    let first = key.split('.').next().unwrap_or_default();
    let last = key.rsplit('.').next().unwrap_or_default();
    WHOLE.contains(&key) || ["error", "exception", "otel"].contains(&first) || LAST.contains(&last)
}

/// Attributes that name one instance of many.
fn is_instance(key: &str) -> bool {
    const WORDS: [&str; 8] = ["id", "uid", "pid", "name", "ip", "address", "hostname", "pod"];
    const FIRST: [&str; 9] = ["host", "k8s", "container", "process", "service", "thread", "net", "network", "server"];
    let first = key.split('.').next().unwrap_or_default();
    let last = key.rsplit(['.', '_']).next().unwrap_or_default();
    (FIRST.contains(&first) && WORDS.contains(&last)) || last == "id"
}
