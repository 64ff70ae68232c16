//! How the server is set up.

use std::time::Duration;

/// Limits and habits of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Connections at once, over all listeners; further ones wait.
    pub max_connections: usize,
    /// Bytes of a JSON body.
    pub max_json: usize,
    /// How long a request's headers may take to arrive, idle time before them included.
    pub header_timeout: Duration,
    /// How long requests may go on after the shutdown began.
    pub drain_limit: Duration,
    /// What `Builder-Version` says: `1` classic builds, `2` BuildKit.
    pub builder_version: &'static str,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_json: 4 << 20,
            header_timeout: Duration::from_secs(600),
            drain_limit: Duration::from_secs(15),
            builder_version: "1",
        }
    }
}
