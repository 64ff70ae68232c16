//! Docker's rule for names of containers and volumes.

use coracle_runtime::{Result, RuntimeError};

/// Checks a name, and refuses it with Docker's text; `kind` is what it is to be the name of.
///
/// # Errors
/// `InvalidArgument`: not 2 to 255 characters, or others than letters, digits, `_`, `.` and `-`.
pub fn check_name(kind: &str, name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let valid = first
        && (2..=255).contains(&name.len())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if valid {
        Ok(())
    } else {
        Err(RuntimeError::InvalidArgument(format!(
            "Invalid {kind} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )))
    }
}
