//! Proxies, by the rules of Go's `http.ProxyFromEnvironment`, which dockerd follows.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::Uri;
use http::uri::Scheme;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::cidr::Cidr;
use crate::error::Error;
use crate::error::Result;
use crate::hosts::host_of;
use crate::hosts::is_loopback;
use crate::location::Port;

/// Which requests go through a proxy.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// A setting that can't be used; said when a request would need it.
    broken: Option<String>,
    exceptions: Vec<Exception>,
}

/// A proxy that speaks plain HTTP.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum Exception {
    All,
    Range(Cidr),
    Address(IpAddr, Option<u16>),
    /// The name itself (unless only its subdomains were asked for), and all below it.
    Name {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// No proxies at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case.
    pub fn from_env() -> Self {
        let get = |name: &str| {
            [name.to_uppercase(), name.to_lowercase()]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        };
        Self::new(
            get("http_proxy").as_deref(),
            get("https_proxy").as_deref(),
            get("no_proxy").as_deref(),
        )
    }

    /// The given proxies (`host:port` or `http://[user:password@]host:port`) and a comma separated
    /// list of exceptions. A proxy of another kind is refused when a request needs it.
    pub fn new(http: Option<&str>, https: Option<&str>, exceptions: Option<&str>) -> Self {
        let mut this = Self::default();
        for (text, slot) in [(http, &mut this.http), (https, &mut this.https)] {
            match text.map(Proxy::parse).transpose() {
                Ok(proxy) => *slot = proxy,
                Err(reason) => this.broken = Some(reason),
            }
        }
        let entries = exceptions.unwrap_or_default().split(',');
        this.exceptions = entries
            .filter_map(|entry| Exception::parse(entry.trim()))
            .collect();
        this
    }

    /// The proxy for a request to `uri`. Loopback is never proxied.
    pub(crate) fn choose(&self, uri: &Uri) -> Result<Option<&Proxy>> {
        let host = uri
            .host()
            .map(host_of)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let port = uri.port_or_default();
        if is_loopback(uri.host().unwrap_or_default())
            || self
                .exceptions
                .iter()
                .any(|exception| exception.covers(&host, port))
        {
            return Ok(None);
        }
        if let Some(reason) = &self.broken {
            return Err(Error::config(reason.clone()));
        }
        let plain = uri.scheme() == Some(&Scheme::HTTP);
        Ok(if plain {
            self.http.as_ref()
        } else {
            self.https.as_ref()
        })
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!(
                    "{scheme}:// proxies are not supported, use an http:// one"
                ));
            }
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let uri = crate::location::absolute(&format!("http://{authority}/"))
            .map_err(|reason| format!("the proxy is {reason}"))?;
        let authorization = user.map(|user| {
            let plain = decode(user);
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization = authorization
            .transpose()
            .map_err(|_| "the proxy has a bad user")?;
        Ok(Self { uri, authorization })
    }

    /// Asks the proxy for a tunnel to `target` (RFC 9110 section 9.3.6).
    pub(crate) async fn connect(
        &self,
        stream: &mut tokio::net::TcpStream,
        target: &Uri,
    ) -> std::result::Result<(), String> {
        let host = target.host().unwrap_or_default();
        let port = target.port_or_default().unwrap_or(443);
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(value) = self
            .authorization
            .as_ref()
            .and_then(|value| value.to_str().ok())
        {
            request.push_str("Proxy-Authorization: ");
            request.push_str(value);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        // Byte by byte: what follows the answer belongs to the tunnel.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() > 8 << 10 {
                return Err("the proxy's answer is too long".into());
            }
            answer.push(stream.read_u8().await.map_err(|error| error.to_string())?);
        }
        let status = answer.get(9..12).unwrap_or_default();
        if !answer.starts_with(b"HTTP/1.") || status.first() != Some(&b'2') {
            let status = String::from_utf8_lossy(status).into_owned();
            return Err(format!(
                "the proxy {} refused with status {status}",
                self.uri
            ));
        }
        Ok(())
    }
}

/// Undoes percent-encoding, as Go does for the user of a URL.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = rest
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(value) => {
                out.push(value);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    out
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some(range) = Cidr::parse(&entry) {
            return Some(Self::Range(range));
        }
        let bare = entry
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(&entry).parse() {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address, port));
        }
        let wide = host.trim_start_matches('*');
        let suffix = wide.trim_start_matches('.').to_owned();
        (!suffix.is_empty()).then(|| Self::Name {
            suffix,
            itself: !wide.starts_with('.'),
            port,
        })
    }

    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let address = host.parse::<IpAddr>().ok();
        match self {
            Self::All => true,
            Self::Range(range) => address.is_some_and(|address| range.contains(address)),
            Self::Address(own, own_port) => {
                address == Some(*own) && (own_port.is_none() || *own_port == port)
            }
            Self::Name {
                suffix,
                itself,
                port: own_port,
            } => {
                let below = host.strip_suffix(suffix.as_str()).is_some_and(|rest| {
                    if rest.is_empty() {
                        *itself
                    } else {
                        rest.ends_with('.')
                    }
                });
                below && (own_port.is_none() || *own_port == port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(proxies: &Proxies, uri: &str) -> bool {
        proxies.choose(&uri.parse().unwrap()).unwrap().is_some()
    }

    #[test]
    fn exceptions() {
        let list =
            "10.0.0.0/8, example.com,.sub.org,9.9.9.9:80,exact.net:5000, *.wild.io,[fe80::1]";
        let proxies = Proxies::new(Some("proxy:3128"), Some("http://proxy:3128"), Some(list));
        for direct in [
            "http://10.1.1.1/",
            "https://example.com/",
            "https://a.example.com/",
            "https://a.sub.org/",
            "http://9.9.9.9/",
            "https://exact.net:5000/",
            "https://a.wild.io/",
            "https://[fe80::1]:5/",
            "http://localhost:5000/",
            "http://127.0.0.1:5000/",
            "http://[::1]:5000/",
        ] {
            assert!(!proxied(&proxies, direct), "{direct}");
        }
        for through in [
            "http://11.1.1.1/",
            "https://notexample.com/",
            "https://sub.org/",
            "https://9.9.9.9/",
            "https://exact.net/",
        ] {
            assert!(proxied(&proxies, through), "{through}");
        }
        assert!(!proxied(
            &Proxies::new(None, None, None),
            "https://example.com/"
        ));
    }

    #[test]
    fn what_cannot_be_used_is_refused_when_needed() {
        let proxies = Proxies::new(
            None,
            Some("socks5://u:secret@p:1080"),
            Some("direct.example"),
        );
        assert!(!proxied(&proxies, "https://direct.example/"));
        let error = proxies
            .choose(&"https://x.example/".parse().unwrap())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("socks5:// proxies are not supported")
        );
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn users_are_decoded_and_hidden() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy:3128/").unwrap();
        let value = proxy.authorization.clone().unwrap();
        assert_eq!(
            value.to_str().unwrap(),
            format!("Basic {}", STANDARD.encode("me:p@ss"))
        );
        assert!(!format!("{proxy:?}{value:?}").contains("p@ss"));
    }
}
