//! The key sequence that detaches from a terminal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Answer, ApiError};

/// Ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// Watches what is typed for the sequence. Keys that may begin it are held back until the next shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    held: usize,
}

impl DetachKeys {
    /// Reads a sequence such as `ctrl-a,a`; empty means the default. Refuses what is none in Docker's
    /// words.
    pub(crate) fn parse(text: &str) -> Answer<Self> {
        let keys = if text.is_empty() {
            DEFAULT.to_vec()
        } else {
            text.split(',')
                .map(key)
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| {
                    ApiError::bad_request(format!("Invalid detach keys ({text}) provided"))
                })?
        };
        Ok(Self { keys, held: 0 })
    }

    /// The sequence as bytes, in base64, as Docker tells it; nothing for the default.
    pub(crate) fn told(text: &str) -> String {
        match Self::parse(text) {
            Ok(keys) if !text.is_empty() => STANDARD.encode(keys.keys),
            _ => String::new(),
        }
    }

    /// Takes what was typed. Puts what goes on to the process into `out`, and tells whether the
    /// sequence was complete; what comes after it is dropped.
    pub(crate) fn take(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in typed {
            // What is held is a beginning of the sequence. Let go of its first keys until what is left
            // goes on with this byte.
            while self.keys.get(self.held) != Some(&byte) && self.held > 0 {
                let shorter = self.next_shorter();
                let released = self.held - shorter;
                out.extend_from_slice(self.keys.get(..released).unwrap_or_default());
                self.held = shorter;
            }
            if self.keys.get(self.held) == Some(&byte) {
                self.held += 1;
            } else {
                out.push(byte);
            }
            if self.held == self.keys.len() {
                self.held = 0;
                return true;
            }
        }
        false
    }

    /// What is held back at the end of input.
    pub(crate) fn rest(&mut self) -> &[u8] {
        let held = std::mem::take(&mut self.held);
        self.keys.get(..held).unwrap_or_default()
    }

    /// The longest beginning of the sequence that is an ending of what is held, but not all of it.
    fn next_shorter(&self) -> usize {
        let held = self.keys.get(..self.held).unwrap_or_default();
        (0..self.held)
            .rev()
            .find(|length| held.ends_with(self.keys.get(..*length).unwrap_or_default()))
            .unwrap_or(0)
    }
}

fn key(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [single] => Some(*single),
        b"DEL" => Some(127),
        [b'c', b't', b'r', b'l', b'-', letter] => match letter {
            b'@' => Some(0),
            b'a'..=b'z' => Some(letter - b'a' + 1),
            b'[' => Some(27),
            b'\\' => Some(28),
            b']' => Some(29),
            b'^' => Some(30),
            b'_' => Some(31),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_are_told_as_bytes() {
        assert_eq!(DetachKeys::told("ctrl-a,d"), "AWQ=");
        assert_eq!(DetachKeys::told(""), "");
    }

    #[test]
    fn sequences_are_read() {
        let keys = |text: &str| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-a,a"), Ok(vec![1, b'a']));
        assert_eq!(keys("ctrl-@,ctrl-_,DEL,x"), Ok(vec![0, 31, 127, b'x']));
        for bad in ["ctrl-1", "ab", "ctrl-A", ",", "ctrl-a,", "é"] {
            assert_eq!(
                keys(bad).unwrap_err().to_string(),
                format!("Invalid detach keys ({bad}) provided")
            );
        }
    }

    fn run(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut out = Vec::new();
        for typed in typed {
            if keys.take(typed, &mut out) {
                return (out, true);
            }
        }
        out.extend_from_slice(keys.rest());
        (out, false)
    }

    #[test]
    fn the_sequence_is_found_and_all_else_goes_on() {
        assert_eq!(run("", &[b"ls\n", &[16], &[17]]), (b"ls\n".to_vec(), true));
        assert_eq!(run("", &[&[16, 17, 1]]), (vec![], true));
        assert_eq!(run("", &[&[16], b"x"]), (vec![16, b'x'], false));
        assert_eq!(run("", &[&[16, 16, 17]]), (vec![16], true));
        assert_eq!(run("", &[&[16]]), (vec![16], false));
        assert_eq!(run("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(run("a,b,a,c", &[b"ababac"]), (b"ab".to_vec(), true));
    }

    proptest! {
        #[test]
        fn it_is_found_just_where_it_is(
            keys in proptest::collection::vec(b'a'..=b'c', 1..5),
            typed in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 0..6), 0..8),
        ) {
            let names: Vec<String> = keys.iter().map(|key| char::from(*key).to_string()).collect();
            let slices: Vec<&[u8]> = typed.iter().map(Vec::as_slice).collect();
            let (out, found) = run(&names.join(","), &slices);
            let all = typed.concat();
            match all.windows(keys.len()).position(|window| window == keys) {
                Some(at) => {
                    prop_assert!(found);
                    prop_assert_eq!(&out[..], &all[..at]);
                }
                None => {
                    prop_assert!(!found);
                    prop_assert_eq!(out, all);
                }
            }
        }
    }
}
