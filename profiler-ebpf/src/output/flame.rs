//! Flame graphs as SVG files, by `inferno`.

use crate::error::ProfilerError;
use inferno::flamegraph::{self, Options};
use std::{collections::BTreeMap, io::Cursor};

fn options(title: &str) -> Options<'static> {
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = "ns".to_owned();
    options.min_width = 0.05;
    options
}

fn draw(mut options: Options<'_>, folded: &str) -> Result<Vec<u8>, ProfilerError> {
    if folded.trim().is_empty() {
        return Err(ProfilerError::Drawing("there is no sample: was the process busy in that time?".into()));
    }
    let mut svg = Vec::new();
    flamegraph::from_reader(&mut options, Cursor::new(folded), &mut svg).map_err(|error| ProfilerError::Drawing(error.to_string()))?;
    Ok(svg)
}

/// A flame graph of folded lines.
pub fn flame_graph(title: &str, folded: &str) -> Result<Vec<u8>, ProfilerError> {
    draw(options(title), folded)
}

/// The flagged spans' flame graph, coloured by how much more (red) or less (blue) each stack took than in
/// as many normal spans.
pub fn difference(title: &str, normal: &str, flagged: &str) -> Result<Vec<u8>, ProfilerError> {
    let mut both: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (which, text) in [normal, flagged].into_iter().enumerate() {
        for (stack, ns) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            both.entry(stack).or_default()[which] += ns.parse::<u64>().unwrap_or(0);
        }
    }
    let lines: Vec<String> = both.iter().map(|(stack, [before, after])| format!("{stack} {before} {after}")).collect();
    draw(options(title), &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_in_the_picture() {
        let svg = String::from_utf8(flame_graph("cart", "cart;[on_cpu];main;hot<T> 300\n").expect("drawn")).expect("text");
        assert!(svg.contains("hot&lt;T&gt;") && svg.contains("<svg"));
        let svg = String::from_utf8(difference("cart", "cart;main 10\n", "cart;main;hot 300\n").expect("drawn")).expect("text");
        assert!(svg.contains("hot"));
        assert!(flame_graph("cart", "\n").is_err());
    }
}
