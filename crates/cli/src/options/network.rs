//! Networks, names and addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::{EndpointIpam, EndpointSettings};

use super::{pairs, ports};
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkOptions {
    /// Network to join: bridge, host, none, container:NAME, or name=NAME,alias=…,ip=…
    #[arg(long, value_name = "NETWORK", alias = "net")]
    network: Vec<String>,
    /// Further name on the network
    #[arg(long, value_name = "NAME", alias = "net-alias")]
    network_alias: Vec<String>,
    /// IPv4 address on the network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address on the network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Link-local address
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<IpAddr>,
    /// MAC address
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// Link to a container: NAME[:ALIAS]
    #[arg(long, value_name = "LINK")]
    link: Vec<String>,
    /// Publish a port: [[IP:]HOST:]PORT[/PROTOCOL]
    #[arg(short = 'p', long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish all exposed ports on random ones
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Expose a port or a range
    #[arg(long, value_name = "PORT")]
    expose: Vec<String>,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Further line of the hosts file: HOST:IP
    #[arg(long, value_name = "HOST:IP")]
    add_host: Vec<String>,
    /// Name server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Resolver option
    #[arg(long, value_name = "OPTION", alias = "dns-opt")]
    dns_option: Vec<String>,
}

impl NetworkOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let config = &mut body.config;
        config.hostname = self.hostname.clone().unwrap_or_default();
        config.domainname = self.domainname.clone().unwrap_or_default();
        let (mut exposed, bindings) = ports::publish(&self.publish)?;
        ports::expose(&self.expose, &mut exposed)?;
        config.exposed_ports = exposed;
        let host = &mut body.host_config;
        host.port_bindings = bindings;
        host.publish_all_ports = self.publish_all;
        host.links.clone_from(&self.link);
        host.dns = self.dns.iter().map(ToString::to_string).collect();
        if self.dns_search.iter().any(String::is_empty) {
            let why = "want a domain, or . for none";
            return Err(Error::option("--dns-search", "", why));
        }
        host.dns_search.clone_from(&self.dns_search);
        host.dns_options.clone_from(&self.dns_option);
        host.extra_hosts = self
            .add_host
            .iter()
            .map(|text| extra_host(text))
            .collect::<Result<_>>()?;
        self.networks(body)
    }

    fn networks(&self, body: &mut CreateBody) -> Result<()> {
        let mut wanted = self
            .network
            .iter()
            .map(|text| attachment(text))
            .collect::<Result<Vec<_>>>()?;
        if wanted.is_empty() {
            wanted.push(("default".to_owned(), EndpointSettings::default()));
        }
        let user_defined = wanted
            .iter()
            .filter(|(name, _)| is_user_defined(name))
            .count();
        if user_defined != 0 && user_defined != wanted.len() {
            return Err(Error::usage(
                "conflicting options: cannot attach both user-defined and non-user-defined \
                 network-modes",
            ));
        }
        if let Some((name, first)) = wanted.first_mut() {
            body.host_config.network_mode.clone_from(name);
            self.add_to(name, first)?;
        }
        let alone = wanted.len() == 1;
        let endpoints = &mut body.networking_config.endpoints_config;
        for (name, endpoint) in wanted {
            if alone && endpoint == EndpointSettings::default() {
                // The daemon knows what to do with nothing.
                continue;
            }
            if endpoints.insert(name.clone(), endpoint).is_some() {
                return Err(Error::usage(format!(
                    "network {name:?} is specified multiple times"
                )));
            }
        }
        Ok(())
    }

    /// The options that mean the first network.
    fn add_to(&self, network: &str, endpoint: &mut EndpointSettings) -> Result<()> {
        let twice = |option: &str, field: &str| {
            Error::usage(format!(
                "conflicting options: cannot specify both {option} and per-network {field}"
            ))
        };
        if !self.network_alias.is_empty() {
            if endpoint.aliases.is_some() {
                return Err(twice("--network-alias", "alias"));
            }
            endpoint.aliases = Some(self.network_alias.clone());
        }
        if !self.link.is_empty() && is_user_defined(network) {
            endpoint.links = Some(self.link.clone());
        }
        if let Some(mac) = &self.mac_address {
            if !endpoint.mac_address.is_empty() {
                return Err(twice("--mac-address", "MAC address"));
            }
            endpoint.mac_address = mac_address("--mac-address", mac)?;
        }
        if self.ip.is_none() && self.ip6.is_none() && self.link_local_ip.is_empty() {
            return Ok(());
        }
        let ipam = endpoint.ipam_config.get_or_insert_default();
        if let Some(ip) = self.ip {
            if !ipam.ipv4_address.is_empty() {
                return Err(twice("--ip", "IPv4 address"));
            }
            ipam.ipv4_address = ip.to_string();
        }
        if let Some(ip) = self.ip6 {
            if !ipam.ipv6_address.is_empty() {
                return Err(twice("--ip6", "IPv6 address"));
            }
            ipam.ipv6_address = ip.to_string();
        }
        let local = self.link_local_ip.iter().map(ToString::to_string);
        ipam.link_local_ips.extend(local);
        Ok(())
    }
}

fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// `NAME`, or `name=NAME,alias=…,ip=…,ip6=…,mac-address=…,driver-opt=K=V,link-local-ip=…,gw-priority=…`.
fn attachment(text: &str) -> Result<(String, EndpointSettings)> {
    const OPTION: &str = "--network";
    let mut endpoint = EndpointSettings::default();
    if !text.contains('=') {
        if text.is_empty() {
            return Err(Error::option(OPTION, text, "the name is missing"));
        }
        return Ok((text.to_owned(), endpoint));
    }
    let mut name = String::new();
    let mut ipam = EndpointIpam::default();
    let mut driver = BTreeMap::new();
    for field in pairs::fields(OPTION, text)? {
        let (key, value) = pairs::split(&field);
        let refuse = |why: &str| Error::option(OPTION, text, why);
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut name),
            "alias" => endpoint
                .aliases
                .get_or_insert_default()
                .push(value.to_owned()),
            "ip" => {
                let address: Ipv4Addr =
                    value.parse().map_err(|_| refuse("ip is no IPv4 address"))?;
                ipam.ipv4_address = address.to_string();
            }
            "ip6" => {
                let address: Ipv6Addr = value
                    .parse()
                    .map_err(|_| refuse("ip6 is no IPv6 address"))?;
                ipam.ipv6_address = address.to_string();
            }
            "mac-address" => endpoint.mac_address = mac_address(OPTION, value)?,
            "link-local-ip" => {
                let address: IpAddr = value
                    .parse()
                    .map_err(|_| refuse("link-local-ip is no address"))?;
                ipam.link_local_ips.push(address.to_string());
            }
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| refuse("driver-opt wants KEY=VALUE"))?;
                driver.insert(key.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                endpoint.gw_priority = value
                    .parse()
                    .map_err(|_| refuse("gw-priority is no number"))?;
            }
            _ => return Err(refuse(&format!("invalid field key {key}"))),
        }
    }
    if name.is_empty() {
        return Err(Error::option(OPTION, text, "the name is missing"));
    }
    endpoint.ipam_config = (ipam != EndpointIpam::default()).then_some(ipam);
    endpoint.driver_opts = (!driver.is_empty()).then_some(driver);
    Ok((name, endpoint))
}

/// Six bytes in hexadecimal, with colons or dashes.
fn mac_address(option: &str, text: &str) -> Result<String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let good = bytes.len() == 6
        && bytes
            .iter()
            .all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Error::option(
            option,
            text,
            "want a MAC address such as 92:d0:c6:0a:29:33",
        ))
    }
}

/// `HOST:IP` or `HOST=IP`, where IP may be `host-gateway`.
fn extra_host(text: &str) -> Result<String> {
    let refuse = |why: &str| Error::option("--add-host", text, why);
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| refuse("want HOST:IP"))?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if address != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(refuse("the address is no IP address"));
    }
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        for (text, expected) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a:::1", "a:::1"),
            ("a:[::1]", "a:::1"),
            ("a:host-gateway", "a:host-gateway"),
        ] {
            assert_eq!(extra_host(text).unwrap(), expected);
        }
        for bad in ["a", ":1.2.3.4", "a:b", "a:"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attachments_are_read() {
        let (name, endpoint) =
            attachment("name=n,alias=a,alias=b,ip=10.0.0.2,driver-opt=x=y,gw-priority=2").unwrap();
        assert_eq!(name, "n");
        assert_eq!(endpoint.aliases.unwrap(), ["a", "b"]);
        assert_eq!(endpoint.ipam_config.unwrap().ipv4_address, "10.0.0.2");
        assert_eq!(endpoint.driver_opts.unwrap()["x"], "y");
        assert_eq!(endpoint.gw_priority, 2);
        for bad in [
            "",
            "alias=a",
            "name=n,x=y",
            "name=n,ip=::1",
            "name=n,mac-address=1",
        ] {
            assert!(attachment(bad).is_err(), "{bad}");
        }
    }
}
