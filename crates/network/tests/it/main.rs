//! The crate on real kernels: bridges, namespaces, rules and traffic.

// Also of the helpers, which clippy doesn't take for tests.
#![allow(clippy::unwrap_used)]

mod attach;
mod chaos;
mod children;
mod host;
mod interface;
mod machine;
mod measure;
mod ports;
mod proxy;
mod recovery;
