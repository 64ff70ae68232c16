//! A DNS server for containers' names.
//!
//! Owns the answers: which names a container sees, what they stand for, what is asked of the
//! host's resolvers instead, and the sockets that all this goes through. It knows containers and
//! networks by what a [`Snapshot`] says of them, and neither how they run nor how they are stored.
//!
//! **Where it listens.** Docker's place: `127.0.0.11` in each container's own network namespace, on
//! ports of the kernel's choice that two rules inside lead port 53 to ([`Server::open`]). So
//! - it is what tools and configurations written for Docker expect (`resolver 127.0.0.11` of an
//!   nginx, for one), and `/etc/resolv.conf` needs no change when a container joins or leaves
//!   networks;
//! - port 53 stays free, both on the host (for its own DNS server, and for `-p 53:53`) and inside (for
//!   a DNS server in a container);
//! - a firewall of the host's between it and its containers does no harm, internal networks need no
//!   exception, and nobody else can ask: the socket tells who does.
//!
//! The sockets are the daemon's. They are gone while it is, and come back with it; nothing in a
//! container changes by that. What has no namespace on this host (a virtual machine) asks the
//! gateway's address instead ([`Server::open_gateway`]), where the address of the sender tells who
//! asks; others get no answer.
//!
//! The host's own programs ask at a loopback address, if it is wanted ([`Server::open_host`]): names
//! of all containers, in a domain of their own ([`Host`]).
//!
//! **What it must not know**: how containers get their addresses, and what `/etc/resolv.conf` says.
//!
//! **Invariants**
//! - A name is answered by what is true when it is asked for: [`Server::changed`] makes the next
//!   question read the snapshot again. Answers live for a second.
//! - A container sees the names of its own networks, and no others.
//! - The host is told of nothing but containers: other questions are refused, never forwarded.
//! - A container on internal networks alone has nothing forwarded.
//! - Nothing that comes in over a socket panics, blocks, or grows without bound.
//! - No thread of the runtime is ever in a foreign network namespace.

#![forbid(unsafe_code)]

mod answer;
mod error;
mod exchange;
mod forward;
mod gate;
mod host;
mod place;
mod question;
mod resolvers;
mod serve;
mod server;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use host::Host;
pub use server::{Config, Server};
pub use snapshot::{Container, Endpoint, Network, Snapshot, Source};

/// Where a container finds the server, as with Docker.
pub const ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);

/// What a hostile packet goes through before anybody is asked anything: for fuzzing.
#[doc(hidden)]
pub fn fuzz(packet: &[u8]) {
    let turns = answer::Turns::default();
    let table = table::Table::new(&snapshot::Snapshot::sample());
    for asker in ["one", "two", "nobody", "the host"] {
        let asker = match asker {
            "the host" => answer::Asker::Host("coracle"),
            id => answer::Asker::Container(id),
        };
        let reply = answer::answer(&table, asker, packet, question::Transport::Udp, &turns);
        if let answer::Outcome::Reply(reply) = reply {
            assert!(reply.len() <= question::Transport::limit(packet).max(512));
            assert!(reply.starts_with(packet.get(..2).unwrap_or_default()));
        }
    }
    exchange::matches(packet, packet);
    let _ = resolvers::parse(&String::from_utf8_lossy(packet));
}
