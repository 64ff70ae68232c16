//! A container's place on its networks: joined when a run begins, left when it ends.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_network::{
    Dns, Endpoint, EndpointConfig, Error, HostAddress, HostsFile, Live, MacAddr, Place,
    PortMapping, PortRequest, Proto, Published, Reach,
};
use coracle_runtime::container::NetworkSettings;
use coracle_runtime::spec::{EndpointSettings, PortBinding};
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::Namespace;
use coracle_task::{MachineInterface, ProxyPort};

use crate::container::files::blocking;
use crate::container::record::{Dirs, Record};
use crate::durable::{self, Durability};
use crate::forward::PortForwarder;
use crate::links::{self, Links};
use crate::machine;
use crate::mounted;
use crate::names::{self, Names};

/// What a container gets for one run.
pub(crate) struct Joined {
    pub(crate) namespace: Namespace,
    pub(crate) settings: NetworkSettings,
    pub(crate) ports: Vec<ProxyPort>,
    pub(crate) listeners: Vec<OwnedFd>,
    /// Of a container in a machine: the interfaces that it is to have.
    pub(crate) interfaces: Vec<MachineInterface>,
    /// Variables that tell of the containers that it has links to.
    pub(crate) environment: Vec<String>,
}

/// Where the kernel shows the tap of a machine's first endpoint.
fn main_tap(endpoints: &[(String, Endpoint)]) -> String {
    let tap = endpoints.first().map(|(_, endpoint)| &endpoint.host_ifname);
    tap.map(|name| format!("/sys/class/net/{name}"))
        .unwrap_or_default()
}

/// A machine's interface that is this endpoint.
fn interface(endpoint: &Endpoint) -> MachineInterface {
    let interface = endpoint.interface();
    MachineInterface {
        tap: endpoint.host_ifname.clone(),
        mac: interface.mac.to_string(),
        name: interface.name,
        mtu: interface.mtu,
        addresses: interface.addresses,
        gateway4: interface.gateway4.map(IpAddr::V4),
        gateway6: interface.gateway6.map(IpAddr::V6),
    }
}

/// The network namespace of a machine, as seen in its guest.
pub(crate) const GUEST: &str = "/proc/1/ns/net";

