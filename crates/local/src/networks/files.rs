//! The hosts, host-name and resolver files of a container on its networks.

use std::net::IpAddr;

use coracle_network::{Dns, HostAddress, HostsFile, Reach};
use coracle_runtime::{Result, RuntimeError};

use super::asked::{Mode, mode};
use super::{Networking, error};
use crate::container::record::{Dirs, Record};
use crate::durable::{self, Durability};
use crate::mounted;
use crate::names;

impl Networking {
    /// Writes the hosts, host-name and resolver files that are mounted inside.
    pub(super) fn write_files(
        &self,
        record: &Record,
        dirs: &Dirs,
        addresses: &[IpAddr],
        reach: Reach,
        resolver: Option<IpAddr>,
    ) -> Result<()> {
        let host_mode = mode(record) == Mode::Host;
        let mut extra = Vec::new();
        for line in &record.host_config.extra_hosts {
            let (name, address) = coracle_network::parse_extra_host(line).map_err(error)?;
            let ip = match address {
                HostAddress::Ip(ip) => ip,
                HostAddress::Gateway => {
                    let network = self.networks.default_network().map_err(error)?;
                    network.gateway().ok_or_else(|| {
                        RuntimeError::Internal("the default network has no gateway".into())
                    })?
                }
            };
            extra.push((name, ip));
        }
        let own_name = match record.config.hostname.as_str() {
            "" if host_mode => crate::host::uname()[2].clone(),
            _ => own_name(record),
        };
        let host_file =
            host_mode.then(|| std::fs::read_to_string("/etc/hosts").unwrap_or_default());
        // From what the others are told to the file, nobody else changes it.
        let _writing = self.links.writing();
        let hosts = coracle_network::hosts_file(&HostsFile {
            host: host_file.as_deref(),
            links: &self.links.lines(record),
            ipv6: addresses.iter().any(IpAddr::is_ipv6) || addresses.is_empty(),
            extra: &extra,
            addresses,
            hostname: &own_name,
            domainname: &record.config.domainname,
        })
        .map_err(error)?;
        let resolv = resolver_file(record, reach, resolver)?;
        let name = format!("{own_name}\n");
        for (path, text) in [
            (dirs.hosts(), &hosts),
            (dirs.hostname(), &name),
            (dirs.resolv_conf(), &resolv),
        ] {
            durable::write(&path, text.as_bytes(), Durability::Process).map_err(|error| {
                RuntimeError::Internal(format!("cannot write {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }
}

/// The host name that a container has of its own.
fn own_name(record: &Record) -> String {
    match record.config.hostname.as_str() {
        "" => record.id.chars().take(12).collect(),
        given => given.to_owned(),
    }
}

/// What a container's resolver file says.
fn resolver_file(record: &Record, reach: Reach, resolver: Option<IpAddr>) -> Result<String> {
    let dns = Dns {
        servers: record
            .host_config
            .dns
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect(),
        search: record.host_config.dns_search.clone(),
        options: record.host_config.dns_options.clone(),
    };
    let etc = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let path = coracle_network::host_resolv_conf_path(&etc);
    let host = std::fs::read_to_string(path).unwrap_or(etc);
    match resolver {
        Some(server) => names::resolv_conf(&host, &dns, server),
        None => coracle_network::resolv_conf(&host, &dns, reach).map_err(error),
    }
}

/// Has a running container's files say that it is on one more network. Its resolver file is left
/// alone if somebody else has written it.
pub(super) fn add_names(
    record: &Record,
    dirs: &Dirs,
    addresses: &[IpAddr],
    resolver: Option<IpAddr>,
) -> Result<()> {
    let failed = |error: std::io::Error| RuntimeError::Internal(error.to_string());
    let name = own_name(record);
    let names = match record.config.domainname.as_str() {
        "" => name,
        domain => format!("{name}.{domain} {name}"),
    };
    mounted::add_host(&dirs.hosts(), addresses, &names).map_err(failed)?;
    if resolver.is_some() {
        let before = [false, true]
            .map(|ipv6| resolver_file(record, Reach::Bridge { ipv6 }, None).unwrap_or_default());
        let text = resolver_file(record, Reach::Host, resolver)?;
        mounted::replace(&dirs.resolv_conf(), &before, &text).map_err(failed)?;
    }
    Ok(())
}
