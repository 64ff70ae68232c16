//! A container's `/etc/hosts`, as Docker writes it. Pure.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// An address that `--add-host` gives a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// The host, as the container sees it (`host-gateway`): the caller fills it in.
    Gateway,
}

/// What the file says.
#[derive(Debug, Clone, Default)]
pub struct HostsFile<'a> {
    /// The host's own file, of which a copy is the beginning, if the container shares the host's
    /// network.
    pub host: Option<&'a str>,
    /// Whether the container has IPv6.
    pub ipv6: bool,
    /// Containers that it has links to, and what they are called.
    pub links: &'a [(IpAddr, Vec<String>)],
    /// Names of `--add-host`.
    pub extra: &'a [(String, IpAddr)],
    /// The container's own addresses.
    pub addresses: &'a [IpAddr],
    /// The container's host name.
    pub hostname: &'a str,
    /// Its domain; empty for none.
    pub domainname: &'a str,
}

/// Reads `name:address` or `name=address` of `--add-host`; the address may be `host-gateway`, and
/// an IPv6 one may stand in brackets.
///
/// # Errors
/// `Invalid` if it is neither.
pub fn parse_extra_host(text: &str) -> Result<(String, HostAddress)> {
    let bad = || Error::Invalid(format!("invalid IP address in add-host: {text:?}"));
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "bad format for add-host: {text:?}: want name:address"
            ))
        })?;
    if !is_name(name) {
        return Err(Error::Invalid(format!(
            "bad format for add-host: {text:?}: not a name"
        )));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    let address = match bare {
        "host-gateway" => HostAddress::Gateway,
        bare => HostAddress::Ip(bare.parse().map_err(|_| bad())?),
    };
    Ok((name.to_owned(), address))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '#')
}

/// Makes the file.
///
/// # Errors
/// `Invalid` if a name would break out of its line.
pub fn hosts_file(file: &HostsFile<'_>) -> Result<String> {
    let names = file.extra.iter().map(|(name, _)| name.as_str());
    let own = [file.hostname, file.domainname]
        .into_iter()
        .filter(|n| !n.is_empty());
    let linked = file.links.iter().flat_map(|(_, names)| names);
    let names = names.chain(linked.map(String::as_str));
    if let Some(name) = names.chain(own).find(|n| !is_name(n)) {
        return Err(Error::Invalid(format!("invalid host name {name:?}")));
    }
    let mut text = match file.host {
        Some(host) if host.is_empty() || host.ends_with('\n') => host.to_owned(),
        Some(host) => format!("{host}\n"),
        None => "127.0.0.1\tlocalhost\n".to_owned(),
    };
    if file.host.is_none() && file.ipv6 {
        text.push_str(
            "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
        );
    }
    for (ip, names) in file.links {
        text.push_str(&format!("{ip}\t{}\n", names.join(" ")));
    }
    for (name, ip) in file.extra {
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    if !file.hostname.is_empty() {
        for ip in file.addresses {
            match file.domainname {
                "" => text.push_str(&format!("{ip}\t{}\n", file.hostname)),
                domain => text.push_str(&format!("{ip}\t{0}.{domain} {0}\n", file.hostname)),
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_writes_it() {
        let extra = [("db".to_owned(), "10.0.0.9".parse().unwrap())];
        let addresses = ["172.17.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let file = HostsFile {
            links: &[(
                "172.17.0.9".parse().unwrap(),
                vec!["alias".into(), "other".into()],
            )],
            extra: &extra,
            addresses: &addresses,
            hostname: "web",
            ..HostsFile::default()
        };
        assert_eq!(
            hosts_file(&file).unwrap(),
            "127.0.0.1\tlocalhost\n172.17.0.9\talias other\n10.0.0.9\tdb\n172.17.0.2\tweb\nfd00::2\tweb\n"
        );
        let file = HostsFile {
            ipv6: true,
            domainname: "example.org",
            ..file
        };
        let text = hosts_file(&file).unwrap();
        assert!(text.contains("::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(text.ends_with("fd00::2\tweb.example.org web\n"));
        let file = HostsFile {
            host: Some("127.0.0.1 x"),
            extra: &extra,
            ..HostsFile::default()
        };
        assert_eq!(hosts_file(&file).unwrap(), "127.0.0.1 x\n10.0.0.9\tdb\n");
    }

    #[test]
    fn names_cannot_break_out() {
        let file = HostsFile {
            hostname: "a\n6.6.6.6 bank",
            ..HostsFile::default()
        };
        assert!(hosts_file(&file).is_err());
    }

    #[test]
    fn extra_hosts() {
        let ip = |text: &str| HostAddress::Ip(text.parse().unwrap());
        for (text, name, address) in [
            ("db:10.0.0.9", "db", ip("10.0.0.9")),
            ("db=fd00::1", "db", ip("fd00::1")),
            ("db:fd00::1", "db", ip("fd00::1")),
            ("db:[fd00::1]", "db", ip("fd00::1")),
            (
                "host.docker.internal:host-gateway",
                "host.docker.internal",
                HostAddress::Gateway,
            ),
        ] {
            assert_eq!(
                parse_extra_host(text).unwrap(),
                (name.to_owned(), address),
                "{text}"
            );
        }
        for bad in [
            "db",
            ":1.2.3.4",
            "db:",
            "a b:1.2.3.4",
            "db:host",
            "a\nb:1.1.1.1",
        ] {
            assert!(parse_extra_host(bad).is_err(), "{bad:?}");
        }
    }
}
