//! Names, by Docker's rule.

use crate::{Error, Result};

/// The longest name, in bytes.
const MAX: usize = 64;

/// Checks the name of a secret or config: 1 to 64 letters, digits, `-`, `_` and `.`, of which the
/// first and the last are letters or digits.
///
/// # Errors
/// [`Error::Invalid`], with Docker's text.
pub fn check(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::Invalid("name must be provided".into()));
    }
    let bytes = name.as_bytes();
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if name.len() <= MAX && outer(bytes.first()) && outer(bytes.last()) && bytes.iter().all(inner) {
        return Ok(());
    }
    Err(Error::Invalid(
        "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character \
         must be [a-zA-Z0-9]"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for good in ["a", "a.b", "0-_.9", "A_1", &"x".repeat(64)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            ".",
            "a b",
            "a/b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
