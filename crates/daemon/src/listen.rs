//! The sockets.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use crate::error::Error;
use crate::rootless;

/// Docker's ports, without and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Host {
    /// Reads `unix://PATH` and `tcp://HOST:PORT`.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, Error> {
        let bad = |why: &str| Error::Listen {
            host: text.into(),
            why: why.into(),
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => Err(bad("the path of a unix socket must be absolute")),
            Some(("tcp", address)) => {
                let port = if tls { TLS_PORT } else { PORT };
                let address = match address {
                    "" => format!("127.0.0.1:{port}"),
                    given
                        if given
                            .rsplit_once(':')
                            .is_some_and(|(_, p)| p.parse::<u16>().is_ok()) =>
                    {
                        given.to_owned()
                    }
                    given => format!("{given}:{port}"),
                };
                let found = address
                    .to_socket_addrs()
                    .map_err(|error| bad(&error.to_string()))?
                    .next();
                found
                    .map(Self::Tcp)
                    .ok_or_else(|| bad("the name has no address"))
            }
            _ => Err(bad("want unix://PATH or tcp://ADDRESS:PORT")),
        }
    }

    /// Whether whoever reaches it may do anything without showing who they are.
    pub(crate) fn is_open(&self, tls_verify: bool) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback() && !tls_verify)
    }
}

/// Whether somebody answers on a unix socket.
pub(crate) fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Listens on a unix socket, in place of one that nobody serves any more.
pub(crate) fn unix(path: &Path, group: Option<&str>) -> Result<UnixListener, Error> {
    let failed = |error: io::Error| Error::Listen {
        host: format!("unix://{}", path.display()),
        why: error.to_string(),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        Ok(_) => {
            return Err(failed(io::Error::other(
                "there is a file that is not a socket",
            )));
        }
        Err(_) => {}
    }
    // Nobody may connect before the owner and the mode are right.
    let staged = path.with_extension("new");
    let _ = fs::remove_file(&staged);
    let listener = UnixListener::bind(&staged).map_err(failed)?;
    let gid = match group {
        Some(name) => Some(
            group_id(name)
                .ok_or_else(|| Error::setting("--group", format!("there is no group {name}")))?,
        ),
        None => group_id("docker").filter(|_| !rootless::is_rootless()),
    };
    if let Some(gid) = gid {
        std::os::unix::fs::chown(&staged, None, Some(gid)).map_err(failed)?;
    }
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    fs::rename(&staged, path).map_err(failed)?;
    Ok(listener)
}

/// Listens on TCP.
pub(crate) async fn tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::Listen {
            host: format!("tcp://{address}"),
            why: error.to_string(),
        })
}

/// A group's number, by name or number (group(5)).
fn group_id(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name)
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        assert_eq!(
            Host::parse("unix:///a/b", false).unwrap(),
            Host::Unix("/a/b".into())
        );
        let tcp = |text: &str, tls| match Host::parse(text, tls).unwrap() {
            Host::Tcp(address) => address.to_string(),
            Host::Unix(path) => panic!("{path:?}"),
        };
        assert_eq!(tcp("tcp://127.0.0.1:99", false), "127.0.0.1:99");
        assert_eq!(tcp("tcp://127.0.0.1", true), "127.0.0.1:2376");
        assert_eq!(tcp("tcp://", false), "127.0.0.1:2375");
        assert!(
            Host::parse("tcp://0.0.0.0:1", false)
                .unwrap()
                .is_open(false)
        );
        assert!(!Host::parse("tcp://0.0.0.0:1", false).unwrap().is_open(true));
        for bad in ["", "unix://x", "fd://", "http://x"] {
            assert!(Host::parse(bad, false).is_err(), "{bad}");
        }
    }
}
