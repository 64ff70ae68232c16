//! The host's resolvers: whom its `/etc/resolv.conf` names now.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look at the file is good for.
const FRESH: Duration = Duration::from_millis(500);
/// resolv.conf(5) knows three; nobody needs more than these.
const MOST: usize = 8;
/// What Docker asks where the host names none.
const DEFAULT: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4)),
];

/// Follows the file by its times: it is small, and questions to others are few.
#[derive(Debug)]
pub(crate) struct Resolvers {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    looked: Instant,
    stamp: Option<Stamp>,
    servers: Arc<[SocketAddr]>,
}

type Stamp = (u64, u64, i64, i64);

impl Resolvers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::new(None),
        }
    }

    /// Those of now, in the file's order.
    pub(crate) fn servers(&self) -> Arc<[SocketAddr]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(known) = &mut *known {
            if now.duration_since(known.looked) < FRESH {
                return known.servers.clone();
            }
            known.looked = now;
            if known.stamp == stamp(&self.path) {
                return known.servers.clone();
            }
        }
        // The stamp first: what changes in between is read again.
        let stamp = stamp(&self.path);
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut servers = parse(&text);
        if servers.is_empty() {
            servers = DEFAULT.map(|ip| SocketAddr::new(ip, 53)).to_vec();
        }
        tracing::debug!(?servers, "resolvers of the host");
        let servers: Arc<[SocketAddr]> = servers.into();
        *known = Some(Known {
            looked: now,
            stamp,
            servers: servers.clone(),
        });
        servers
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// The `nameserver` lines of resolv.conf(5).
pub(crate) fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()
                .and_then(address)
        })
        .take(MOST)
        .collect()
}

fn address(word: &str) -> Option<SocketAddr> {
    let (ip, zone) = word.split_once('%').unwrap_or((word, ""));
    match ip.parse().ok()? {
        // As the kernel takes it: this host.
        IpAddr::V4(ip) if ip.is_unspecified() => Some(([127, 0, 0, 1], 53).into()),
        IpAddr::V4(ip) => Some((ip, 53).into()),
        IpAddr::V6(ip) => {
            let scope = match zone {
                "" => 0,
                zone => zone.parse().ok().or_else(|| index(zone))?,
            };
            Some(SocketAddrV6::new(ip, 53, 0, scope).into())
        }
    }
}

/// The index of an interface.
fn index(name: &str) -> Option<u32> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read() {
        let text = "# nameserver 192.0.2.9\nsearch x\n nameserver 127.0.0.53 # stub\nnameserver fe80::1%lo\n\
                    nameserver\nnameserver nonsense\nnameserver 2001:db8::1\nnameserver fe80::1%nowhere\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["127.0.0.53:53", "[fe80::1%1]:53", "[2001:db8::1]:53"]
        );
        assert_eq!(parse(&"nameserver 192.0.2.1\n".repeat(100)).len(), MOST);
    }

    #[test]
    fn changes_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let resolvers = Resolvers::new(path.clone());
        assert_eq!(resolvers.servers().len(), 2, "none named: Docker's");
        std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while *resolvers.servers() != ["192.0.2.1:53".parse().unwrap()] {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
