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
    /// How long nothing of a request's body may come.
    pub body_timeout: Duration,
    /// Requests a second from one address over TCP, on the average; twice as many at once. 0 for no
    /// limit.
    pub rate: u32,
    /// Reads the statistics of all running containers so often; where absent, only of those that
    /// somebody asked for.
    pub stats_interval: Option<Duration>,
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
            body_timeout: Duration::from_secs(600),
            rate: 200,
            stats_interval: None,
            drain_limit: Duration::from_secs(15),
            builder_version: "1",
        }
    }
}
