//! The `X-Docker-Container-Path-Stat` header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_runtime::archive::PathStat;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The header.
pub const HEADER: &str = "X-Docker-Container-Path-Stat";

/// A path in a container (in camel case, unlike everything else).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// Last change.
    pub mtime: Time,
    /// Where a symbolic link points.
    pub link_target: String,
}

/// Why a header holds no such thing.
#[derive(Debug, thiserror::Error)]
pub enum StatError {
    /// Not base64.
    #[error("invalid path stat: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not JSON.
    #[error("invalid path stat: {0}")]
    Json(#[from] serde_json::Error),
}

impl ContainerPathStat {
    /// The header's value.
    pub fn to_header(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header.
    pub fn from_header(value: &str) -> Result<Self, StatError> {
        Ok(serde_json::from_slice(&STANDARD.decode(value)?)?)
    }
}

impl From<PathStat> for ContainerPathStat {
    fn from(stat: PathStat) -> Self {
        Self {
            name: stat.name,
            size: stat.size,
            mode: stat.mode,
            mtime: stat.mtime.into(),
            link_target: stat.link_target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_goes_both_ways() {
        let stat = ContainerPathStat {
            name: "etc".into(),
            size: 4096,
            mode: 0x8000_01ed,
            mtime: Time(Some("2026-01-02T03:04:05Z".parse().unwrap())),
            link_target: String::new(),
        };
        assert_eq!(
            ContainerPathStat::from_header(&stat.to_header()).unwrap(),
            stat
        );
        assert!(ContainerPathStat::from_header("e30?").is_err());
    }
}
