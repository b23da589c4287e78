//! Size, names and openings of source files.

use geophone_tests::place;
use std::{fs, path::Path};

const LINES_MAX: usize = 600;
const DEPTH_MAX: usize = 3;
const BANNED_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "manager", "handler", "handlers", "data", "info"];

/// Path below the repository, for messages.
fn shown(path: &Path) -> String {
    let root = place::repository().canonicalize().expect("the repository is there");
    let path = path.canonicalize().expect("the file was just listed");
    path.strip_prefix(root).expect("the file lies in the repository").display().to_string()
}

/// Asserts that no file breaks a rule; the rule says what is wrong or nothing.
fn every_file(rule: impl Fn(&str, &str) -> Option<String>) {
    let wrong: Vec<String> = place::rust_files()
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("sources are UTF-8");
            let name = shown(path);
            rule(&name, &text).map(|why| format!("{name}: {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines before the tests at the end of a file.
fn lines_without_tests(text: &str) -> usize {
    text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or_else(|| text.lines().count())
}

fn is_test_file(name: &str) -> bool {
    name.starts_with("tests/") || name.ends_with("/tests.rs") || name.contains("/tests/") || name.contains("/benches/")
}

/// Guarantees: a file can be read in one sitting.
#[test]
fn files_are_short() {
    every_file(|name, text| {
        let lines = lines_without_tests(text);
        (!is_test_file(name) && lines > LINES_MAX).then(|| format!("{lines} lines, at most {LINES_MAX}"))
    });
}

/// Guarantees: whoever opens a file learns first what it is.
#[test]
fn files_say_what_they_are() {
    every_file(|_, text| (!text.starts_with("//!")).then(|| "must open with `//!`: what it is, what it is not, who calls it".into()));
}

/// Guarantees: a module's name says what is in it.
#[test]
fn names_say_what_is_in() {
    every_file(|name, _| {
        let part = name.split('/').map(|part| part.trim_end_matches(".rs")).find(|part| BANNED_NAMES.contains(part))?;
        Some(format!("`{part}` says nothing: name it after what it holds"))
    });
}

/// Guarantees: no maze of folders.
#[test]
fn folders_are_shallow() {
    every_file(|name, _| {
        let below = name.split("/src/").nth(1)?;
        let depth = below.split('/').count();
        (depth > DEPTH_MAX).then(|| format!("{depth} levels below src, at most {DEPTH_MAX}"))
    });
}

/// Guarantees: `lib.rs` and `mod.rs` are tables of contents.
#[test]
fn tables_of_contents_hold_no_code() {
    every_file(|name, text| {
        let is_table = !is_test_file(name) && (name.ends_with("/src/lib.rs") || name.ends_with("/mod.rs"));
        let code = ["fn ", "struct ", "enum ", "impl ", "trait ", "const ", "static "];
        let line = text.lines().take(lines_without_tests(text)).find(|line| {
            let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            code.iter().any(|word| line.starts_with(word))
        })?;
        is_table.then(|| format!("holds code: `{}`", line.trim()))
    });
}

/// Guarantees: the code speaks of the product only.
#[test]
fn no_private_paths() {
    let private = ["/wo", "rk/"].concat();
    every_file(|_, text| text.contains(&private).then(|| "names a path of one machine".into()));
}
