//! The registry client: pull, push, authentication, mirrors.
//!
//! Speaks the OCI distribution specification 1.1 with Docker's token authentication.
//!
//! # What it owns
//! - [`Client`]: connections (TLS, proxies, redirects), tokens, retries; for all registries.
//! - [`Repository`]: single operations on manifests, blobs and tags.
//! - [`Puller`] and [`push`]: whole images from and into the content store, layers side by side,
//!   with the [`Progress`] that Docker shows.
//! - [`RegistriesConfig`]: mirrors, insecure registries, certificates, proxies.
//! - [`Credentials`], [`DockerConfig`], [`Helper`]: who somebody is, and where that is kept.
//!
//! # What it must not know
//! How layers are unpacked, what images are called locally, and who asks.
//!
//! # Invariants
//! - Nothing that a registry sends is believed: digests and sizes are checked, documents, lists and
//!   error texts are bounded, and every wait has an end.
//! - Credentials go to the registry that they are for and to the token server that it names, never
//!   along a redirect, never to a mirror, never from https to plain http, never into a log.
//! - Dropping a future stops its work. What was downloaded until then stays in the store's `ingest`
//!   and the next pull goes on from there.
#![forbid(unsafe_code)]

mod answer;
mod auth;
mod blob;
mod cidr;
mod client;
mod connect;
mod docker_config;
mod error;
mod file_body;
mod flight;
mod follow;
#[cfg(test)]
mod fuzz_tests;
mod helper;
mod hosts;
mod location;
mod manifest;
mod progress;
mod proxy;
mod pull;
mod push;
mod refusal;
mod repository;
mod retry;
mod select;
mod tags;
mod tls;
mod transport;
mod upload;

pub use auth::AuthSource;
pub use auth::credentials::Credentials;
pub use client::Client;
pub use client::LoginStatus;
pub use docker_config::DockerConfig;
pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
pub use follow::LayerStream;
pub use helper::Helper;
pub use hosts::RegistriesConfig;
pub use manifest::FetchedManifest;
pub use manifest::ManifestName;
pub use progress::Progress;
pub use progress::ProgressEvent;
pub use progress::Status;
pub use proxy::Proxies;
pub use pull::PullEvent;
pub use pull::PullOptions;
pub use pull::PulledImage;
pub use pull::Puller;
pub use push::KnownIn;
pub use push::PushOptions;
pub use push::PushedImage;
pub use push::push;
pub use repository::Repository;
pub use retry::RetryPolicy;
pub use transport::Timeouts;
