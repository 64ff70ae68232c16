//! A client of the daemon's HTTP API, over a unix socket, TCP or TLS.
//!
//! **Owns** connections (opened when needed, reused while they are good), the API version that is
//! spoken, hijacked streams, the decoding of multiplexed and line-wise answers, and the meaning of
//! errors with what the user can do about them.
//!
//! **Must not know** command lines, terminals, configuration files or the environment.
//!
//! **Invariants**
//! - The newest version is spoken without asking first; only a server that refuses it is asked in an
//!   older one. Nothing else is sent twice, but a request that never left.
//! - Whatever comes from the server is bounded: answers, lines and frames.
//! - Dropping a future or a stream ends the request; the server notices.
#![forbid(unsafe_code)]

mod api;
mod body;
mod client;
mod connection;
mod error;
mod frames;
mod hijack;
mod host;
mod lines;
mod native;
mod query;
mod response;
mod tls;

pub use api::{
    AttachQuery, CommitQuery, EventsQuery, ImportQuery, ListContainersQuery, LogsQuery,
    RemoveContainerQuery, SecretKind, WaitCondition,
};
pub use body::Upload;
pub use client::Client;
pub use error::{Error, Result};
pub use frames::{FrameReader, Item};
pub use hijack::{Hijacked, HijackedReader, HijackedWriter};
pub use host::{DEFAULT_PORT, DEFAULT_TLS_PORT, Host};
pub use lines::Lines;
pub use native::{Native, Stream};
pub use query::{Filters, Query};
pub use response::Download;
pub use tls::TlsOptions;
