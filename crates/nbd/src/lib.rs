//! Where a disk of a network block device server is: NBD URIs (the "NBD URI specification" of the NBD
//! project, doc/uri.md).
//!
//! # What it must not know
//! Sockets and the protocol itself: it is words and what they mean.
//!
//! # Invariants
//! - What is read was bounded, and checked: a host is a name or an address, a socket's path is absolute
//!   and fits into an address, an export's name is text without control characters.
//! - Two URIs that say the same are written the same ([`fmt::Display`]), and read back as what they were.
//! - What isn't supported (TLS, vsock) is refused by its name.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The port that servers have by custom (IANA's).
pub const PORT: u16 = 10809;

/// The longest URI in bytes: an export's longest name with each byte in three, and a place.
const MAX_URI: usize = 16 << 10;
/// The longest name of an export in bytes (proto.md of the NBD project: "strings").
const MAX_EXPORT: usize = 4096;
/// The longest host name in bytes (RFC 1035).
const MAX_HOST: usize = 253;
/// The longest path of a unix socket in bytes (unix(7)).
const MAX_SOCKET: usize = 107;

/// Why something is no NBD URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// On a TCP port.
    Tcp {
        /// Its name or address; that of IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// On a unix stream socket of this host, an absolute path.
    Unix(PathBuf),
}

/// A disk of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    /// Who serves it.
    pub server: Server,
    /// What the server calls it; empty for the server's default.
    pub export: String,
}

impl Uri {
    /// Whether something is meant to be one: its scheme says so.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let scheme = text.split(':').next().unwrap_or_default();
        let family = scheme.split('+').next().unwrap_or_default();
        text.contains("://") && matches!(family.to_ascii_lowercase().as_str(), "nbd" | "nbds")
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let shown: String = text.chars().take(200).collect();
        parse(text).map_err(|why| Error(format!("{shown:?} is no NBD URI that can be used: {why}")))
    }
}

fn parse(text: &str) -> Result<Uri, String> {
    if text.len() > MAX_URI {
        return Err(format!("it is longer than {MAX_URI} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it has white space or control characters".into());
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme nbd://")?;
    let is_unix = match scheme.to_ascii_lowercase().as_str() {
        "nbd" => false,
        "nbd+unix" => true,
        "nbds" | "nbds+unix" => return Err("TLS (nbds) is not supported".into()),
        "nbd+vsock" | "nbds+vsock" => return Err("vsock is not supported".into()),
        _ => return Err("its scheme is neither nbd nor nbd+unix".into()),
    };
    if rest.contains('#') {
        return Err("a fragment (#) has no meaning".into());
    }
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if authority.contains('@') {
        return Err("users (@) are for TLS, which is not supported".into());
    }
    let export = export(path)?;
    let socket = socket(query)?;
    let server = match (is_unix, socket) {
        (true, Some(_)) if !authority.is_empty() => {
            return Err("a unix socket has no host: nbd+unix:///EXPORT?socket=PATH".into());
        }
        (true, Some(socket)) => Server::Unix(socket),
        (true, None) => return Err("it lacks ?socket=PATH".into()),
        (false, Some(_)) => return Err("socket= is for nbd+unix".into()),
        (false, None) => tcp(authority)?,
    };
    Ok(Uri { server, export })
}

fn export(path: &str) -> Result<String, String> {
    let export = decode(path)?;
    match () {
        () if export.len() > MAX_EXPORT => Err(format!(
            "the export's name is longer than {MAX_EXPORT} bytes"
        )),
        () if export.chars().any(char::is_control) => {
            Err("the export's name has control characters".into())
        }
        () => Ok(export),
    }
}

fn socket(query: Option<&str>) -> Result<Option<PathBuf>, String> {
    let mut socket = None;
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "socket" if socket.is_some() => return Err("it has more than one socket=".into()),
            "socket" => socket = Some(decode(value)?),
            key if key.starts_with("tls-") => {
                return Err(format!("{key}= is for TLS, which is not supported"));
            }
            key => return Err(format!("the parameter {key:?} is not known")),
        }
    }
    let Some(socket) = socket else {
        return Ok(None);
    };
    let path = Path::new(&socket);
    if !path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
        return Err("the socket's path must be absolute, without \"..\"".into());
    }
    if socket.len() > MAX_SOCKET || socket.chars().any(char::is_control) {
        return Err(format!(
            "the socket's path must be at most {MAX_SOCKET} bytes, without control characters"
        ));
    }
    // Written in one way.
    Ok(Some(path.components().collect()))
}

fn tcp(authority: &str) -> Result<Server, String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or("it has an open bracket")?;
            let address: Ipv6Addr = address
                .parse()
                .map_err(|_| format!("[{address}] is no IPv6 address"))?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or("words follow the bracket")?),
            };
            (address.to_string(), port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(authority)?, None),
        },
    };
    let port = match port {
        // RFC 3986, 3.2.3: a port may be empty.
        None | Some("") => PORT,
        Some(port) => port
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| port.parse().ok())
            .flatten()
            .filter(|port| *port > 0)
            .ok_or("its port is no number from 1 to 65535")?,
    };
    Ok(Server::Tcp { host, port })
}

/// A host's name, or an IPv4 address.
fn name(host: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_right = !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(is_plain)
        && !host.starts_with(['-', '.']);
    match is_right {
        true => Ok(host.to_ascii_lowercase()),
        false => Err("it has no host's name or address".into()),
    }
}

/// Resolves `%XX`.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = bytes.next().and_then(|b| char::from(b).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("% is not followed by two hexadecimal digits".into());
        };
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map_err(|_| "it is not UTF-8".into())
}

