//! Gradient boosted oblivious trees on weighted logistic loss (Friedman 2001; Newton steps, one question a
//! depth), from a prior that is one number's logistic regression. No randomness but a seed.

/// Edges tried for each number.
const EDGES: usize = 48;
/// Rows whose values make the edges.
const SAMPLED: usize = 20_000;
/// Edges lie this much beyond a value seen, relative, so that rounding does not matter.
const BEYOND: f32 = 1e-5;

/// Learning set: `width` numbers a row.
#[derive(Default)]
pub struct Rows {
    pub width: usize,
    pub numbers: Vec<f32>,
    pub labels: Vec<bool>,
    pub weights: Vec<f32>,
}

impl Rows {
    pub fn push(&mut self, numbers: &[f32], label: bool, weight: f32) {
        self.numbers.extend_from_slice(numbers);
        self.labels.push(label);
        self.weights.push(weight);
    }

    fn number(&self, row: usize, place: usize) -> f32 {
        self.numbers[row * self.width + place]
    }

    fn label(&self, row: usize) -> f32 {
        f32::from(u8::from(self.labels[row]))
    }
}

/// How a forest is grown.
#[derive(Clone, Copy)]
pub struct Growth {
    pub trees: usize,
    pub depth: usize,
    pub step: f32,
    /// Weight that pulls leaves to 0, and least weight (second derivative) of a leaf.
    pub pull: f64,
    pub least: f64,
    /// Share of the numbers that each tree may ask, and what decides which.
    pub share: f64,
    pub seed: u64,
}

pub struct Tree {
    pub questions: Vec<(usize, f32)>,
    pub leaves: Vec<f32>,
}

/// `base + slope * number[prior] + trees`.
pub struct Forest {
    prior: usize,
    base: f32,
    slope: f32,
    pub trees: Vec<Tree>,
}

impl Forest {
    pub fn log_odds(&self, numbers: &[f32]) -> f32 {
        self.base + self.slope * (numbers[self.prior] + self.correction(numbers))
    }

    /// What the trees add, in units of the prior.
    pub fn correction(&self, numbers: &[f32]) -> f32 {
        let answers = |tree: &Tree| tree.questions.iter().fold(0, |at, &(place, edge)| at * 2 + usize::from(numbers[place] > edge));
        self.trees.iter().map(|tree| tree.leaves[answers(tree)]).sum::<f32>() / self.slope
    }

    /// The mean of several forests' corrections as one forest's; its log odds mean nothing.
    pub fn mean(forests: Vec<Self>) -> Self {
        let count = forests.len() as f32;
        let prior = forests.first().map_or(0, |forest| forest.prior);
        let shared = |forest: Self| {
            let of = forest.slope * count;
            forest.trees.into_iter().map(move |tree| Tree { leaves: tree.leaves.iter().map(|leaf| leaf / of).collect(), ..tree })
        };
        Self { prior, base: 0.0, slope: 1.0, trees: forests.into_iter().flat_map(shared).collect() }
    }

    /// As `score/forest.rs` reads it.
    pub fn text(&self) -> String {
        let line = |tree: &Tree| {
            let asked: Vec<String> = tree.questions.iter().map(|(place, edge)| format!("{place} {edge}")).collect();
            let leaves: Vec<String> = tree.leaves.iter().map(|leaf| format!("{:.5}", leaf / self.slope)).collect();
            format!("{} | {}\n", asked.join(" "), leaves.join(" "))
        };
        self.trees.iter().map(line).collect()
    }

    pub fn grow(rows: &Rows, prior: usize, growth: Growth) -> Self {
        let (base, slope) = logistic(rows, prior);
        let edges: Vec<Vec<f32>> = (0..rows.width).map(|place| edges(rows, place)).collect();
        let below = |place: usize, row: usize| edges[place].partition_point(|edge| rows.number(row, place) > *edge) as u8;
        let count = rows.labels.len();
        let bins: Vec<Vec<u8>> = (0..rows.width).map(|place| (0..count).map(|row| below(place, row)).collect()).collect();
        let mut odds: Vec<f32> = (0..count).map(|row| base + slope * rows.number(row, prior)).collect();
        let mut dice = Dice(growth.seed);
        let mut trees = Vec::new();
        for _ in 0..growth.trees {
            let slopes: Vec<[f32; 2]> = (0..count).map(|row| derivatives(rows, row, odds[row])).collect();
            let asked: Vec<usize> = (0..rows.width).filter(|_| dice.uniform() < growth.share).collect();
            let mut leaf = vec![0usize; count];
            let mut questions = Vec::new();
            for depth in 0..growth.depth {
                let level = Level { bins: &bins, slopes: &slopes, leaf: &leaf, leaves: 1 << depth, growth };
                let Some((place, edge)) = level.best(&asked, &edges) else { break };
                questions.push((place, edges[place][edge]));
                leaf.iter_mut().zip(&bins[place]).for_each(|(leaf, bin)| *leaf = *leaf * 2 + usize::from(usize::from(*bin) > edge));
            }
            let mut sums = vec![[0.0f64; 2]; 1 << questions.len()];
            for (leaf, slope) in leaf.iter().zip(&slopes) {
                sums[*leaf][0] += f64::from(slope[0]);
                sums[*leaf][1] += f64::from(slope[1]);
            }
            let leaves: Vec<f32> = sums.iter().map(|sum| (f64::from(growth.step) * sum[0] / (sum[1] + growth.pull)) as f32).collect();
            odds.iter_mut().zip(&leaf).for_each(|(odds, leaf)| *odds += leaves[*leaf]);
            if !questions.is_empty() {
                trees.push(Tree { questions, leaves });
            }
        }
        Self { prior, base, slope, trees }
    }
}

