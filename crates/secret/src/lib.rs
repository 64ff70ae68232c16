//! Secrets and configs: values by name, kept encrypted.
//!
//! **Owns** `<root>/keys/`, `<root>/secrets/` and `<root>/configs/`: the keys, and one file for each
//! value. **Must not know** containers, nor who uses a value.
//!
//! **Invariants**
//! - No value is on disk but encrypted (AES-256-GCM, a fresh random nonce for each write). Everything
//!   that a file says besides its value is authenticated with it: kind, id, name, version, labels.
//!   So a file that was changed, cut, renamed or put in another's place can't be opened. (An older
//!   version of the same file, put back whole, can.)
//! - A key is a file that only its owner can read, in a directory that only its owner can enter. One
//!   that others could read is refused.
//! - Files are whole or not there, whatever is killed, and after a power cut as well.
//! - [Exchanging the key](Vault::rotate) can be cut short at any moment: then there are two keys, each
//!   value has one of them, and the next [`Vault::open`] finishes it.
//! - Values, and keys, are overwritten in memory after use.
#![forbid(unsafe_code)]

mod cipher;
mod entry;
mod error;
mod files;
mod keys;
mod name;
mod vault;

pub use entry::{Entry, Kind};
pub use error::{Error, Result};
pub use name::check as check_name;
pub use vault::Vault;
pub use zeroize::Zeroizing;

/// Secrets are smaller than this, in bytes (Docker's limit).
pub const MAX_SECRET: usize = 500 * 1024;
/// Configs are smaller than this, in bytes (Docker's limit).
pub const MAX_CONFIG: usize = 1000 * 1024;
