//! Names and values that tell series apart, in little room: there are as many as there are series.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, ops::Index};

/// Names with their values, by name, none twice. In JSON an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Whether there is such a name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Index<&str> for Labels {
    type Output = str;

    /// The value of a name that is there.
    fn index(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("there is no label {name}"))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_found_by_name_and_written_as_an_object() {
        let labels = Labels::from(BTreeMap::from([("host".to_owned(), "a".to_owned()), ("caller".to_owned(), "web".to_owned())]));
        assert_eq!((labels.get("host"), labels.get("hos"), labels.contains_key("caller")), (Some("a"), None, true));
        let text = serde_json::to_string(&labels).expect("plain texts encode");
        assert_eq!(text, r#"{"caller":"web","host":"a"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&text).expect("it was just written"), labels);
    }
}
