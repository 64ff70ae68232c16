//! A container's `/etc/resolv.conf`, by Docker's rules. Pure.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// What Docker falls back to when the host has no name server that a container could reach.
const DEFAULT_IPV4: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const DEFAULT_IPV6: [&str; 2] = ["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// DNS settings of a container; what is empty is taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers (`--dns`).
    pub servers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); a single `.` means none.
    pub search: Vec<String>,
    /// Resolver options (`--dns-option`).
    pub options: Vec<String>,
}

/// Which of the host's name servers a container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All: it shares the host's network.
    Host,
    /// Those that aren't on the host's loopback; IPv6 ones only if it has IPv6. If none is left,
    /// Google's public ones, as in Docker.
    Bridge {
        /// Whether the container has IPv6.
        ipv6: bool,
    },
}

/// Where the host's real name servers stand: systemd-resolved's own file if `/etc/resolv.conf` names
/// nothing but its stub, as Docker has it.
#[must_use]
pub fn host_resolv_conf_path(etc_resolv_conf: &str) -> &'static str {
    let mut servers = nameservers(etc_resolv_conf).peekable();
    let stub = |server: &str| server == "127.0.0.53";
    if servers.peek().is_some() && servers.all(stub) {
        "/run/systemd/resolve/resolv.conf"
    } else {
        "/etc/resolv.conf"
    }
}

fn nameservers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    })
}

/// Makes the file from the host's and the container's settings. Name servers that were asked for
/// are never filtered. Of the host's other lines (`sortlist` …) none is lost.
///
/// # Errors
/// `Invalid` if a search domain or an option isn't a single word.
pub fn resolv_conf(host: &str, dns: &Dns, reach: Reach) -> Result<String> {
    for word in dns.search.iter().chain(&dns.options) {
        if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::Invalid(format!(
                "invalid DNS setting {word:?}: not a single word"
            )));
        }
    }
    let (mut servers, mut search, mut options, mut others) = (vec![], vec![], vec![], vec![]);
    for line in host.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next()),
            // The last one counts (resolv.conf(5)).
            Some("search" | "domain") => search = words.collect(),
            Some("options") => options.extend(words),
            _ => others.push(line),
        }
    }
    let own: Vec<String> = dns.servers.iter().map(IpAddr::to_string).collect();
    if !own.is_empty() {
        servers = own.iter().map(String::as_str).collect();
    } else if let Reach::Bridge { ipv6 } = reach {
        servers.retain(|server| is_reachable(server, ipv6));
        if servers.is_empty() {
            servers.extend(DEFAULT_IPV4);
            servers.extend(DEFAULT_IPV6.iter().filter(|_| ipv6));
        }
    }
    if !dns.search.is_empty() {
        search = dns.search.iter().map(String::as_str).collect();
    }
    search.retain(|domain| *domain != ".");
    if !dns.options.is_empty() {
        options = dns.options.iter().map(String::as_str).collect();
    }

    let mut text = String::new();
    let mut line = |words: &[&str]| {
        text.push_str(&words.join(" "));
        text.push('\n');
    };
    servers
        .iter()
        .for_each(|server| line(&["nameserver", server]));
    if !search.is_empty() {
        line(&["search", &search.join(" ")]);
    }
    if !options.is_empty() {
        line(&["options", &options.join(" ")]);
    }
    others.iter().for_each(|other| line(&[other]));
    Ok(text)
}

fn is_reachable(server: &str, ipv6: bool) -> bool {
    // A zone (`fe80::1%eth0`) names an interface that the container doesn't have.
    match server.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => false,
        Ok(IpAddr::V6(_)) => ipv6,
        Ok(IpAddr::V4(_)) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BRIDGE: Reach = Reach::Bridge { ipv6: false };
    const HOST: &str = "# a comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver fd00::1\n\
                        domain old.example\nsearch a.example b.example\noptions ndots:2\n\
                        options edns0\nsortlist 10.0.0.0\n";

    #[test]
    fn loopback_servers_are_dropped_and_the_rest_kept() {
        assert_eq!(
            resolv_conf(HOST, &Dns::default(), BRIDGE).unwrap(),
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2 edns0\nsortlist 10.0.0.0\n"
        );
        let text = resolv_conf(HOST, &Dns::default(), Reach::Bridge { ipv6: true }).unwrap();
        assert!(text.starts_with("nameserver 10.0.0.1\nnameserver fd00::1\n"));
        let text = resolv_conf(HOST, &Dns::default(), Reach::Host).unwrap();
        assert!(text.starts_with("nameserver 127.0.0.53\n"));
    }

    #[test]
    fn falls_back_to_public_servers() {
        for host in [
            "",
            "nameserver 127.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\n",
        ] {
            assert_eq!(
                resolv_conf(host, &Dns::default(), BRIDGE).unwrap(),
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
            );
        }
        let text = resolv_conf("", &Dns::default(), Reach::Bridge { ipv6: true }).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(resolv_conf("", &Dns::default(), Reach::Host).unwrap(), "");
    }

    #[test]
    fn settings_replace_the_hosts() {
        let dns = Dns {
            servers: vec!["127.0.0.1".parse().unwrap(), "fd00::9".parse().unwrap()],
            search: vec!["x.example".into()],
            options: vec!["timeout:1".into(), "rotate".into()],
        };
        assert_eq!(
            resolv_conf(HOST, &dns, BRIDGE).unwrap(),
            "nameserver 127.0.0.1\nnameserver fd00::9\nsearch x.example\noptions timeout:1 rotate\n\
             sortlist 10.0.0.0\n"
        );
        let dns = Dns {
            search: vec![".".into()],
            ..Dns::default()
        };
        assert!(!resolv_conf(HOST, &dns, BRIDGE).unwrap().contains("search"));
        let dns = Dns {
            options: vec!["a\nnameserver 6.6.6.6".into()],
            ..Dns::default()
        };
        assert!(resolv_conf(HOST, &dns, BRIDGE).is_err());
    }

    #[test]
    fn the_stub_resolver_is_seen_through() {
        assert!(host_resolv_conf_path("nameserver 127.0.0.53\n").starts_with("/run/systemd"));
        assert!(host_resolv_conf_path("").starts_with("/etc"));
        assert!(
            host_resolv_conf_path("nameserver 127.0.0.53\nnameserver 10.0.0.1\n")
                .starts_with("/etc")
        );
    }

    proptest! {
        #[test]
        fn a_bridged_container_never_gets_a_loopback_server(host in "(nameserver [0-9a-f:.%]{0,12}\n|[ -~]{0,20}\n){0,8}", ipv6 in any::<bool>()) {
            let text = resolv_conf(&host, &Dns::default(), Reach::Bridge { ipv6 }).unwrap();
            let servers: Vec<&str> = nameservers(&text).collect();
            prop_assert!(!servers.is_empty());
            for server in servers {
                let ip: IpAddr = server.parse().unwrap();
                prop_assert!(!ip.is_loopback() && (ipv6 || ip.is_ipv4()));
            }
        }
    }
}
