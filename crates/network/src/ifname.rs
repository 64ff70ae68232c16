//! Names of interfaces.

use crate::error::{Error, Result};

/// Checks a name of an interface: what the kernel takes, without what `nft` reads as a pattern.
pub(crate) fn check_ifname(name: &str) -> Result<()> {
    let valid = (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && name.bytes().any(|b| b.is_ascii_alphanumeric())
        && !name.starts_with(['-', '.']);
    if valid {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "invalid interface name {name:?}: 1 to 15 letters, digits, '.', '_' and '-'"
        )))
    }
}
