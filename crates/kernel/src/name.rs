//! Names of kernels: they are directory names.

use crate::error::{Error, Result};

/// The most characters of a name.
const MAX: usize = 64;

/// The name of the file that says which kernel is the default.
pub(crate) const DEFAULT: &str = "default";

/// Refuses what isn't a kernel's name.
pub(crate) fn check(name: &str) -> Result<()> {
    let starts = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let holds = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if starts && holds && name.len() <= MAX && name != DEFAULT {
        Ok(())
    } else {
        Err(Error::InvalidName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "6.1.0-56-cloud-amd64", "6.1.192-coracle", "x_Y"] {
            assert!(check(name).is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        for name in ["", ".a", "-a", "a/b", "..", "default", "a b", "é", &long] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