/// One depth of a tree that grows.
struct Level<'a> {
    bins: &'a [Vec<u8>],
    slopes: &'a [[f32; 2]],
    leaf: &'a [usize],
    leaves: usize,
    growth: Growth,
}

impl Level<'_> {
    /// The question, asked of all leaves, that gains most.
    fn best(&self, asked: &[usize], edges: &[Vec<f32>]) -> Option<(usize, usize)> {
        let mut best = (1e-9, None);
        for &place in asked {
            let width = edges[place].len() + 1;
            let mut sums = vec![[0.0f32; 2]; self.leaves * width];
            for ((leaf, bin), slope) in self.leaf.iter().zip(&self.bins[place]).zip(self.slopes) {
                let sum = &mut sums[leaf * width + usize::from(*bin)];
                sum[0] += slope[0];
                sum[1] += slope[1];
            }
            let mut gains = vec![0.0; edges[place].len()];
            for leaf in sums.chunks_exact(width) {
                self.gains(leaf, &mut gains);
            }
            for (edge, gain) in gains.into_iter().enumerate() {
                if gain > best.0 {
                    best = (gain, Some((place, edge)));
                }
            }
        }
        best.1
    }

    fn gains(&self, leaf: &[[f32; 2]], gains: &mut [f64]) {
        let add = |a: [f64; 2], b: &[f32; 2]| [a[0] + f64::from(b[0]), a[1] + f64::from(b[1])];
        let worth = |sum: [f64; 2]| sum[0] * sum[0] / (sum[1] + self.growth.pull);
        let all = leaf.iter().fold([0.0; 2], add);
        let mut low = [0.0; 2];
        for (gain, bin) in gains.iter_mut().zip(leaf) {
            low = add(low, bin);
            let high = [all[0] - low[0], all[1] - low[1]];
            if low[1] >= self.growth.least && high[1] >= self.growth.least {
                *gain += worth(low) + worth(high) - worth(all);
            }
        }
    }
}

fn derivatives(rows: &Rows, row: usize, odds: f32) -> [f32; 2] {
    let likely = 1.0 / (1.0 + (-odds).exp());
    let weight = rows.weights[row];
    [weight * (rows.label(row) - likely), weight * (likely * (1.0 - likely)).max(1e-6)]
}

fn edges(rows: &Rows, place: usize) -> Vec<f32> {
    let count = rows.labels.len();
    let sampled = count.min(SAMPLED);
    let mut values: Vec<f32> = (0..sampled).map(|at| rows.number(at * count / sampled, place)).collect();
    values.extend((0..count).filter(|row| rows.labels[*row]).map(|row| rows.number(row, place)));
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    let shares = (1..EDGES).map(|edge| edge as f64 / EDGES as f64).chain([0.99, 0.995]);
    let mut edges: Vec<f32> = shares.map(at).map(|edge| edge + BEYOND * edge.abs().max(1.0)).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup();
    edges
}

/// Logistic regression on one number, by Newton's method: base and slope.
fn logistic(rows: &Rows, place: usize) -> (f32, f32) {
    let (mut base, mut slope) = (0.0f64, 0.0f64);
    for _ in 0..40 {
        let (mut g, mut h) = ([0.0f64; 2], [1e-3, 0.0, 1e-3]);
        for row in 0..rows.labels.len() {
            let x = f64::from(rows.number(row, place));
            let likely = 1.0 / (1.0 + (-(base + slope * x)).exp());
            let weight = f64::from(rows.weights[row]);
            let (error, curve) = (weight * (f64::from(rows.label(row)) - likely), weight * likely * (1.0 - likely));
            g = [g[0] + error, g[1] + error * x];
            h = [h[0] + curve, h[1] + curve * x, h[2] + curve * x * x];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        base += ((h[2] * g[0] - h[1] * g[1]) / determinant).clamp(-1.0, 1.0);
        slope += ((h[0] * g[1] - h[1] * g[0]) / determinant).clamp(-1.0, 1.0);
    }
    (base as f32, slope.max(0.3) as f32)
}

/// `SplitMix64`.
pub struct Dice(pub u64);

impl Dice {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
