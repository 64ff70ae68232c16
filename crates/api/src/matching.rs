//! How Docker's filters match: regular expressions for names, globs for references.

use coracle_runtime::Filters;
use regex_lite::Regex;

use crate::error::{Answer, ApiError};

/// The values of a filter as Docker matches names and ids: equal, or found as a regular expression.
pub(crate) struct Patterns(Vec<(String, Option<Regex>)>);

impl Patterns {
    /// Compiles a filter's values. What is no regular expression matches only itself.
    pub(crate) fn new(filters: &Filters, key: &str) -> Self {
        let compile = |value: &String| (value.clone(), Regex::new(value).ok());
        Self(filters.get(key).iter().map(compile).collect())
    }

    /// Whether one of them matches, or there is none.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|(value, regex)| {
                value == text || regex.as_ref().is_some_and(|regex| regex.is_match(text))
            })
    }
}

/// A port or a range of them with a protocol, as the `publish` and `expose` filters take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange<'a> {
    first: u16,
    last: u16,
    protocol: &'a str,
}

impl<'a> PortRange<'a> {
    /// Reads `80`, `80/udp`, `80-90/tcp`.
    pub(crate) fn parse(key: &str, text: &'a str) -> Answer<Self> {
        if text.contains(':') {
            return Err(ApiError::bad_request(format!(
                "filter for '{key}' should not contain ':': {text}"
            )));
        }
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bad = || {
            ApiError::bad_request(format!(
                "error while looking up for {key} {text}: invalid range format {range:?}"
            ))
        };
        let first: u16 = first.parse().map_err(|_| bad())?;
        let last: u16 = last.parse().map_err(|_| bad())?;
        if first > last {
            return Err(bad());
        }
        Ok(Self {
            first,
            last,
            protocol,
        })
    }

    /// Whether a port is in it.
    pub(crate) fn contains(self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol.eq_ignore_ascii_case(protocol)
    }
}

/// Splits `80/tcp`; the protocol is `tcp` where there is none.
pub(crate) fn split_port(port: &str) -> Option<(u16, &str)> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    Some((number.parse().ok()?, protocol))
}

/// Whether a name with a tag or digest fits a reference pattern: the whole of it, or without the tag.
pub(crate) fn reference_fits(pattern: &str, reference: &str) -> bool {
    glob(pattern, reference) || glob(pattern, without_tag(reference))
}

/// A reference without its tag and digest.
pub(crate) fn without_tag(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Go's `path.Match`: `*` and `?` do not match `/`, `[…]` is a class, `\` takes the next as it is. A
/// malformed pattern matches nothing.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    glob_chars(&pattern, &text)
}

fn glob_chars(mut pattern: &[char], mut text: &[char]) -> bool {
    // Where to go on when a match after the last star fails: the pattern after it, the text there.
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        let step = match pattern {
            [] if text.is_empty() => return true,
            ['*', rest @ ..] => {
                pattern = rest;
                retry = Some((rest, text));
                continue;
            }
            [] => None,
            _ => one(pattern, text),
        };
        match step {
            Some((rest, left)) => (pattern, text) = (rest, left),
            None => match retry {
                Some((after, [first, left @ ..])) if *first != '/' => {
                    (pattern, text) = (after, left);
                    retry = Some((after, left));
                }
                _ => return false,
            },
        }
    }
}

/// Matches one character with the pattern's first element; gives what is left of both.
fn one<'p, 't>(pattern: &'p [char], text: &'t [char]) -> Option<(&'p [char], &'t [char])> {
    let (first, left) = text.split_first()?;
    match pattern {
        ['?', rest @ ..] => (*first != '/').then_some((rest, left)),
        ['[', rest @ ..] => {
            let (negated, mut class) = match rest {
                ['^', class @ ..] => (true, class),
                _ => (false, rest),
            };
            let mut found = false;
            let mut empty = true;
            loop {
                if let [']', rest @ ..] = class
                    && !empty
                {
                    return (found != negated && *first != '/').then_some((rest, left));
                }
                let (low, rest) = class_char(class)?;
                let (high, rest) = match rest {
                    ['-', rest @ ..] => class_char(rest)?,
                    _ => (low, rest),
                };
                found |= (low..=high).contains(first);
                empty = false;
                class = rest;
            }
        }
        ['\\', exact, rest @ ..] => (exact == first).then_some((rest, left)),
        ['\\'] => None,
        [exact, rest @ ..] => (exact == first).then_some((rest, left)),
        [] => None,
    }
}

fn class_char(class: &[char]) -> Option<(char, &[char])> {
    match class {
        ['\\', c, rest @ ..] => Some((*c, rest)),
        ['-' | ']' | '\\', ..] | [] => None,
        [c, rest @ ..] => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs_are_gos() {
        for (pattern, text, fits) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^e-g]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("[\\]a]", "]", true),
            ("[-]", "-", false),
            ("[", "a", false),
            ("a?b", "a/b", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn references_fit_with_and_without_tag() {
        assert!(reference_fits("busybox", "busybox:latest"));
        assert!(reference_fits("busy*:l*", "busybox:latest"));
        assert!(reference_fits("localhost:5000/*", "localhost:5000/x:1"));
        assert!(!reference_fits("busy", "busybox:latest"));
        assert_eq!(without_tag("localhost:5000/x"), "localhost:5000/x");
        assert_eq!(without_tag("x:1@sha256:00"), "x");
    }

    #[test]
    fn names_are_found_by_regular_expression() {
        let mut filters = Filters::default();
        filters.add("name", "^/we.$");
        filters.add("name", "a[");
        let patterns = Patterns::new(&filters, "name");
        assert!(patterns.matches("/web"));
        assert!(!patterns.matches("/webs"));
        assert!(patterns.matches("a["));
        assert!(Patterns::new(&filters, "id").matches("anything"));
    }

    #[test]
    fn port_ranges() {
        let range = PortRange::parse("publish", "80-90/udp").unwrap();
        assert!(range.contains(85, "udp"));
        assert!(!range.contains(85, "tcp"));
        assert!(PortRange::parse("publish", "90-80").is_err());
        assert!(PortRange::parse("publish", "x").is_err());
    }

    proptest! {
        #[test]
        fn globs_end(pattern in "[a*?\\[\\]^\\\\-]{0,40}", text in "[a/b]{0,60}") {
            let _ = glob(&pattern, &text);
        }

        #[test]
        fn plain_text_fits_itself(text in "[a-z0-9/:.]{0,40}") {
            prop_assert!(glob(&text, &text));
        }
    }
}
