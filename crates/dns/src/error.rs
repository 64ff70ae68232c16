use std::io;
use std::net::{IpAddr, SocketAddr};
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
    /// The server can't listen for the host.
    #[error("cannot listen on {address} for the host's questions: {source}; choose another port")]
    Host {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// Not a place for the host's questions.
    #[error("{0} is no loopback address with a port, such as 127.0.0.1:2053")]
    HostAddress(SocketAddr),
    /// Not a domain for names of containers.
    #[error("{0:?} is no domain of letters, digits and \"-\" that is free to use, such as coracle")]
    Domain(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
