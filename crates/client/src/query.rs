//! Paths and queries.

use std::collections::BTreeMap;
use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same, and what image names have in paths.
const NAME: &AsciiSet = &COMPONENT.remove(b'/').remove(b':').remove(b'@');

/// A path below the version, built piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Query {
    path: String,
    asked: bool,
}

impl Query {
    /// A path of constants: `/containers/json`.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            asked: false,
        }
    }

    /// `before`, a name, `after`: `/containers/`, `web`, `/json`.
    pub fn named(before: &str, name: &str, after: &str) -> Self {
        let mut path = String::with_capacity(before.len() + name.len() + after.len());
        path.push_str(before);
        // A name of dots only would be another path.
        if matches!(name, "." | "..") {
            path.push_str(&name.replace('.', "%2E"));
        } else {
            let _ = write!(path, "{}", utf8_percent_encode(name, NAME));
        }
        path.push_str(after);
        Self { path, asked: false }
    }

    /// The same with a name whose slashes, colons and at signs are no separators.
    pub(crate) fn component(before: &str, name: &str, after: &str) -> Self {
        if matches!(name, "." | "..") {
            return Self::named(before, name, after);
        }
        Self {
            path: format!("{before}{}{after}", utf8_percent_encode(name, COMPONENT)),
            asked: false,
        }
    }

    /// Adds a value.
    pub fn add(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.path.push(if self.asked { '&' } else { '?' });
        self.asked = true;
        let value = utf8_percent_encode(value.as_ref(), COMPONENT);
        // Writing to a string can't fail.
        let _ = write!(self.path, "{key}={value}");
        self
    }

    /// Adds a value that isn't empty.
    pub fn text(self, key: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.add(key, value)
        }
    }

    /// Adds a switch that is on.
    pub fn flag(self, key: &str, on: bool) -> Self {
        if on { self.add(key, "1") } else { self }
    }

    /// Adds a number that is there.
    pub fn number(self, key: &str, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.add(key, value.to_string()),
            None => self,
        }
    }

    /// Adds filters, where there are any.
    pub fn filters(self, filters: &Filters) -> Self {
        if filters.0.is_empty() {
            self
        } else {
            self.add("filters", filters.to_json())
        }
    }

    /// The path with its query.
    pub fn as_str(&self) -> &str {
        &self.path
    }
}

/// Filters, in the form that all versions read: `{"label": {"a=b": true}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeMap<String, bool>>);

impl Filters {
    /// Adds one.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0
            .entry(key.into())
            .or_default()
            .insert(value.into(), true);
    }

    /// Whether there is one with the key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn to_json(&self) -> String {
        // A map of strings always has a JSON form.
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Filters {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut filters = Self::default();
        for (key, value) in pairs {
            filters.add(key, value);
        }
        filters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped() {
        let query = Query::named("/images/", "a.b:5000/c@sha256:1", "/json");
        assert_eq!(query.as_str(), "/images/a.b:5000/c@sha256:1/json");
        assert_eq!(
            Query::named("/containers/", "a?b #", "").as_str(),
            "/containers/a%3Fb%20%23"
        );
        assert_eq!(Query::named("/x/", "..", "/y").as_str(), "/x/%2E%2E/y");
        let query = Query::new("/x")
            .flag("a", true)
            .flag("b", false)
            .text("c", "")
            .number("d", Some(-1))
            .add("e", "a b&c=d");
        assert_eq!(query.as_str(), "/x?a=1&d=-1&e=a%20b%26c%3Dd");
    }

    #[test]
    fn filters_are_sets() {
        let filters: Filters = [("label", "a=b"), ("label", "c"), ("status", "exited")]
            .into_iter()
            .collect();
        assert_eq!(
            filters.to_json(),
            r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#
        );
        assert_eq!(Query::new("/x").filters(&Filters::default()).as_str(), "/x");
    }
}
