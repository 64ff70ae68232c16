//! Regular expressions that a whole text must match, of characters, `\d`, groups and `?`, `*`, `+`.
//!
//! Stands in for the `regex` crate, which a dependency (`oci-spec`) has for one pattern of that kind, and
//! which was 0.4 MiB of every shim and of every guest's first process. A pattern of any other kind is
//! refused, never taken for another.
//!
//! # What it must not know
//! Anything: it is a library of its own.
//!
//! # Invariants
//! - A text is looked at once, however many ways there are to match it.

#![forbid(unsafe_code)]

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// How deep groups may be in one another.
const MAX_DEPTH: usize = 16;

/// A pattern that can't be had here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no pattern that this library knows", self.0)
    }
}

impl std::error::Error for Error {}

/// What one character is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Digit,
    This(char),
}

impl Wanted {
    /// Whether it is; digits are those of all scripts in the original, and ASCII's here.
    fn takes(self, found: char) -> bool {
        match self {
            Wanted::Digit => found.is_ascii_digit(),
            Wanted::This(wanted) => wanted == found,
        }
    }
}

/// A step through a text; what is next is a place in the program.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Takes a character and goes on with the next step.
    Take(Wanted),
    /// Goes on at either place.
    Either(usize, usize),
    /// The text must be over.
    End,
}

/// A pattern, ready to be matched.
#[derive(Debug, Clone)]
pub struct Regex {
    steps: Vec<Step>,
}

impl Regex {
    /// Reads a pattern, which begins with `^` and ends with `$`.
    ///
    /// # Errors
    /// If it has anything else that is special than `\d`, groups, `?`, `*` and `+`.
    pub fn new(pattern: &str) -> Result<Regex, Error> {
        let inner = pattern
            .strip_prefix('^')
            .and_then(|rest| rest.strip_suffix('$'));
        let mut steps = Vec::new();
        let read = inner.and_then(|inner| {
            let mut rest = inner.chars().peekable();
            sequence(&mut rest, &mut steps, 0)?;
            rest.next().is_none().then_some(())
        });
        read.ok_or_else(|| Error(pattern.into()))?;
        steps.push(Step::End);
        Ok(Regex { steps })
    }

    /// Whether the text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let mut places = self.reached([0]);
        for found in text.chars() {
            let taken = places.iter().enumerate().filter_map(|(place, here)| {
                let takes =
                    matches!(self.steps.get(place), Some(Step::Take(wanted)) if wanted.takes(found));
                (*here && takes).then_some(place + 1)
            });
            places = self.reached(taken);
        }
        places.last().is_some_and(|end| *end)
    }

    /// For each place whether it can be come to from one of these without taking a character.
    fn reached(&self, from: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let mut reached = vec![false; self.steps.len()];
        let mut open: Vec<usize> = from.into_iter().collect();
        while let Some(place) = open.pop() {
            let Some(here) = reached.get_mut(place).filter(|here| !**here) else {
                continue;
            };
            *here = true;
            if let Some(Step::Either(one, other)) = self.steps.get(place) {
                open.extend([*one, *other]);
            }
        }
        reached
    }
}

/// Reads until the end, or the end of the group that it is in.
fn sequence(rest: &mut Peekable<Chars<'_>>, steps: &mut Vec<Step>, depth: usize) -> Option<()> {
    while let Some(next) = rest.next_if(|next| *next != ')') {
        let start = steps.len();
        match next {
            '(' if depth < MAX_DEPTH && rest.peek() != Some(&'?') => {
                sequence(rest, steps, depth + 1)?;
                rest.next_if_eq(&')')?;
            }
            '\\' => {
                rest.next_if_eq(&'d')?;
                steps.push(Step::Take(Wanted::Digit));
            }
            '(' | '?' | '*' | '+' | '.' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            literal => steps.push(Step::Take(Wanted::This(literal))),
        }
        let Some(times) = rest.next_if(|next| matches!(next, '?' | '*' | '+')) else {
            continue;
        };
        // Twice, or the least of many, is something else.
        if rest.peek().is_some_and(|next| "?*+".contains(*next)) {
            return None;
        }
        if times != '+' {
            // Before what may be left out, whose own steps move.
            steps.insert(start, Step::Either(start + 1, 0));
            for step in steps.iter_mut().skip(start + 1) {
                if let Step::Either(one, other) = step {
                    *one += usize::from(*one >= start);
                    *other += usize::from(*other >= start);
                }
            }
        }
        if times != '?' {
            // From the end of it to where it begins, past what leaves it out.
            let begin = start + usize::from(times == '*');
            steps.push(Step::Either(begin, steps.len() + 1));
        }
        let end = steps.len();
        if times != '+'
            && let Some(Step::Either(_, other)) = steps.get_mut(start)
        {
            *other = end;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pattern that this is for.
    const RANGES: &str = r"^(\d+(-\d+)?)(,\d+(-\d+)?)*$";

    #[test]
    fn ranges_are_known_from_what_is_none() {
        let ranges = Regex::new(RANGES).unwrap();
        for good in ["0", "17", "0-3", "0-3,7", "1,2,3", "10-20,30-40,5"] {
            assert!(ranges.is_match(good), "{good}");
        }
        for bad in [
            "", "-", "a", "0-", "-1", "0,", ",0", "0-1-2", "0--1", "0 ", " 0", "0,,1", "0-1,", "٣",
            "0\n", "0-a", "0,1-",
        ] {
            assert!(!ranges.is_match(bad), "{bad:?}");
        }
    }

    #[test]
    fn parts_may_be_left_out_or_come_again() {
        for (pattern, good, bad) in [
            ("^$", &[""][..], &["a"][..]),
            ("^ab$", &["ab"], &["a", "abb", "b", ""]),
            ("^ab?c$", &["abc", "ac"], &["abbc", "ab"]),
            ("^ab*c$", &["ac", "abc", "abbbc"], &["abb", "bc"]),
            ("^ab+c$", &["abc", "abbc"], &["ac"]),
            (
                "^(a(b?c)*)+$",
                &["a", "abc", "acbc", "abcaa"],
                &["", "ab", "bc"],
            ),
            ("^(a*)*b$", &["b", "aab"], &["a"]),
            ("^(a?)+$", &["", "aaa"], &["b"]),
        ] {
            let regex = Regex::new(pattern).unwrap();
            for text in good {
                assert!(regex.is_match(text), "{pattern} {text}");
            }
            for text in bad {
                assert!(!regex.is_match(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in [
            "", "a", "^a", "a$", "^a|b$", "^[a]$", "^a{2}$", "^a.$", "^(?:a)$", r"^\w$", r"^\$",
            "^(a$", "^a)$", "^*$", "^a**$", "^a+?$", "^a^$",
        ] {
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
        let deep = format!("^{}a{}$", "(".repeat(99), ")".repeat(99));
        assert!(Regex::new(&deep).is_err());
    }

    /// The same by hand.
    fn is_ranges(text: &str) -> bool {
        let number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.split(',').all(|range| match range.split_once('-') {
            Some((first, last)) => number(first) && number(last),
            None => number(range),
        })
    }

    proptest! {
        #[test]
        fn ranges_are_what_they_are_by_hand(text in "[0-9,-]{0,12}") {
            prop_assert_eq!(Regex::new(RANGES).unwrap().is_match(&text), is_ranges(&text));
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in r"\^[ab()?*+\\d]{0,12}\$", text in "[ab1]{0,8}") {
            if let Ok(regex) = Regex::new(&pattern) {
                let _ = regex.is_match(&text);
            }
        }
    }
}
