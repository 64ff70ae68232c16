//! Which servers stand behind a registry's name, and how far each is trusted.

use std::net::IpAddr;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use http::Uri;
use http::uri::Scheme;

use crate::cidr::Cidr;
use crate::error::Error;
use crate::error::Result;
use crate::location;
use crate::proxy::Proxies;

/// The domain of names without one (distribution/reference).
const DOCKER_DOMAIN: &str = "docker.io";
/// The server behind it.
const DOCKER_SERVER: &str = "registry-1.docker.io";

/// How registries are reached. The default asks no mirror, trusts the system's CAs and those in
/// the usual folders, and takes proxies from the environment.
#[derive(Debug, Clone)]
pub struct RegistriesConfig {
    /// Asked before docker.io when pulling; see [`RegistriesConfig::add_mirror`].
    mirrors: Vec<Uri>,
    insecure_hosts: Vec<String>,
    insecure_ranges: Vec<Cidr>,
    /// Folders with a folder `host[:port]` for each registry, with CAs (`*.crt`) and client
    /// certificates (`x.cert` with `x.key`) in it. Read at every new connection.
    pub certs_dirs: Vec<PathBuf>,
    /// The proxies to use.
    pub proxies: Proxies,
    /// Whether layers may be fetched from the URLs in their descriptors, which can be anywhere.
    pub allow_foreign_layers: bool,
}

impl Default for RegistriesConfig {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure_hosts: Vec::new(),
            insecure_ranges: Vec::new(),
            certs_dirs: vec![
                "/etc/docker/certs.d".into(),
                "/etc/containerd/certs.d".into(),
            ],
            proxies: Proxies::from_env(),
            allow_foreign_layers: false,
        }
    }
}

impl RegistriesConfig {
    /// Adds a mirror of docker.io, as dockerd's `--registry-mirror`: an `http://` or `https://`
    /// URL, with a path or without, that is asked before docker.io itself.
    pub fn add_mirror(&mut self, url: &str) -> Result<()> {
        let invalid = |reason| Error::config(format!("invalid mirror {url:?}: {reason}"));
        let uri = location::absolute(url).map_err(invalid)?;
        if uri.query().is_some() || url.contains('#') {
            return Err(invalid("query or fragment at its end"));
        }
        self.mirrors.push(uri);
        Ok(())
    }

    /// Adds a registry that may be reached over unverified TLS or plain HTTP, as dockerd's
    /// `--insecure-registry`: `host`, `host:port` or an address range such as `10.0.0.0/8`.
    ///
    /// Loopback addresses and `localhost` are always allowed so.
    pub fn add_insecure(&mut self, entry: &str) -> Result<()> {
        let bare = entry
            .strip_prefix("http://")
            .or(entry.strip_prefix("https://"));
        let bare = bare.unwrap_or(entry);
        if let Some(range) = Cidr::parse(bare) {
            self.insecure_ranges.push(range);
            return Ok(());
        }
        let invalid =
            |reason: &str| Error::config(format!("invalid insecure registry {entry:?}: {reason}"));
        if bare.contains('/') {
            return Err(invalid("neither host[:port] nor an address range"));
        }
        location::absolute(&format!("https://{bare}/")).map_err(invalid)?;
        self.insecure_hosts.push(bare.to_ascii_lowercase());
        Ok(())
    }

    /// The mirrors of docker.io.
    pub fn mirrors(&self) -> &[Uri] {
        &self.mirrors
    }

    /// Whether `authority` (`host[:port]`) may be reached without a verified certificate.
    ///
    /// Names are looked up when address ranges are configured, so this may block.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        is_loopback(authority) || self.is_listed_insecure(authority)
    }

    /// The same without the loopback rule.
    pub(crate) fn is_listed_insecure(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        if self.insecure_hosts.contains(&authority) {
            return true;
        }
        if self.insecure_ranges.is_empty() {
            return false;
        }
        let host = host_of(&authority);
        let addresses: Vec<IpAddr> = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => (host, 0)
                .to_socket_addrs()
                .map(|found| found.map(|a| a.ip()).collect())
                .unwrap_or_default(),
        };
        addresses
            .iter()
            .any(|a| self.insecure_ranges.iter().any(|range| range.contains(*a)))
    }

    /// The servers to ask for images of `domain`, in order. Only the last, which is the registry
    /// itself, takes pushes.
    pub(crate) fn servers(&self, domain: &str) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        if domain == DOCKER_DOMAIN {
            for mirror in &self.mirrors {
                let authority = location::host(mirror);
                servers.push(Server {
                    scheme: mirror.scheme().cloned(),
                    credentials_key: authority.clone(),
                    authority,
                    prefix: mirror.path().trim_end_matches('/').to_owned(),
                    is_mirror: true,
                });
            }
        }
        let authority = if domain == DOCKER_DOMAIN {
            DOCKER_SERVER
        } else {
            domain
        };
        location::absolute(&format!("https://{authority}/"))
            .map_err(|reason| Error::config(format!("registry {domain:?}: {reason}")))?;
        servers.push(Server {
            scheme: None,
            credentials_key: domain.to_owned(),
            authority: authority.to_owned(),
            prefix: String::new(),
            is_mirror: false,
        });
        Ok(servers)
    }
}

/// One server that speaks the distribution protocol.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// `None`: HTTPS, or whatever an insecure server turns out to speak.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: String,
    /// What comes before `/v2/`.
    pub(crate) prefix: String,
    /// The domain that credentials are stored under.
    pub(crate) credentials_key: String,
    pub(crate) is_mirror: bool,
}

/// `localhost`, names under it, and loopback addresses.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority).to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    host.parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host of `host[:port]`, without the brackets of an IPv6 address.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_io_has_mirrors_first() {
        let mut config = RegistriesConfig::default();
        config.add_mirror("http://127.0.0.1:5001/mirror/").unwrap();
        let servers = config.servers("docker.io").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].authority, "127.0.0.1:5001");
        assert_eq!(servers[0].prefix, "/mirror");
        assert!(servers[0].is_mirror);
        assert_eq!(servers[1].authority, "registry-1.docker.io");
        let own = config.servers("registry.example:5000").unwrap();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].authority, "registry.example:5000");
        for bad in [
            "ftp://x",
            "x",
            "https://u:p@x/",
            "https://x/?a",
            "https://x/#a",
        ] {
            assert!(config.add_mirror(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn insecure_ones() {
        let mut config = RegistriesConfig::default();
        config.add_insecure("10.0.0.0/8").unwrap();
        config.add_insecure("Reg.example:5000").unwrap();
        config.add_insecure("https://plain.example").unwrap();
        for yes in [
            "localhost",
            "localhost:5000",
            "127.1.2.3:80",
            "[::1]:5000",
            "a.localhost",
            "10.9.8.7:5000",
            "reg.example:5000",
            "plain.example",
        ] {
            assert!(config.is_insecure(yes), "{yes}");
        }
        for no in [
            "9.9.9.9:5000",
            "[fe80::1]:5",
            "127.0.0.1.invalid:5000",
            "notlocalhost.invalid",
        ] {
            assert!(!config.is_insecure(no), "{no}");
        }
        for bad in ["a/b", "10.0.0.0/99", "", "a b", "x:99999"] {
            assert!(config.add_insecure(bad).is_err(), "{bad}");
        }
    }
}
