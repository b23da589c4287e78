//! What the user wrote: values by path, every problem with its place.

use super::{
    fields::{FIELDS, Field, field},
    substitute::expand,
};
use serde_yaml_ng::Value;
use std::{collections::BTreeMap, path::Path};

/// Larger configuration files are refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One thing that is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Keys joined by dots, or the file's name.
    pub path: String,
    /// What, which value, what to do.
    pub message: String,
}

impl Problem {
    /// Names a problem.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Values by path, references already replaced; problems are kept until `Config` is made.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub(crate) values: BTreeMap<&'static str, Value>,
    pub(crate) problems: Vec<Problem>,
}

impl Spec {
    /// Reads a file.
    pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let shown = path.display().to_string();
        let size = std::fs::metadata(path).map(|meta| meta.len());
        let text = match size {
            Ok(size) if size > FILE_BYTES_MAX => Err(format!("is {size} bytes, more than {FILE_BYTES_MAX}: is it the right file?")),
            Ok(_) => std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}")),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match text {
            Ok(text) => Self::parse(&shown, &text, env),
            Err(message) => Self { problems: vec![Problem::new(shown, message)], ..Self::default() },
        }
    }

    /// Reads YAML; `name` is used where a problem has no path.
    pub fn parse(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut spec = Self::default();
        match serde_yaml_ng::from_str::<Value>(text) {
            Ok(Value::Null) => {}
            Ok(root) => spec.walk("", root, env),
            Err(error) => spec.problems.push(Problem::new(name, format!("is not YAML: {error}"))),
        }
        spec
    }

    /// Sets one value from a flag; it wins over the file.
    pub fn set(&mut self, path: &'static str, value: impl Into<Value>) {
        self.problems.retain(|problem| problem.path != path);
        self.values.insert(path, value.into());
    }

    fn walk(&mut self, prefix: &str, value: Value, env: &dyn Fn(&str) -> Option<String>) {
        let Value::Mapping(entries) = value else {
            if !value.is_null() {
                let place = if prefix.is_empty() { "the file" } else { prefix };
                self.problems.push(Problem::new(place, "must be a mapping of keys to values"));
            }
            return;
        };
        for (key, value) in entries {
            let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            if let Some(field) = field(&path) {
                self.leaf(field, value, env);
            } else if FIELDS.iter().any(|field| field.path.strip_prefix(&*path).is_some_and(|rest| rest.starts_with('.'))) {
                self.walk(&path, value, env);
            } else {
                self.problems.push(Problem::new(&*path, unknown(&path)));
            }
        }
    }

    fn leaf(&mut self, field: &Field, mut value: Value, env: &dyn Fn(&str) -> Option<String>) {
        if value.is_null() {
            return;
        }
        match substitute(&mut value, env) {
            Ok(()) => drop(self.values.insert(field.path, value)),
            Err(message) => self.problems.push(Problem::new(field.path, message)),
        }
    }
}

/// Replaces references in every text of a value. A text that was nothing but references is read again,
/// so that `${env:N}` may be a number.
fn substitute(value: &mut Value, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains('$') => {
            let expanded = expand(text, env)?;
            let whole = text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1;
            *value = match serde_yaml_ng::from_str::<Value>(&expanded) {
                Ok(scalar @ (Value::Number(_) | Value::Bool(_))) if whole => scalar,
                _ => Value::String(expanded),
            };
            Ok(())
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| substitute(item, env)),
        Value::Mapping(entries) => entries.iter_mut().try_for_each(|(_, item)| substitute(item, env)),
        Value::Tagged(tagged) => Err(format!("tag `{}` is not understood: leave it out", tagged.tag)),
        _ => Ok(()),
    }
}

fn unknown(path: &str) -> String {
    let (prefix, key) = path.rsplit_once('.').unwrap_or(("", path));
    let known: Vec<&str> = siblings(prefix);
    let near = known.iter().min_by_key(|name| distance(name, key)).filter(|name| distance(name, key) <= 2.max(key.len() / 3));
    match near {
        Some(name) => format!("unknown key `{key}`: did you mean `{name}`?"),
        None => format!("unknown key `{key}`: known here are {}", known.join(", ")),
    }
}

/// Keys that may stand under a path.
fn siblings(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = FIELDS
        .iter()
        .filter_map(|field| if prefix.is_empty() { Some(field.path) } else { field.path.strip_prefix(prefix)?.strip_prefix('.') })
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    names
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.chars().enumerate() {
            let next = (diagonal + usize::from(ca != cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[row.len() - 1]
}
