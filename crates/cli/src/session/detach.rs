//! The keys that detach, such as `ctrl-p,ctrl-q`.

use crate::error::{Error, Result};

/// Docker's own.
const DEFAULT: [u8; 2] = [16, 17];

/// Looks for a sequence of keys in what is typed. Keys that may be its beginning are held back until
/// it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads `ctrl-a,b,…`; empty means Docker's own.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let keys = if text.is_empty() {
            DEFAULT.to_vec()
        } else {
            text.split(',')
                .map(key)
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    let why = "want keys such as ctrl-p,ctrl-q or a,b";
                    Error::option("--detach-keys", text, why)
                })?
        };
        Ok(Self { keys, matched: 0 })
    }

    /// Takes what was typed: gives what is to be sent, and whether the sequence was complete.
    pub(crate) fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut sent = Vec::with_capacity(typed.len());
        for &byte in typed {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (sent, true);
                }
                continue;
            }
            sent.extend_from_slice(self.held());
            self.matched = 0;
            if self.keys.first() == Some(&byte) {
                self.matched = 1;
            } else {
                sent.push(byte);
            }
        }
        (sent, false)
    }

    /// What is held back.
    pub(crate) fn held(&self) -> &[u8] {
        self.keys.get(..self.matched).unwrap_or_default()
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', key] => Some(match key {
            b'a'..=b'z' => key - b'a' + 1,
            b'@' => 0,
            b'[' => 27,
            b'\\' => 28,
            b']' => 29,
            b'^' => 30,
            b'_' => 31,
            _ => return None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read() {
        assert_eq!(DetachKeys::parse("").unwrap().keys, [16, 17]);
        assert_eq!(
            DetachKeys::parse("ctrl-a,x,ctrl-]").unwrap().keys,
            [1, b'x', 29]
        );
        for bad in [",", "ctrl-", "ctrl-A", "ab", "ctrl-p,"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sequence_is_found_across_reads() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.take(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(keys.take(b"\x11rest"), (Vec::new(), true));
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(
            keys.take(b"\x10x\x10\x10\x11"),
            (b"\x10x\x10".to_vec(), true)
        );
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.take(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.held(), b"\x10");
    }
}
