//! Where the daemon listens.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Docker's port without TLS.
pub const DEFAULT_PORT: u16 = 2375;
/// Docker's port with TLS.
pub const DEFAULT_TLS_PORT: u16 = 2376;

/// An address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        name: String,
        /// The port.
        port: u16,
        /// Whether `https://` asked for TLS.
        tls: bool,
    },
}

impl Host {
    /// Reads `unix://PATH`, `tcp://HOST[:PORT]`, `http://…`, `https://…`, or a bare absolute path.
    /// `tls` says which port is the default.
    pub fn parse(text: &str, tls: bool) -> Result<Self> {
        let refuse = |why: &str| Error::Host {
            host: text.to_owned(),
            why: why.to_owned(),
        };
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("want unix://PATH or tcp://HOST:PORT"))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(refuse("the path of a unix socket must be absolute")),
            "tcp" | "http" | "https" => {
                let tls = tls || scheme == "https";
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                if rest.contains(['/', '?', '#', '@']) {
                    return Err(refuse("only a host and a port may follow the scheme"));
                }
                let default = if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
                let (name, port) = split_port(rest, default)
                    .ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?;
                let name = if name.is_empty() { "127.0.0.1" } else { name };
                Ok(Self::Tcp {
                    name: name.to_owned(),
                    port,
                    tls: scheme == "https",
                })
            }
            "ssh" => Err(refuse(
                "ssh is not supported: forward the socket (`ssh -L /tmp/s.sock:/run/coracle/coracle.sock HOST`) \
                 and use unix:///tmp/s.sock",
            )),
            _ => Err(refuse("want unix://PATH or tcp://HOST:PORT")),
        }
    }
}

/// Splits `name:port`, `[v6]:port`, and either without a port.
fn split_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let number = |text: &str| text.parse().ok().filter(|port| *port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((name, number(port)?)),
            None if rest.is_empty() => Some((name, default)),
            None => None,
        };
    }
    match text.rsplit_once(':') {
        None => Some((text, default)),
        // An IPv6 address without brackets.
        Some((name, _)) if name.contains(':') => Some((text, default)),
        Some((name, port)) => Some((name, number(port)?)),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { name, port, tls } => {
                let scheme = if *tls { "https" } else { "tcp" };
                if name.contains(':') {
                    write!(f, "{scheme}://[{name}]:{port}")
                } else {
                    write!(f, "{scheme}://{name}:{port}")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        for (text, tls, shown) in [
            ("unix:///run/x.sock", false, "unix:///run/x.sock"),
            ("/run/x.sock", false, "unix:///run/x.sock"),
            ("tcp://", false, "tcp://127.0.0.1:2375"),
            ("tcp://", true, "tcp://127.0.0.1:2376"),
            ("tcp://a.b", false, "tcp://a.b:2375"),
            ("tcp://a.b:99/", false, "tcp://a.b:99"),
            ("https://a.b", false, "https://a.b:2376"),
            ("tcp://[::1]:99", false, "tcp://[::1]:99"),
            ("tcp://[::1]", false, "tcp://[::1]:2375"),
            ("tcp://::1", false, "tcp://[::1]:2375"),
        ] {
            assert_eq!(Host::parse(text, tls).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "unix://",
            "unix://relative",
            "tcp://a:b",
            "tcp://a:0",
            "tcp://a:70000",
            "tcp://[::1",
            "tcp://a/b",
            "tcp://user@a",
            "ssh://a",
            "fd://",
            "a:99",
        ] {
            assert!(Host::parse(text, false).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, tls: bool) {
            if let Ok(host) = Host::parse(&text, tls) {
                proptest::prop_assert_eq!(Host::parse(&host.to_string(), tls).ok(), Some(host));
            }
        }
    }
}
