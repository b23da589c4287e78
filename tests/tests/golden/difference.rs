//! Golden files: read, compared place by place, and with `GEOPHONE_BLESS` written anew.

use geophone_tests::place;
use serde_json::Value;
use std::{env, fs, path::PathBuf};

/// Differences that are printed at most.
const SHOWN_MAX: usize = 30;

/// Whether golden files are to be written instead of compared.
pub fn is_blessing() -> bool {
    env::var_os("GEOPHONE_BLESS").is_some_and(|value| !value.is_empty() && value != "0")
}

fn path_of(name: &str) -> PathBuf {
    place::repository().join("tests/golden").join(name)
}

/// A golden file as it is; panics with what to do where it is none.
pub fn golden(name: &str) -> Value {
    let path = path_of(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask golden --bless` writes it", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares with a golden file, numbers to within `tolerance` of their size; or writes it.
pub fn check(name: &str, now: &Value, tolerance: f64) {
    if is_blessing() {
        let path = path_of(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the repository is writable");
        let text = serde_json::to_string_pretty(now).expect("a JSON value is always text") + "\n";
        fs::write(&path, text).expect("the repository is writable");
        return;
    }
    let mut found = Vec::new();
    compare("", &golden(name), now, tolerance, &mut found);
    if !found.is_empty() {
        let more = found.len().saturating_sub(SHOWN_MAX);
        found.truncate(SHOWN_MAX);
        let more = if more > 0 { format!("\n... and {more} more") } else { String::new() };
        panic!(
            "\ntests/golden/{name} differs:\n{}{more}\nIf this is meant: `cargo xtask golden --bless`, and read the difference.\n",
            found.join("\n")
        );
    }
}

fn shown(value: Option<&Value>) -> String {
    let mut text = value.map_or_else(|| "absent".to_owned(), Value::to_string);
    if text.len() > 160 {
        text.truncate(text.floor_char_boundary(160));
        text.push_str("...");
    }
    text
}

/// Writes down every place where two values differ.
pub fn compare(at: &str, golden: &Value, now: &Value, tolerance: f64, found: &mut Vec<String>) {
    let mut differ = |at: &str, golden: Option<&Value>, now: Option<&Value>| {
        found.push(format!("  {at}\n    golden  {}\n    now     {}", shown(golden), shown(now)));
    };
    match (golden, now) {
        (Value::Object(golden), Value::Object(now)) => {
            for (key, old) in golden {
                match now.get(key) {
                    Some(new) => compare(&format!("{at}.{key}"), old, new, tolerance, found),
                    None => found.push(format!("  {at}.{key}\n    golden  {}\n    now     absent", shown(Some(old)))),
                }
            }
            for (key, new) in now.iter().filter(|(key, _)| !golden.contains_key(*key)) {
                found.push(format!("  {at}.{key}\n    golden  absent\n    now     {}", shown(Some(new))));
            }
        }
        (Value::Array(golden), Value::Array(now)) => {
            for index in 0..golden.len().max(now.len()) {
                match (golden.get(index), now.get(index)) {
                    (Some(old), Some(new)) => compare(&format!("{at}[{index}]"), old, new, tolerance, found),
                    (old, new) => found.push(format!("  {at}[{index}]\n    golden  {}\n    now     {}", shown(old), shown(new))),
                }
            }
        }
        (Value::Number(old), Value::Number(new)) => {
            let (a, b) = (old.as_f64().unwrap_or(f64::NAN), new.as_f64().unwrap_or(f64::NAN));
            if old != new && (a - b).abs() > tolerance * (1.0 + a.abs().max(b.abs())) {
                differ(at, Some(golden), Some(now));
            }
        }
        _ if golden == now => {}
        _ => differ(at, Some(golden), Some(now)),
    }
}

/// Guarantees: a difference is found at its place, and numbers within the tolerance are equal.
#[test]
fn differences_are_told_by_place() {
    let golden = serde_json::json!({"a": [1.0, {"b": "x"}], "c": 1});
    let now = serde_json::json!({"a": [1.0 + 1e-9, {"b": "y"}], "d": null});
    let mut found = Vec::new();
    compare("", &golden, &now, 1e-6, &mut found);
    let places: Vec<&str> = found.iter().filter_map(|text| text.trim().lines().next()).collect();
    assert_eq!(places, [".a[1].b", ".c", ".d"]);
}
