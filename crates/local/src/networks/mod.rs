//! A container's place on its networks: joined when a run begins, left when it ends.

mod asked;
mod files;
mod inspect;
mod plug;
mod ports;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle_network::{Endpoint, Error, Live, Place, PortMapping, Published, Reach};
use coracle_runtime::container::NetworkSettings;
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::Namespace;
use coracle_task::{MachineInterface, ProxyPort};

use asked::{Mode, endpoint_config, mode, wanted};
use inspect::describe;
use ports::bindings;

pub(crate) use asked::is_bridged;
pub(crate) use inspect::endpoint_id;

use crate::container::files::blocking;
use crate::container::record::{Dirs, Record};
use crate::forward::PortForwarder;
use crate::links::{self, Links};
use crate::machine;
use crate::names::Names;

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

/// Where published ports lead: the endpoint that the default route leads to, if it is on a bridge;
/// else the first one that is.
fn main_endpoint(attached: &[Endpoint]) -> Option<&Endpoint> {
    let on_bridges = attached.iter().filter(|e| !e.host_ifname.is_empty());
    on_bridges.min_by_key(|e| (!e.leads4, !e.leads6, e.ifname.as_str()))
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
