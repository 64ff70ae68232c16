//! The HTTP API over any [`Runtime`]: Docker's Engine API, versions 1.24 to 1.47, and below `/api/v1` the
//! native one.
//!
//! **Owns** the accept loop ([`Server`]), version negotiation, routes, Docker's checks and error
//! texts, filters of lists, streams (logs, events, statistics, progress) and hijacked connections
//! (attach, exec); keys, and limits of what one client may take.
//!
//! **Must not know** any conformer, nor TLS, nor where its sockets come from ([`Listener`]).
//!
//! **Invariants**
//! - Every error is `{"message": …}` with the status of its kind, and below `/api/v1` the native
//!   envelope; every refused request is logged. Every answer has an `X-Request-Id`.
//! - The native API's description is made of the types that its routes read and write.
//! - A request that changes something runs to its end, whether or not its client waits; one that only
//!   waits or streams ends when its client is gone, or the server drains.
//! - Nothing from outside is unbounded: connections, headers, JSON bodies. Archives stream.
//!
//! [`Runtime`]: coracle_runtime::Runtime
#![forbid(unsafe_code)]

mod config;
mod connection;
mod convert;
mod error;
mod extract;
mod follow;
mod gate;
mod io;
mod keys;
mod limits;
mod listener;
mod matching;
mod metrics;
mod native;
mod respond;
mod routes;
mod server;
mod service;
mod stream;
mod version;

use std::sync::Arc;
use std::time::Instant;

use coracle_runtime::Runtime;

pub use config::ServerConfig;
pub use connection::{ClientGone, Hijack, HijackedIo};
pub use error::ApiError;
pub use keys::{KeyError, Keys};
pub use listener::{Listener, Peer};
pub use server::Server;
pub use version::ApiVersion;

/// What every route has: the runtime, and how the server is set up.
#[derive(Clone)]
pub struct Api {
    /// What does the work.
    pub runtime: Arc<dyn Runtime>,
    /// How the server is set up.
    pub config: Arc<ServerConfig>,
    /// Keys of clients that come over TCP.
    pub(crate) keys: Arc<Keys>,
    /// What containers used.
    pub(crate) history: Arc<native::History>,
    /// What the server counts.
    pub(crate) metrics: Arc<metrics::Metrics>,
    /// When the daemon began to serve.
    pub(crate) started: Instant,
}
