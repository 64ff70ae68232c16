//! Sockets, where they are to be. Blocking.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ADDRESS;

const PORT: u16 = 53;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Where questions come in.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// Makes sockets in a namespace, and leads port 53 of 127.0.0.11 to them. Without `nft` they take
/// that port itself.
pub(crate) fn in_namespace(netns: &Path, nft: &OsStr) -> io::Result<Sockets> {
    let file = File::open(netns)?;
    // A thread that ends with it: no thread that others use is ever in a foreign namespace.
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("dns".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                match redirected(nft) {
                    Ok(sockets) => Ok(sockets),
                    Err(error) => {
                        tracing::debug!(%error, "no redirection in {}", netns.display());
                        listen(ADDRESS.into(), PORT)
                    }
                }
            })?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a namespace thread panicked")))
    })
}

fn redirected(nft: &OsStr) -> io::Result<Sockets> {
    let sockets = listen(ADDRESS.into(), 0)?;
    let (udp, tcp) = (sockets.udp.local_addr()?, sockets.tcp.local_addr()?);
    let rules = rules(udp.port(), tcp.port());
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()));
    let output = child.wait_with_output()?;
    written?;
    if output.status.success() {
        Ok(sockets)
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().next().unwrap_or("nft fails").to_owned();
        Err(io::Error::other(line))
    }
}

/// Where daemons are started with a short one, it is found all the same.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// A table of our own in the container's namespace. What a former daemon left is replaced.
fn rules(udp: u16, tcp: u16) -> String {
    format!(
        "table ip coracle_dns\n\
         delete table ip coracle_dns\n\
         table ip coracle_dns {{\n\
         chain output {{\n\
         type nat hook output priority -100\n\
         ip daddr {ADDRESS} udp dport {PORT} dnat to {ADDRESS}:{udp}\n\
         ip daddr {ADDRESS} tcp dport {PORT} dnat to {ADDRESS}:{tcp}\n\
         }}\n\
         }}\n"
    )
}

/// Makes sockets on an address of the host's. It need not be there yet, and a container may have published
/// the port of all addresses: theirs is more particular, and gets the questions.
pub(crate) fn at_gateway(address: IpAddr) -> io::Result<Sockets> {
    make(address, PORT, true)
}

/// Makes sockets for the host's own questions.
pub(crate) fn on_host(address: SocketAddr) -> io::Result<Sockets> {
    listen(address.ip(), address.port())
}

fn listen(address: IpAddr, port: u16) -> io::Result<Sockets> {
    make(address, port, false)
}

/// `shared` with sockets on all addresses that are of the same user and say so too.
fn make(address: IpAddr, port: u16, shared: bool) -> io::Result<Sockets> {
    let make = |kind, protocol| -> io::Result<_> {
        let family = match address {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
        match address {
            IpAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
            IpAddr::V6(_) => {
                sockopt::set_ipv6_v6only(&socket, true)?;
                sockopt::set_ipv6_freebind(&socket, true)?;
            }
        }
        if kind == SocketType::STREAM {
            // Connections of a former daemon that linger don't matter.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        if shared {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        rustix::net::bind(&socket, &SocketAddr::new(address, port))?;
        Ok(socket)
    };
    let udp = make(SocketType::DGRAM, ipproto::UDP)?;
    let tcp = make(SocketType::STREAM, ipproto::TCP)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok(Sockets {
        udp: udp.into(),
        tcp: tcp.into(),
    })
}
