//! What can go wrong, in the words that Docker's users know.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::Proto;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value from outside is malformed or contradicts another one.
    #[error("{0}")]
    Invalid(String),
    /// A thing that was asked for and that this crate doesn't do.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// No network has this id.
    #[error("network {0} not found")]
    NetworkNotFound(String),
    /// A network of this name is there already.
    #[error("network with name {0} already exists")]
    NetworkExists(String),
    /// The default network was to be removed.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// A network was to be removed while containers are attached to it.
    #[error("error while removing network: network {name} id {id} has active endpoints")]
    NetworkInUse {
        /// The network's name.
        name: String,
        /// The network's id.
        id: String,
    },
    /// A subnet overlaps with another network's.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlap,
    /// Every subnet of the default pools is taken by a network or by a route of the host.
    #[error(
        "all predefined address pools have been fully subnetted: remove a network, or give a \
         subnet or other default address pools"
    )]
    NoPool,
    /// A network has no free address left.
    #[error("no available {family} addresses on this network's address pools: {network}")]
    NoAddress {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The network's name.
        network: String,
    },
    /// An address was asked for that another endpoint (or the gateway) has.
    #[error("Address already in use: {0}")]
    AddressInUse(IpAddr),
    /// An address was asked for that the network doesn't own.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    AddressOutside(IpAddr),
    /// A host port is taken, by a container or by any other process.
    #[error("Bind for {address} failed: port is already allocated")]
    PortAllocated {
        /// Host address and port.
        address: String,
    },
    /// No port of a range, or of the ephemeral ports, is free.
    #[error("all ports are allocated")]
    AllPortsAllocated,
    /// A host port couldn't be bound for another reason.
    #[error("failed to bind host port {address}/{proto}: {source}{hint}")]
    Bind {
        /// Host address and port.
        address: String,
        /// The protocol.
        proto: Proto,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it, or nothing.
        hint: &'static str,
    },
    /// The kernel refused a change of interfaces, addresses or routes.
    #[error("{what}: {source}")]
    Netlink {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A machine's tap couldn't be made or opened.
    #[error("tap {name}: {source}")]
    Tap {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `nft` refused rules.
    #[error("firewall: nft: {0}")]
    Firewall(String),
    /// A file or a system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A network namespace isn't there or isn't one.
    #[error("network namespace {path}: {source}")]
    Namespace {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A worker thread died; nothing is known of its work.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn netlink(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Netlink { what, source }
    }
}

/// Runs blocking work on the runtime's pool of threads for it. Once begun it runs to its end, even
/// when the future is dropped.
#[cfg(feature = "manage")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(Error::Internal(
            "a blocking task of the network crate ended early",
        )))
}

/// Runs work to its end even when the future is dropped: it has several steps, and half of them
/// would be worse than all.
#[cfg(feature = "manage")]
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or(Err(Error::Internal(
        "a task of the network crate ended early",
    )))
}
