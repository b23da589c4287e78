//! The labelled public data sets, read as they lie beside the checkout.

use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// One series or machine with its labels.
pub struct Labelled {
    pub id: String,
    pub seconds: Vec<f64>,
    /// Row after row.
    pub values: Vec<f64>,
    pub dimensions: usize,
    /// Rows that are for learning only.
    pub probation: usize,
    /// First and last row of each labelled window.
    pub windows: Vec<(usize, usize)>,
}

/// Where they are: `$GEOPHONE_DATASETS`, else beside the checkout.
pub fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/datasets"));
    let folder = std::env::var_os("GEOPHONE_DATASETS").map_or_else(beside, PathBuf::from);
    folder.join("series.csv").is_file().then_some(folder)
}

/// All series of `nab` or `kpi`, or every `step`th machine of `smd`.
pub fn read(folder: &Path, set: &str, step: usize) -> Vec<Labelled> {
    let listed: Vec<(String, usize)> = table(&folder.join("series.csv"))
        .filter(|fields| fields[0] == set)
        .map(|fields| (fields[1].clone(), fields[5].parse().expect("probation_n is a number")))
        .collect();
    let mut found: Vec<Labelled> = if set == "smd" {
        listed.iter().step_by(step).map(|(id, _)| machine(&folder.join(format!("{id}.csv.gz")), id)).collect()
    } else {
        series(&folder.join(format!("{set}.csv.gz")))
    };
    for one in &mut found {
        one.probation = listed.iter().find(|(id, _)| *id == one.id).expect("each series is listed").1;
    }
    for fields in table(&folder.join("labels.csv")) {
        if let Some(one) = found.iter_mut().find(|one| one.id == fields[1]) {
            one.windows.push((fields[5].parse().expect("a row"), fields[6].parse().expect("a row")));
        }
    }
    found
}

fn series(path: &Path) -> Vec<Labelled> {
    let mut found: Vec<Labelled> = Vec::new();
    lines(path, &mut |fields| {
        let (id, seconds, value) = (fields[0], number(fields[1]), number(fields[2]));
        if found.last().is_none_or(|last| last.id != id) {
            found.push(empty(id, 1));
        }
        if let Some(last) = found.last_mut() {
            last.seconds.push(seconds);
            last.values.push(value);
        }
    });
    found
}

fn machine(path: &Path, id: &str) -> Labelled {
    let mut found = empty(id, 0);
    lines(path, &mut |fields| {
        found.dimensions = fields.len() - 1;
        found.seconds.push(number(fields[0]));
        found.values.extend(fields[1..].iter().map(|text| number(text)));
    });
    found
}

fn empty(id: &str, dimensions: usize) -> Labelled {
    Labelled { id: id.into(), seconds: vec![], values: vec![], dimensions, probation: 0, windows: vec![] }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// Each line but the first, split at commas.
fn lines(path: &Path, each: &mut dyn FnMut(&[&str])) {
    let mut text = String::new();
    let file = File::open(path).expect("the data set is whole");
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("the data set is whole");
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        each(&fields);
    }
}

fn table(path: &Path) -> impl Iterator<Item = Vec<String>> {
    let file = BufReader::new(File::open(path).expect("the data set is whole"));
    file.lines().skip(1).map(|line| line.expect("text").split(',').map(str::to_owned).collect())
}
