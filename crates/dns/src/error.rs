use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server can't listen inside a container.
    #[error("cannot answer names in the network namespace {}: {source}", path.display())]
    Namespace {
        /// The namespace's file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The server can't listen on a gateway's address.
    #[error(
        "cannot listen on {address} port 53: {source}; if another DNS server of this host listens \
         there, or on all addresses, make it leave {address} out (dnsmasq: except-interface, \
         bind-dynamic; unbound: interface; systemd-resolved: DNSStubListenerExtra)"
    )]
    Gateway {
        /// The gateway's address.
        address: IpAddr,
        /// The reason.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
