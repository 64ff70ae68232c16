//! OCI nouns: references, digests, platforms, manifests, image configurations.
//!
//! # What it owns
//! - [`Digest`], [`Digester`] and [`Verifier`]: content addresses and their checking.
//! - [`Reference`]: image names by the distribution grammar, with Docker's short names.
//! - [`Platform`]: what an image runs on, and which of several fits best.
//! - [`Descriptor`], [`Manifest`], [`Index`], [`ImageConfig`]: the JSON documents of the OCI image
//!   specification and their Docker schema 2 twins, and the [`media`] types that name them.
//! - [`chain_ids`]: the names of layer stacks.
//!
//! # What it must not know
//! Files, sockets, clocks, and every other crate of the workspace. All functions are pure.
//!
//! # Invariants
//! - Whatever was parsed is valid: a `Digest` has a known algorithm and the right length, a
//!   `Reference` follows the grammar, a `Manifest` has no more layers than [`limits`] allow.
//! - Parsing takes bounded time and memory and never panics, whatever the bytes are.
//! - Parsing may drop fields that nobody here uses: the blob stays the authority, so a document
//!   that is passed on is passed on as bytes, never re-serialised.
#![forbid(unsafe_code)]

mod chain;
mod config;
mod descriptor;
mod digest;
mod document;
mod lenient;
pub mod limits;
pub mod media;
mod platform;
mod reference;
mod verifier;

pub use chain::chain_ids;
pub use config::ConfigError;
pub use config::ContainerConfig;
pub use config::Empty;
pub use config::Healthcheck;
pub use config::History;
pub use config::ImageConfig;
pub use config::RootFs;
pub use descriptor::Descriptor;
pub use digest::Algorithm;
pub use digest::Digest;
pub use digest::DigestError;
pub use digest::Digester;
pub use document::Document;
pub use document::DocumentError;
pub use document::Index;
pub use document::Manifest;
pub use platform::Platform;
pub use platform::PlatformError;
pub use reference::DEFAULT_DOMAIN;
pub use reference::DEFAULT_TAG;
pub use reference::Reference;
pub use reference::ReferenceError;
pub use verifier::Verifier;
pub use verifier::VerifyError;