/// Writes what has a meaning in a URI as `%XX`.
fn encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/:,+@".contains(&byte) {
            true => write!(f, "{}", char::from(byte))?,
            false => write!(f, "%{byte:02X}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Tcp { host, port } if host.contains(':') => {
                write!(f, "nbd://[{host}]:{port}/")?
            }
            Server::Tcp { host, port } => write!(f, "nbd://{host}:{port}/")?,
            Server::Unix(_) => f.write_str("nbd+unix:///")?,
        }
        encode(f, &self.export)?;
        match &self.server {
            Server::Tcp { .. } => Ok(()),
            Server::Unix(path) => {
                f.write_str("?socket=")?;
                encode(f, &path.to_string_lossy())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Uri>().unwrap().to_string()
    }

    #[test]
    fn uris_are_read_and_written_in_one_way() {
        for (given, wanted) in [
            ("nbd://server", "nbd://server:10809/"),
            ("NBD://Server:/disk", "nbd://server:10809/disk"),
            ("nbd://10.0.0.1:9/a/b", "nbd://10.0.0.1:9/a/b"),
            ("nbd://[FD00::0:1]/x", "nbd://[fd00::1]:10809/x"),
            ("nbd://h//x", "nbd://h:10809//x"),
            ("nbd://h/a%20b%2Fc", "nbd://h:10809/a%20b/c"),
            ("nbd+unix:///?socket=/run/s", "nbd+unix:///?socket=/run/s"),
            (
                "nbd+unix:///e?socket=/run//./a%3db",
                "nbd+unix:///e?socket=/run/a%3Db",
            ),
        ] {
            assert_eq!(shown(given), wanted);
        }
        let unix: Uri = "nbd+unix:///disk?socket=/run/s".parse().unwrap();
        assert_eq!(unix.server, Server::Unix("/run/s".into()));
        assert_eq!(unix.export, "disk");
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_the_reason() {
        for (given, reason) in [
            ("", "scheme"),
            ("http://server/", "scheme"),
            ("nbd:server:10809", "scheme"),
            ("nbds://server/", "TLS"),
            ("nbd+vsock://2/", "vsock"),
            ("nbd://me@server/", "TLS"),
            ("nbd:///disk", "host"),
            ("nbd://a b/", "white space"),
            ("nbd://h\0/", "white space"),
            ("nbd://-h/", "host"),
            ("nbd://h:0/", "port"),
            ("nbd://h:+1/", "port"),
            ("nbd://h:65536/", "port"),
            ("nbd://[::1/", "bracket"),
            ("nbd://[::1]x/", "bracket"),
            ("nbd://[h]/", "IPv6"),
            ("nbd://h/%0a", "control"),
            ("nbd://h/%00", "control"),
            ("nbd://h/%zz", "hexadecimal"),
            ("nbd://h/%+1", "hexadecimal"),
            ("nbd://h/%f", "hexadecimal"),
            ("nbd://h/%ff", "UTF-8"),
            ("nbd://h/#x", "fragment"),
            ("nbd://h/?socket=/s", "nbd+unix"),
            ("nbd://h/?tls-psk-file=/s", "TLS"),
            ("nbd://h/?x=y", "\"x\""),
            ("nbd+unix:///x", "socket=PATH"),
            ("nbd+unix://h/x?socket=/s", "no host"),
            ("nbd+unix:///x?socket=s", "absolute"),
            ("nbd+unix:///x?socket=/a/../s", "absolute"),
            ("nbd+unix:///x?socket=/a&socket=/b", "more than one"),
        ] {
            let error = given.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(reason), "{given}: {error}");
        }
        let long = |count| format!("nbd://h/{}", "x".repeat(count));
        assert!(long(MAX_EXPORT).parse::<Uri>().is_ok());
        assert!(long(MAX_EXPORT + 1).parse::<Uri>().is_err());
        assert!(long(MAX_URI).parse::<Uri>().is_err());
        let socket = format!("nbd+unix:///?socket=/{}", "x".repeat(MAX_SOCKET));
        assert!(socket.parse::<Uri>().is_err());
    }

    #[test]
    fn what_is_meant_is_known_by_its_scheme() {
        for text in ["nbd://h", "NBD+unix:///", "nbds://h"] {
            assert!(Uri::is_meant(text), "{text}");
        }
        for text in ["/dev/nbd0", "nbd:h:1", ":/nbd", "nfs://h", ""] {
            assert!(!Uri::is_meant(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,64}") {
            let _ = text.parse::<Uri>();
        }

        #[test]
        fn what_is_written_is_read_back(
            text in "(nbd://([a-z0-9.]{1,9}|\\[::[0-9a-f]{1,4}\\])(:[0-9]{1,5})?|nbd\\+unix://)\
                     (/([a-z%/ü?&=+]|%[0-9a-f]{2}){0,12})?(\\?socket=/[a-z/.%=&]{0,12})?",
        ) {
            if let Ok(uri) = text.parse::<Uri>() {
                let written = uri.to_string();
                proptest::prop_assert_eq!(written.parse::<Uri>(), Ok(uri));
            }
        }

        #[test]
        fn any_export_is_read_back(export in "[^\\p{Cc}]{0,32}", host in "[a-z][a-z0-9]{0,5}", port in 1..u16::MAX) {
            let uri = Uri { server: Server::Tcp { host, port }, export };
            proptest::prop_assert_eq!(uri.to_string().parse::<Uri>(), Ok(uri));
        }
    }
}
