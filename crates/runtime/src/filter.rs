//! Filters, as Docker's clients send them: `{"label": ["a=b"], "status": {"running": true}}`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::{Result, RuntimeError};
use crate::until;

/// Most bytes of a filter that are read.
const MAX_LENGTH: usize = 256 * 1024;

/// Values by key. Values of one key are alternatives, keys are conjunctive; labels are all required.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads a filter in either of Docker's forms, and refuses keys that are not in `known`.
    pub fn parse(json: &str, known: &[&str]) -> Result<Self> {
        let filters = Self::parse_any(json)?;
        match filters.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(RuntimeError::InvalidArgument(format!(
                "invalid filter '{key}'"
            ))),
            None => Ok(filters),
        }
    }

    /// The same with any keys; what is not known filters nothing (events).
    pub fn parse_any(json: &str) -> Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        if json.len() > MAX_LENGTH {
            return Err(RuntimeError::InvalidArgument(
                "invalid filter: too long".into(),
            ));
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Set(BTreeMap<String, bool>),
        }
        let raw: Option<BTreeMap<String, Option<Values>>> = serde_json::from_str(json)
            .map_err(|error| RuntimeError::InvalidArgument(format!("invalid filter: {error}")))?;
        let mut filters = BTreeMap::new();
        for (key, values) in raw.unwrap_or_default() {
            let values = match values {
                None => Vec::new(),
                Some(Values::List(list)) => list,
                Some(Values::Set(set)) => set
                    .into_iter()
                    .filter_map(|(value, on)| on.then_some(value))
                    .collect(),
            };
            filters.insert(key, values);
        }
        Ok(Self(filters))
    }

    /// Adds a value.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_owned()).or_default().push(value.into());
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let pairs = self.0.iter();
        pairs.map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// The values of a key; empty where it is not filtered by.
    pub fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether it is filtered by the key at all.
    pub fn has(&self, key: &str) -> bool {
        !self.get(key).is_empty()
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// The times of `until`: durations before now (`24h`, `10m30s`), seconds since 1970, or RFC 3339.
    pub fn until(&self) -> Result<Vec<Timestamp>> {
        let texts = self.get("until").iter();
        texts.map(|text| until::parse(text)).collect()
    }

    /// Whether one of the key's values is exactly this, or there is none.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        !self.has(key) || self.get(key).iter().any(|wanted| wanted == value)
    }

    /// Whether one of the key's values begins this, or there is none.
    pub fn prefix(&self, key: &str, value: &str) -> bool {
        !self.has(key)
            || self
                .get(key)
                .iter()
                .any(|wanted| value.starts_with(wanted.as_str()))
    }

    /// A key that holds one boolean.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let mut found = None;
        for value in self.get(key) {
            let value = match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                other => {
                    return Err(RuntimeError::InvalidArgument(format!(
                        "invalid filter '{key}=[{other}]'"
                    )));
                }
            };
            if found.is_some_and(|earlier| earlier != value) {
                return Err(RuntimeError::InvalidArgument(format!(
                    "invalid filter '{key}': both true and false"
                )));
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// Whether all values of `label` (each `key` or `key=value`) hold, and none of `label!`.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted.as_str()),
        };
        self.get("label").iter().all(holds) && !self.get("label!").iter().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_dockers_forms_are_read() {
        let known = ["label", "status"];
        let list = Filters::parse(r#"{"label":["a=b"],"status":["running"]}"#, &known).unwrap();
        let set = Filters::parse(
            r#"{"label":{"a=b":true,"x":false},"status":{"running":true}}"#,
            &known,
        )
        .unwrap();
        assert_eq!(list, set);
    }

    #[test]
    fn unknown_keys_and_bad_json_are_refused() {
        for bad in [r#"{"nope":["a"]}"#, "{", "[]", r#"{"label":5}"#] {
            let error = Filters::parse(bad, &["label"]).unwrap_err();
            assert!(
                matches!(error, RuntimeError::InvalidArgument(_)),
                "{bad}: {error}"
            );
        }
        assert!(Filters::parse("null", &[]).unwrap().is_empty());
    }

    #[test]
    fn labels_are_all_required() {
        let mut filters = Filters::default();
        filters.add("label", "a=1");
        filters.add("label", "b");
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert!(filters.labels(&labels(&[("a", "1"), ("b", "x")])));
        assert!(!filters.labels(&labels(&[("a", "2"), ("b", "x")])));
        filters.add("label!", "c");
        assert!(!filters.labels(&labels(&[("a", "1"), ("b", ""), ("c", "")])));
    }
}
