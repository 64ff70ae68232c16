//! What is known of a value without opening it: the first line of its file.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, MAX_CONFIG, MAX_SECRET, Result};

/// The only format there is.
pub(crate) const FORMAT: u32 = 1;
/// The longest first line, in bytes: labels are what may be long.
pub(crate) const MAX_HEADER: usize = 128 << 10;

/// What sort of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Never shown.
    Secret,
    /// Shown to whoever may use the daemon.
    Config,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Secret, Self::Config];

    pub(crate) const fn directory(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Config => "configs",
        }
    }

    /// Values must be smaller than this.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Secret => MAX_SECRET,
            Self::Config => MAX_CONFIG,
        }
    }

    /// Checks the size of a value.
    ///
    /// # Errors
    /// [`Error::Invalid`], with Docker's text.
    pub fn check(self, value: &[u8]) -> Result<()> {
        let limit = self.limit();
        if value.is_empty() || value.len() >= limit {
            return Err(Error::Invalid(format!(
                "{self} data must be larger than 0 and less than {limit} bytes"
            )));
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Config => "config",
        })
    }
}

/// A secret or config, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// 25 letters and digits, as Docker's.
    pub id: String,
    /// Its name, which no other of its kind has.
    pub name: String,
    /// Its labels, the one thing that can be changed.
    pub labels: BTreeMap<String, String>,
    /// 1, and one more with each change.
    pub version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When its labels were last changed.
    pub updated: Timestamp,
}

/// The first line of a file. Its bytes are authenticated with the value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    format: u32,
    kind: Kind,
    id: String,
    name: String,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// The number of the key.
    pub(crate) key: u64,
    /// 24 hexadecimal digits.
    pub(crate) nonce: String,
}

impl Header {
    pub(crate) fn new(entry: &Entry, key: u64, nonce: String) -> Self {
        let entry = entry.clone();
        Self {
            format: FORMAT,
            kind: entry.kind,
            id: entry.id,
            name: entry.name,
            version: entry.version,
            created: entry.created,
            updated: entry.updated,
            labels: entry.labels,
            key,
            nonce,
        }
    }

    pub(crate) fn to_line(&self) -> Result<Vec<u8>> {
        let line = serde_json::to_vec(self).map_err(|error| Error::Invalid(error.to_string()))?;
        if line.len() > MAX_HEADER {
            return Err(Error::Invalid(format!(
                "labels of {} must be less than {MAX_HEADER} bytes together",
                self.name
            )));
        }
        Ok(line)
    }

    /// Reads a first line, of the file of this kind and id.
    pub(crate) fn read(line: &[u8], kind: Kind, id: &str) -> Result<Self> {
        let damaged = |why: String| Error::Damaged {
            kind,
            name: id.to_owned(),
            why,
        };
        let header: Self = serde_json::from_slice(line)
            .map_err(|error| damaged(format!("its file can't be read: {error}")))?;
        if header.format != FORMAT {
            let format = header.format;
            return Err(damaged(format!(
                "format {format} is not known to this version"
            )));
        }
        if header.kind != kind || header.id != id {
            return Err(damaged("its file is another's".into()));
        }
        crate::check_name(&header.name).map_err(|error| damaged(error.to_string()))?;
        Ok(header)
    }

    pub(crate) fn entry(&self) -> Entry {
        let header = self.clone();
        Entry {
            kind: header.kind,
            id: header.id,
            name: header.name,
            labels: header.labels,
            version: header.version,
            created: header.created,
            updated: header.updated,
        }
    }
}
