//! Published ports: host sockets that reserve them, and what the firewall is told.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use serde::{Deserialize, Serialize};

use crate::Proto;
use crate::error::{Error, Result};
use crate::nft::elements::{Elements, Key, Target};
use crate::sysctl;

/// Connections that wait until the proxy takes them.
const BACKLOG: i32 = 1024;

/// A container's port that is to be reachable from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// Protocol.
    pub proto: Proto,
    /// Host address; `None`: all, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// Host port or ports, of which the first free one is taken; `None` (or 0): any.
    pub host_port: Option<RangeInclusive<u16>>,
    /// The container's port.
    pub container_port: u16,
}

/// A published port: what can be told and remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// Protocol.
    pub proto: Proto,
    /// Host address; `0.0.0.0` or `::` for all of a family.
    pub host_ip: IpAddr,
    /// Host port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
}

/// A published port with the socket that reserves it. The port is free again when the last
/// duplicate of the socket is closed.
#[derive(Debug)]
pub struct PortBinding {
    /// What it is.
    pub mapping: PortMapping,
    /// A listening TCP socket, or a bound UDP socket; close-on-exec.
    pub listener: OwnedFd,
}

/// Published ports of a container, in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Published {
    /// One for each host address: two for a request without address on a host with IPv6.
    pub bindings: Vec<PortBinding>,
}

impl Published {
    /// What can be told and remembered of them.
    #[must_use]
    pub fn mappings(&self) -> Vec<PortMapping> {
        self.bindings.iter().map(|b| b.mapping).collect()
    }
}

/// Whose ports lead where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The published ports.
    pub ports: Vec<PortMapping>,
    /// The container's IPv4 address.
    pub ip4: Option<Ipv4Addr>,
    /// The container's IPv6 address.
    pub ip6: Option<Ipv6Addr>,
}

impl Exposure {
    /// What the firewall can do of it. Ports of an IPv6 host address whose container has no IPv6
    /// are the proxy's alone, as are those of a loopback address as long as there is a proxy.
    pub(crate) fn elements(&self, proxy: bool) -> Elements {
        let element = |port: &PortMapping| {
            let (ipv4, ip) = match port.host_ip {
                IpAddr::V4(_) => (true, IpAddr::V4(self.ip4?)),
                IpAddr::V6(_) => (false, IpAddr::V6(self.ip6?)),
            };
            if port.host_ip.is_loopback() && (proxy || !ipv4) {
                return None;
            }
            let host_ip = (!port.host_ip.is_unspecified()).then_some(port.host_ip);
            let key = Key {
                ipv4,
                host_ip,
                proto: port.proto,
                port: port.host_port,
            };
            Some((
                key,
                Target {
                    ip,
                    port: port.container_port,
                },
            ))
        };
        self.ports.iter().filter_map(element).collect()
    }
}

/// All that is published, as the firewall sees it.
pub(crate) fn all_elements(
    exposed: &BTreeMap<String, Exposure>,
    proxy: bool,
) -> BTreeMap<String, Elements> {
    exposed
        .iter()
        .map(|(id, exposure)| (id.clone(), exposure.elements(proxy)))
        .collect()
}

/// Finds and reserves host ports. The kernel alone decides what is free: a port is taken as long
/// as somebody's socket is bound to it.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Where the search for any port goes on, so that one is not used again at once.
    cursor: AtomicU16,
}

impl Ports {
    /// Reserves ports: all or none. `ipv6` says whether IPv6 ports are wanted where none was
    /// asked for by its address.
    pub(crate) fn publish(
        &self,
        requests: &[PortRequest],
        default_host_ip: Option<IpAddr>,
        ipv6: bool,
    ) -> Result<Published> {
        let mut bindings = Vec::new();
        for request in requests {
            if request.proto == Proto::Sctp {
                return Err(Error::Unsupported("publishing of sctp ports".to_owned()));
            }
            if request.container_port == 0 {
                return Err(Error::invalid("invalid container port 0: from 1 to 65535"));
            }
            bindings.extend(self.bind(
                request,
                &host_ips(request.host_ip.or(default_host_ip), ipv6),
            )?);
        }
        Ok(Published { bindings })
    }

