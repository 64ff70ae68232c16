//! Secrets and configs: values by name, for containers to read as files.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::serde_util::wire;

/// Bytes that are shown nowhere and overwritten when they are dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// Takes bytes over.
    #[must_use]
    pub fn new(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// A secret, or what is known of a config besides its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// 25 letters and digits.
    pub id: String,
    /// Name; no other of its kind has it.
    pub name: String,
    /// Labels, the one thing that can be changed.
    pub labels: BTreeMap<String, String>,
    /// One more with each change.
    pub version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When its labels were last changed.
    pub updated: Timestamp,
}

/// A config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// All but its value.
    pub about: Secret,
    /// Its value.
    pub data: Vec<u8>,
}

/// A secret or config to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSpec {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub data: Sensitive,
}

/// A change of a secret's or config's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretUpdate {
    /// The version that is to be changed.
    pub version: u64,
    /// All labels that it is to have.
    pub labels: BTreeMap<String, String>,
}

wire! {
    /// A secret or config as a file in a container.
    pub struct FileReference {
        /// Its name or id.
        pub source: String,
        /// Where: a path, or a file's name below `/run/secrets` (secrets) or `/` (configs). Empty
        /// means the source's name.
        pub target: String,
        /// The owner's id, in decimal; empty means 0.
        #[serde(rename = "UID")]
        pub uid: String,
        /// The group's id, in decimal; empty means 0.
        #[serde(rename = "GID")]
        pub gid: String,
        /// Permissions; `None` means 0444.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mode: Option<u32>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let spec = SecretSpec {
            data: Sensitive::new(b"open sesame".to_vec()),
            ..SecretSpec::default()
        };
        let shown = format!("{spec:?}");
        assert!(
            shown.contains("[11 bytes]") && !shown.contains("111"),
            "{shown}"
        );
    }
}