impl Joined {
    /// On no network: a machine for a container's files.
    pub(crate) fn apart() -> Self {
        Self {
            namespace: Namespace::Path(GUEST.into()),
            settings: NetworkSettings::default(),
            ports: Vec::new(),
            listeners: Vec::new(),
            interfaces: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// How a container is networked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode<'a> {
    None,
    Host,
    Container(&'a str),
    Bridged,
}

/// Whether it has networks of its own, that can be changed.
pub(crate) fn is_bridged(record: &Record) -> bool {
    mode(record) == Mode::Bridged
}

fn mode(record: &Record) -> Mode<'_> {
    if record.config.network_disabled {
        return Mode::None;
    }
    match record.host_config.network_mode.as_str() {
        "none" => Mode::None,
        "host" => Mode::Host,
        other => other
            .strip_prefix("container:")
            .map_or(Mode::Bridged, Mode::Container),
    }
}

/// Finds the network namespace of a running container, for another.
type Peer = dyn Fn(&Record, &str) -> Result<PathBuf> + Send + Sync;

/// Everything that the engine does with networks.
pub(crate) struct Networking {
    pub(crate) networks: coracle_network::Networks,
    pub(crate) names: Names,
    pub(crate) links: Links,
    netns: PathBuf,
    userland_proxy: bool,
    forwarder: Option<PortForwarder>,
    peer: Box<Peer>,
}

impl Networking {
    pub(crate) fn new(
        networks: coracle_network::Networks,
        names: Names,
        links: Links,
        exec_root: &std::path::Path,
        userland_proxy: bool,
        forwarder: Option<PortForwarder>,
        peer: impl Fn(&Record, &str) -> Result<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        Self {
            networks,
            names,
            links,
            netns: exec_root.join("netns"),
            userland_proxy,
            forwarder,
            peer: Box::new(peer),
        }
    }

    fn netns(&self, record: &Record) -> PathBuf {
        self.netns.join(&record.id)
    }

    /// Puts bridges, rules and the endpoints of what runs back in order, and clears the rest away.
    pub(crate) async fn restore(&self, live: HashSet<String>) -> Result<()> {
        let stale = coracle_network::remove_stale_netns(self.netns.clone(), live.clone()).await;
        for id in stale.map_err(error)? {
            tracing::info!(id, "removed a stale network namespace");
        }
        let live = live
            .into_iter()
            .map(|id| Live {
                id,
                ..Default::default()
            })
            .collect();
        self.networks.restore(live).await.map_err(error)?;
        if let Some(forwarder) = self.forwarder.clone() {
            let exposed = self.networks.exposed();
            let ports: Vec<PortMapping> = exposed
                .into_values()
                .flat_map(|exposure| exposure.ports)
                .collect();
            blocking(move || {
                forwarder.settle(&ports);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Answers names again, once the containers are known.
    pub(crate) async fn reopen_names(&self) {
        self.names.reopen(&self.netns).await;
    }

    /// Host ports that a container asks for, if they can be published here.
    pub(crate) fn requests(&self, record: &Record) -> Result<Vec<PortRequest>> {
        let requests = requests(record)?;
        if let Some(forwarder) = &self.forwarder {
            forwarder.check(&requests, self.userland_proxy)?;
        }
        Ok(requests)
    }

    /// Joins the networks that a container asks for. On an error nothing is left.
    pub(crate) async fn join(&self, record: &Record, dirs: &Dirs) -> Result<Joined> {
        let bare = |namespace| Joined {
            namespace,
            settings: self.idle_settings(record),
            ports: Vec::new(),
            listeners: Vec::new(),
            interfaces: Vec::new(),
            environment: Vec::new(),
        };
        let in_machine = machine::is_machine(&record.host_config);
        match mode(record) {
            Mode::Container(other) => Ok(bare(Namespace::Path((self.peer)(record, other)?))),
            Mode::Host => {
                self.write_files(record, dirs, &[], Reach::Host, None)?;
                Ok(bare(Namespace::Host))
            }
            Mode::None => {
                self.write_files(record, dirs, &[], Reach::Host, None)?;
                Ok(bare(match in_machine {
                    true => Namespace::Path(GUEST.into()),
                    false => Namespace::New,
                }))
            }
            Mode::Bridged => {
                let result = self.join_bridged(record, dirs).await;
                if result.is_err() {
                    self.leave(record).await;
                }
                result
            }
        }
    }

    async fn join_bridged(&self, record: &Record, dirs: &Dirs) -> Result<Joined> {
        let path = self.netns(record);
        let links = self.links.ends(record)?;
        let requested = self.requests(record)?;
        let published = match &self.forwarder {
            Some(forwarder) => {
                let inside = forwarder.inside(&requested);
                let published = self.networks.publish(&inside).map_err(error)?;
                forwarder.outside(&requested, published)
            }
            None => self.networks.publish(&requested).map_err(error)?,
        };
        let in_machine = machine::is_machine(&record.host_config);
        if !in_machine {
            coracle_network::create_netns(path.clone())
                .await
                .map_err(error)?;
        }
        let mut endpoints: Vec<(String, Endpoint)> = Vec::new();
        for (name, settings) in wanted(record) {
            let network = self.networks.find(&name).map_err(error)?;
            let config = endpoint_config(record, &settings, &network, endpoints.len())?;
            let endpoint = self
                .networks
                .attach(self.place(record), config)
                .await
                .map_err(error)?;
            endpoints.push((network.name, endpoint));
        }
        // Where its default routes lead is settled with the last one.
        let settled = self.networks.attached(&record.id);
        for (_, endpoint) in &mut endpoints {
            if let Some(now) = settled.iter().find(|now| now.network == endpoint.network) {
                endpoint.clone_from(now);
            }
        }
        let (published, ip4, ip6) = match main_endpoint(&settled) {
            Some(main) => (published, v4(main.ip4()), v6(main.ip6())),
            // On the host's own Ethernet it has ports of its own.
            None => (Published::default(), None, None),
        };
        let mappings = published.mappings();
        if !mappings.is_empty() {
            if let Some(forwarder) = self.forwarder.clone() {
                let ports = mappings.clone();
                blocking(move || forwarder.add(&ports)).await?;
            }
            self.networks
                .expose(&record.id, mappings.clone(), ip4, ip6)
                .await
                .map_err(error)?;
        }
        let resolver = self.names.open(record, &path).await;
        let addresses: Vec<IpAddr> = endpoints
            .iter()
            .flat_map(|(_, endpoint)| [endpoint.ip4(), endpoint.ip6()])
            .flatten()
            .collect();
        self.write_files(
            record,
            dirs,
            &addresses,
            Reach::Bridge {
                ipv6: ip6.is_some(),
            },
            resolver,
        )?;
        let settings = NetworkSettings {
            sandbox_id: record.id.clone(),
            sandbox_key: match in_machine {
                // What there is of it on this host.
                true => main_tap(&endpoints),
                false => path.to_string_lossy().into_owned(),
            },
            ports: bindings(record, &mappings)?,
            networks: endpoints
                .iter()
                .map(|(name, endpoint)| (name.clone(), describe(record, name, endpoint)))
                .collect(),
        };
        let (ports, listeners) = self.proxied(published, ip4, ip6);
        let interfaces = match in_machine {
            true => endpoints.iter().map(|(_, end)| interface(end)).collect(),
            false => Vec::new(),
        };
        Ok(Joined {
            namespace: Namespace::Path(match in_machine {
                true => GUEST.into(),
                false => path,
            }),
            settings,
            ports,
            listeners,
            interfaces,
            environment: links::environment(record, &links),
        })
    }

    /// The interfaces of a container's machine, as they are to be now.
    pub(crate) fn interfaces(&self, record: &Record) -> Vec<MachineInterface> {
        let mut attached = self.networks.attached(&record.id);
        attached.sort_by(|one, other| one.ifname.cmp(&other.ifname));
        attached.iter().map(interface).collect()
    }

    /// Where the container's interfaces are: in a namespace, or in its machine.
    fn place(&self, record: &Record) -> Place {
        match machine::is_machine(&record.host_config) {
            true => Place::machine(),
            false => Place::Namespace(self.netns(record)),
        }
    }

    /// What the shim is to serve: without the proxy it only keeps the sockets, so that the ports stay
    /// taken.
    fn proxied(
        &self,
        published: Published,
        ip4: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    ) -> (Vec<ProxyPort>, Vec<OwnedFd>) {
        let mut ports = Vec::new();
        let mut listeners = Vec::new();
        for binding in published.bindings {
            // A host's IPv6 port may lead to a container that has only IPv4.
            let own = match binding.mapping.host_ip {
                IpAddr::V4(_) => ip4.map(IpAddr::V4),
                IpAddr::V6(_) => ip6.map(IpAddr::V6).or(ip4.map(IpAddr::V4)),
            };
            if let (Some(ip), true) = (own, self.userland_proxy) {
                ports.push(ProxyPort {
                    fd_index: listeners.len(),
                    proto: match binding.mapping.proto {
                        Proto::Udp => coracle_task::Proto::Udp,
                        _ => coracle_task::Proto::Tcp,
                    },
                    target: (ip, binding.mapping.container_port).into(),
                });
            }
            listeners.push(binding.listener);
        }
        (ports, listeners)
    }

    /// Gives back what [`join`](Self::join) gave. What can't be given back now is at the next start.
    pub(crate) async fn leave(&self, record: &Record) {
        // One that has left its last network has a namespace all the same.
        if matches!(mode(record), Mode::Host | Mode::Container(_)) {
            return;
        }
        self.names.close(&record.id);
        let exposed = self.networks.exposed().remove(&record.id);
        if let (Some(forwarder), Some(exposure)) = (self.forwarder.clone(), exposed) {
            let taken = blocking(move || {
                forwarder.remove(&exposure.ports);
                Ok(())
            });
            if let Err(error) = taken.await {
                tracing::warn!(container = %record.id, %error, "published ports stay");
            }
        }
        let released = self.networks.release(&record.id).await;
        let removed = coracle_network::remove_netns(self.netns(record)).await;
        for error in [released.err(), removed.err()].into_iter().flatten() {
            tracing::warn!(container = %record.id, %error, "cannot leave a network cleanly");
        }
    }

    /// Whether a container that doesn't run could join a network like this.
    pub(crate) fn check(
        &self,
        record: &Record,
        network: &str,
        settings: &EndpointSettings,
    ) -> Result<()> {
        let network = self.networks.find(network).map_err(error)?;
        let config = endpoint_config(record, settings, &network, 0)?;
        network.owns(config.ipv4, config.ipv6).map_err(error)
    }

    /// Puts a running container on one more network.
    pub(crate) async fn plug(
        &self,
        record: &Record,
        dirs: &Dirs,
        network: &str,
    ) -> Result<EndpointSettings> {
        let network = self.networks.find(network).map_err(error)?;
        let settings = record
            .networking
            .endpoints_config
            .get(&network.name)
            .cloned();
        let taken: Vec<String> = self
            .networks
            .list()
            .iter()
            .flat_map(|other| self.networks.endpoints(&other.id))
            .filter(|endpoint| endpoint.id == record.id)
            .map(|endpoint| endpoint.ifname)
            .collect();
        let index = (0..)
            .find(|n| !taken.contains(&format!("{}{n}", network.interface_prefix())))
            .unwrap_or_default();
        let config = endpoint_config(record, &settings.unwrap_or_default(), &network, index)?;
        let endpoint = self
            .networks
            .attach(self.place(record), config)
            .await
            .map_err(error)?;
        self.follow(record).await?;
        let resolver = self.names.open(record, &self.netns(record)).await;
        let own: Vec<IpAddr> = endpoint.addresses().map(|address| address.ip).collect();
        let added = {
            let _writing = self.links.writing();
            add_names(record, dirs, &own, resolver)
        };
        if let Err(error) = added {
            tracing::warn!(container = %record.id, %error, "cannot change its files");
        }
        Ok(describe(record, &network.name, &endpoint))
    }

    /// Has published ports lead to where the default route leads now.
    async fn follow(&self, record: &Record) -> Result<()> {
        let Some(exposure) = self.networks.exposed().remove(&record.id) else {
            return Ok(());
        };
        let attached = self.networks.attached(&record.id);
        match main_endpoint(&attached) {
            None => self.networks.unexpose(&record.id).await,
            Some(main) if main.ip4() == exposure.ip4.map(IpAddr::V4) => Ok(()),
            Some(main) => {
                let (ip4, ip6) = (v4(main.ip4()), v6(main.ip6()));
                let ports = exposure.ports;
                self.networks.expose(&record.id, ports, ip4, ip6).await
            }
        }
        .map_err(error)
    }

    /// Takes a running container off a network. Its published ports lead to the next one, if any.
    pub(crate) async fn unplug(&self, record: &Record, dirs: &Dirs, network: &str) -> Result<()> {
        let network = self.networks.find(network).map_err(error)?;
        let attached = self.networks.attached(&record.id);
        let leaving = attached.iter().find(|e| e.network == network.id);
        self.networks
            .detach(&network.id, &record.id)
            .await
            .map_err(error)?;
        self.names.changed();
        if let Some(endpoint) = leaving {
            let gone: Vec<IpAddr> = endpoint.addresses().map(|address| address.ip).collect();
            let _writing = self.links.writing();
            if let Err(error) = mounted::remove_host(&dirs.hosts(), &gone) {
                tracing::warn!(container = %record.id, %error, "cannot change its hosts file");
            }
        }
        self.follow(record).await
    }

    /// What is shown of a container that does not run: the networks that it will join.
    pub(crate) fn idle_settings(&self, record: &Record) -> NetworkSettings {
        let networks = match mode(record) {
            Mode::None => vec![("none".to_owned(), EndpointSettings::default())],
            Mode::Host => vec![("host".to_owned(), EndpointSettings::default())],
            Mode::Container(_) => Vec::new(),
            Mode::Bridged => wanted(record),
        };
        NetworkSettings {
            networks: networks
                .into_iter()
                .map(|(name, mut settings)| {
                    if let Ok(network) = self.networks.find(&name) {
                        settings.network_id = network.id;
                    }
                    (name, settings)
                })
                .collect(),
            ..Default::default()
        }
    }

    /// Writes the hosts, host-name and resolver files that are mounted inside.
    fn write_files(
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
                    self.networks.default_network().map_err(error)?.ipv4.gateway
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
fn add_names(
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

/// The networks a container asks for, the one of its network mode first.
fn wanted(record: &Record) -> Vec<(String, EndpointSettings)> {
    let main = match record.host_config.network_mode.as_str() {
        "" | "default" | "bridge" => coracle_network::DEFAULT_NETWORK,
        other => other,
    };
    let settings = &record.networking.endpoints_config;
    let own = settings
        .get(main)
        .or_else(|| settings.get("default"))
        .cloned();
    let mut networks = vec![(main.to_owned(), own.unwrap_or_default())];
    for (name, settings) in settings {
        if name != main && name != "default" {
            networks.push((name.clone(), settings.clone()));
        }
    }
    networks
}

/// Where published ports lead: the endpoint that the default route leads to, if it is on a bridge;
/// else the first one that is.
fn main_endpoint(attached: &[Endpoint]) -> Option<&Endpoint> {
    let on_bridges = attached.iter().filter(|e| !e.host_ifname.is_empty());
    on_bridges.min_by_key(|e| (!e.leads4, e.ifname.as_str()))
}

fn endpoint_config(
    record: &Record,
    settings: &EndpointSettings,
    network: &coracle_network::Network,
    index: usize,
) -> Result<EndpointConfig> {
    coracle_spec::check_endpoint(settings)?;
    let asked = settings.ipam_config.as_ref();
    let fixed =
        asked.is_some_and(|ipam| !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty());
    if fixed && network.is_default() {
        return Err(RuntimeError::InvalidArgument(
            "user specified IP address is supported on user defined networks only".into(),
        ));
    }
    let mut config = EndpointConfig::new(record.id.clone(), network.id.clone());
    config.ifname = format!("{}{index}", network.interface_prefix());
    config.gateway_priority = settings.gw_priority;
    if let Some(options) = &settings.driver_opts {
        config.set_options(options).map_err(error)?;
    }
    config.aliases = settings.aliases.clone().unwrap_or_default();
    let mac = match settings.mac_address.as_str() {
        "" if index == 0 => record.config.mac_address.as_str(),
        given => given,
    };
    if !mac.is_empty() {
        config.mac = Some(MacAddr(coracle_spec::check::check_mac(mac)?));
    }
    if let Some(ipam) = asked {
        config.ipv4 = ipam.ipv4_address.parse().ok();
        config.ipv6 = ipam.ipv6_address.parse().ok();
        config.link_local = coracle_spec::link_local(&ipam.link_local_ips)?;
    }
    Ok(config)
}

/// Host ports that a container asks for.
fn requests(record: &Record) -> Result<Vec<PortRequest>> {
    let host_config = &record.host_config;
    let mut requests = Vec::new();
    for (port, bindings) in &host_config.port_bindings {
        for (container_port, proto) in expand(port)? {
            for binding in bindings.iter().flatten() {
                requests.push(request(container_port, proto, binding)?);
            }
        }
    }
    if host_config.publish_all_ports {
        for port in record.config.exposed_ports.keys() {
            if host_config.port_bindings.contains_key(port) {
                continue;
            }
            for (container_port, proto) in expand(port)? {
                requests.push(request(container_port, proto, &PortBinding::default())?);
            }
        }
    }
    Ok(requests)
}

fn request(container_port: u16, proto: Proto, binding: &PortBinding) -> Result<PortRequest> {
    let invalid = |what: &str| {
        RuntimeError::InvalidArgument(format!("invalid port specification: \"{what}\""))
    };
    let host_ip = match binding.host_ip.as_str() {
        "" => None,
        given => {
            let bare = given.trim_start_matches('[').trim_end_matches(']');
            Some(bare.parse().map_err(|_| invalid(given))?)
        }
    };
    let host_port: Option<RangeInclusive<u16>> = match binding.host_port.as_str() {
        "" | "0" => None,
        given => {
            let (first, last) = given.split_once('-').unwrap_or((given, given));
            let number = |word: &str| word.parse::<u16>().map_err(|_| invalid(given));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(invalid(given));
            }
            Some(first..=last)
        }
    };
    Ok(PortRequest {
        proto,
        host_ip,
        host_port,
        container_port,
    })
}

/// The ports that `80-82/tcp` stands for.
fn expand(text: &str) -> Result<Vec<(u16, Proto)>> {
    let (first, last, proto) = coracle_spec::check::exposed_port(text)?;
    let proto = match proto {
        "udp" => Proto::Udp,
        "sctp" => Proto::Sctp,
        _ => Proto::Tcp,
    };
    Ok((first..=last).map(|port| (port, proto)).collect())
}

/// Exposed ports with their host ends, as `inspect` shows them.
fn bindings(
    record: &Record,
    mappings: &[PortMapping],
) -> Result<BTreeMap<String, Option<Vec<PortBinding>>>> {
    let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    let keys = record
        .config
        .exposed_ports
        .keys()
        .chain(record.host_config.port_bindings.keys());
    for key in keys {
        for (port, proto) in expand(key)? {
            ports
                .entry(format!("{port}/{}", proto.as_str()))
                .or_default();
        }
    }
    for mapping in mappings {
        let key = format!("{}/{}", mapping.container_port, mapping.proto.as_str());
        ports
            .entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: mapping.host_ip.to_string(),
                host_port: mapping.host_port.to_string(),
            });
    }
    Ok(ports)
}

fn describe(record: &Record, name: &str, endpoint: &Endpoint) -> EndpointSettings {
    let asked = record.networking.endpoints_config.get(name);
    let mut settings = asked.cloned().unwrap_or_default();
    settings.network_id.clone_from(&endpoint.network);
    settings.endpoint_id = endpoint_id(endpoint);
    settings.mac_address = endpoint.mac.to_string();
    if let Some(assigned) = &endpoint.ipv4 {
        settings.ip_address = assigned.ip.to_string();
        settings.ip_prefix_len = assigned.subnet.prefix();
        settings.gateway = assigned
            .gateway
            .map(|ip| ip.to_string())
            .unwrap_or_default();
    }
    if let Some(assigned) = &endpoint.ipv6 {
        settings.global_ipv6_address = assigned.ip.to_string();
        settings.global_ipv6_prefix_len = assigned.subnet.prefix();
        settings.ipv6_gateway = assigned
            .gateway
            .map(|ip| ip.to_string())
            .unwrap_or_default();
    }
    settings
}

/// An endpoint's id: there is one of a container on a network, so both make it.
pub(crate) fn endpoint_id(endpoint: &Endpoint) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA256,
        format!("{}/{}", endpoint.network, endpoint.id).as_bytes(),
    );
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn v4(ip: Option<IpAddr>) -> Option<Ipv4Addr> {
    match ip {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    }
}

fn v6(ip: Option<IpAddr>) -> Option<Ipv6Addr> {
    match ip {
        Some(IpAddr::V6(ip)) => Some(ip),
        _ => None,
    }
}

/// What a network error means to the user.
pub(crate) fn error(error: Error) -> RuntimeError {
    let text = error.to_string();
    match error {
        Error::NetworkNotFound(name) => RuntimeError::NotFound(format!("network {name} not found")),
        Error::NetworkExists(_) => RuntimeError::AlreadyExists(text),
        Error::NetworkInUse { .. }
        | Error::Predefined(_)
        | Error::PoolOverlap
        | Error::AddressInUse(_) => RuntimeError::Forbidden(text),
        Error::Invalid(_) | Error::Unsupported(_) | Error::AddressOutside(_) => {
            RuntimeError::InvalidArgument(text)
        }
        _ => RuntimeError::Internal(text),
    }
}