    fn bind(&self, request: &PortRequest, host_ips: &[IpAddr]) -> Result<Vec<PortBinding>> {
        let (wanted, any) = match &request.host_port {
            None => (ephemeral_range(), true),
            Some(range) if *range.end() == 0 => (ephemeral_range(), true),
            Some(range) if range.is_empty() || *range.start() == 0 => {
                return Err(Error::Invalid(format!(
                    "invalid host port range {}-{}",
                    range.start(),
                    range.end()
                )));
            }
            Some(range) => (range.clone(), false),
        };
        let (low, high) = (*wanted.start(), *wanted.end());
        let start = match self.cursor.load(Ordering::Relaxed) {
            next if any && wanted.contains(&next) => next,
            _ => low,
        };
        let mut taken = None;
        for port in (start..=high).chain(low..start) {
            match bind_all(request, host_ips, port) {
                Ok(bindings) => {
                    if any {
                        self.cursor.store(port.wrapping_add(1), Ordering::Relaxed);
                    }
                    return Ok(bindings);
                }
                Err(e @ Error::PortAllocated { .. }) => taken = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(taken
            .filter(|_| low == high)
            .unwrap_or(Error::AllPortsAllocated))
    }
}

/// The addresses that a request is for.
fn host_ips(wanted: Option<IpAddr>, ipv6: bool) -> Vec<IpAddr> {
    let all = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    match wanted {
        Some(ip) => vec![ip],
        None => all.into_iter().filter(|ip| ipv6 || ip.is_ipv4()).collect(),
    }
}

/// Binds one port on all addresses of a request, or on none.
fn bind_all(request: &PortRequest, ips: &[IpAddr], port: u16) -> Result<Vec<PortBinding>> {
    let mut bindings = Vec::with_capacity(ips.len());
    for ip in ips {
        let address = SocketAddr::new(*ip, port);
        let listener = match listen(request.proto, address) {
            Ok(listener) => listener,
            // A host without IPv6: its IPv4 ports are all that there is.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if !bindings.is_empty() => continue,
            Err(e) => return Err(bind_error(request.proto, address, e)),
        };
        let mapping = PortMapping {
            proto: request.proto,
            host_ip: *ip,
            host_port: port,
            container_port: request.container_port,
        };
        bindings.push(PortBinding { mapping, listener });
    }
    Ok(bindings)
}

/// The port of the names that machines ask for, at addresses of the host's own.
const DNS_PORT: u16 = 53;

/// One at a time: whether the port is free is seen before it is taken.
static DNS: Mutex<()> = Mutex::new(());

/// A socket on a port. Port 53 of all addresses is shared with what answers names on addresses of
/// our bridges (which lets it, `coracle-dns`), and with nobody else.
fn listen(proto: Proto, address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    if address.port() != DNS_PORT || !address.ip().is_unspecified() {
        return open(proto, address, false);
    }
    let _alone = DNS.lock().unwrap_or_else(PoisonError::into_inner);
    // Who has the port of all addresses has that of this one, and lets nobody share it who doesn't say so.
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let free = open(proto, SocketAddr::new(loopback, DNS_PORT), false).map(drop);
    match free {
        Ok(()) | Err(Errno::ADDRNOTAVAIL) => open(proto, address, true),
        Err(error) => Err(error),
    }
}

fn open(proto: Proto, address: SocketAddr, shared: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, protocol) = match proto {
        Proto::Tcp => (SocketType::STREAM, ipproto::TCP),
        Proto::Udp => (SocketType::DGRAM, ipproto::UDP),
        Proto::Sctp => return Err(Errno::PROTONOSUPPORT),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if proto == Proto::Tcp {
        // Connections of a former owner that are still closing don't keep a new one out. (With UDP
        // it would let two owners share the port.)
        set_socket_reuseaddr(&socket, true)?;
    }
    if shared {
        set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if proto == Proto::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn bind_error(proto: Proto, address: SocketAddr, error: Errno) -> Error {
    let address = address.to_string();
    let hint = match error {
        Errno::ADDRINUSE => return Error::PortAllocated { address },
        Errno::ACCESS => {
            " (ports below net.ipv4.ip_unprivileged_port_start need privileges: choose a higher \
             port, or lower that setting)"
        }
        Errno::ADDRNOTAVAIL => " (the host has no such address)",
        _ => "",
    };
    Error::Bind {
        address,
        proto,
        source: io::Error::from(error),
        hint,
    }
}

/// The ports of which any is taken, as Docker does: the kernel's ephemeral ones.
fn ephemeral_range() -> RangeInclusive<u16> {
    let parse = |text: String| {
        let mut words = text.split_whitespace().map(|w| w.parse::<u16>().ok());
        let (low, high) = (words.next()??, words.next()??);
        (low > 0 && low <= high).then_some(low..=high)
    };
    sysctl::get("ipv4/ip_local_port_range")
        .ok()
        .and_then(parse)
        .unwrap_or(49153..=65535)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: &str) -> PortMapping {
        let host_ip = host_ip.parse().unwrap();
        PortMapping {
            proto: Proto::Tcp,
            host_ip,
            host_port: 8080,
            container_port: 80,
        }
    }

    #[test]
    fn what_the_firewall_does_and_what_the_proxy() {
        let ports = ["0.0.0.0", "::", "127.0.0.1", "::1", "10.0.0.1"]
            .map(mapping)
            .to_vec();
        let mut exposure = Exposure {
            ports,
            ip4: Some(Ipv4Addr::new(172, 17, 0, 2)),
            ip6: None,
        };
        let hosts = |exposure: &Exposure, proxy| -> Vec<String> {
            let keys = exposure.elements(proxy).into_keys();
            keys.map(|k| format!("{:?}", k.host_ip)).collect()
        };
        assert_eq!(hosts(&exposure, true), ["None", "Some(10.0.0.1)"]);
        assert_eq!(
            hosts(&exposure, false),
            ["None", "Some(10.0.0.1)", "Some(127.0.0.1)"]
        );
        exposure.ip6 = Some("fd00::2".parse().unwrap());
        assert_eq!(hosts(&exposure, true), ["None", "None", "Some(10.0.0.1)"]);
    }

    #[test]
    fn refusals() {
        let ports = Ports::default();
        let request = |proto, host_port, container_port| PortRequest {
            proto,
            host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host_port,
            container_port,
        };
        let error = |r| ports.publish(&[r], None, true).err().unwrap().to_string();
        assert_eq!(
            error(request(Proto::Sctp, None, 80)),
            "publishing of sctp ports is not supported"
        );
        assert!(error(request(Proto::Tcp, None, 0)).contains("container port 0"));
        assert!(error(request(Proto::Tcp, Some(0..=9), 1)).contains("range 0-9"));
        #[allow(clippy::reversed_empty_ranges, reason = "it is to be refused")]
        let reversed = Some(9..=8);
        assert!(error(request(Proto::Tcp, reversed, 1)).contains("range 9-8"));
    }
}
