//! Transport protocols.

use std::fmt;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "manage", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "manage", serde(rename_all = "lowercase"))]
pub enum Proto {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
    /// Associations of streams; published ports of it are refused.
    Sctp,
}

impl Proto {
    /// `tcp`, `udp` or `sctp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
