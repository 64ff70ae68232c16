//! The networks of a daemon: what callers use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bridge;
use crate::config::Config;
use crate::endpoint::{Assigned, Endpoint, EndpointConfig};
use crate::error::{Error, Result, blocking};
use crate::mac::MacAddr;
use crate::netlink::Netlink;
use crate::network::{DEFAULT_NETWORK, Network, NetworkSpec};
use crate::nft::{self, Firewall, rules};
use crate::pools;
use crate::ports::{Exposure, PortMapping, PortRequest, Ports, Published, all_elements};
use crate::state::{self, EndpointsFile, Entry, NetworksFile, State};
use crate::veth;

/// What still runs when a daemon starts. What it doesn't say is taken from our own files.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The id that the endpoints and ports were made with.
    pub id: String,
    /// Its endpoints, as far as the caller knows them.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports, if the caller knows them.
    pub exposure: Option<Exposure>,
}

/// The networks of a daemon. A handle: clones are the same.
#[derive(Clone, Debug)]
pub struct Networks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    state: Mutex<State>,
    /// The generation of the state that the endpoints' file holds; held while it is written.
    saved: Arc<tokio::sync::Mutex<u64>>,
    /// Held while networks are made, removed or restored.
    topology: tokio::sync::Mutex<()>,
    firewall: Firewall,
    ports: Ports,
    warnings: Vec<String>,
}

impl Networks {
    /// Reads what is remembered, and settles the default network's addresses. Changes nothing in
    /// the kernel: [`Networks::restore`] does. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the configuration contradicts itself, if files can't be read or written, or if no subnet
    /// is free for the default network.
    pub async fn open(config: Config) -> Result<Self> {
        config.check()?;
        let mut warnings = Vec::new();
        let nft = if config.firewall {
            nft::find(&config.nft)
        } else {
            None
        };
        if nft.is_none() {
            warnings.push(if config.firewall {
                "nft is missing (install nftables): containers can't reach beyond this host, and \
                 published ports are served by the user-space proxy alone"
                    .to_owned()
            } else {
                "firewall rules are switched off: containers can't reach beyond this host unless \
                 it masquerades for them by other rules"
                    .to_owned()
            });
        }
        warnings.iter().for_each(|w| tracing::warn!("{w}"));
        let loading = config.clone();
        let state = blocking(move || load(&loading)).await?;
        let firewall = Firewall::start(nft, config.table());
        let networks = Self {
            inner: Arc::new(Inner {
                config,
                state: Mutex::new(state),
                saved: Arc::default(),
                topology: tokio::sync::Mutex::new(()),
                firewall,
                ports: Ports::default(),
                warnings,
            }),
        };
        Ok(networks)
    }

    /// What the user should know about this host, for `info`.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Makes kernel and memory agree with what runs: bridges and firewall are made (again), live
    /// endpoints are put back onto their bridges, all others are released with their ports. To be
    /// called once, before anything is attached. Containers that run notice nothing.
    ///
    /// # Errors
    /// If bridges or rules can't be made. A single endpoint that can't be restored is only logged.
    pub async fn restore(&self, live: Vec<Live>) -> Result<()> {
        {
            let mut state = self.state();
            let ids: HashSet<String> = live.iter().map(|l| l.id.clone()).collect();
            let dead: Vec<_> = state
                .endpoints
                .keys()
                .filter(|(_, id)| !ids.contains(id))
                .cloned()
                .collect();
            for (network, id) in dead {
                state.forget(&network, &id);
            }
            state.exposed.retain(|id, _| ids.contains(id));
            for Live {
                id,
                endpoints,
                exposure,
            } in live
            {
                for endpoint in endpoints {
                    if let Err(e) = state.adopt(endpoint) {
                        tracing::warn!("endpoint of {id} isn't restored: {e}");
                    }
                }
                if let Some(exposure) = exposure {
                    state.exposed.insert(id, exposure);
                }
            }
            state.generation += 1;
        }
        self.save_endpoints().await?;
        self.make(true).await
    }

    /// Makes bridges and firewall rules (again) where they aren't as they should be: after
    /// somebody else's `nft flush ruleset`, for one.
    ///
    /// # Errors
    /// As [`Networks::restore`].
    pub async fn ensure(&self) -> Result<()> {
        self.make(false).await
    }

    async fn make(&self, remove_stale: bool) -> Result<()> {
        let _topology = self.inner.topology.lock().await;
        let (networks, endpoints) = {
            let state = self.state();
            let networks: Vec<_> = state.networks.values().map(|e| e.network.clone()).collect();
            (
                networks,
                state.endpoints.values().cloned().collect::<Vec<_>>(),
            )
        };
        let config = self.inner.config.clone();
        blocking(move || make_bridges(&config, &networks, &endpoints, remove_stale)).await?;
        let (networks, published) = {
            let state = self.state();
            (
                self.rules(&state),
                all_elements(&state.exposed, self.inner.config.userland_proxy),
            )
        };
        self.inner.firewall.reset(networks, Some(published)).await
    }

    fn rules(&self, state: &State) -> rules::Networks {
        let networks = state.networks.values().map(|e| &e.network);
        rules::Networks::new(networks, self.inner.config.userland_proxy)
    }

    /// All networks.
    #[must_use]
    pub fn list(&self) -> Vec<Network> {
        self.state()
            .networks
            .values()
            .map(|e| e.network.clone())
            .collect()
    }

    /// The default network.
    ///
    /// # Errors
    /// Never, in fact: [`Networks::open`] makes one.
    pub fn default_network(&self) -> Result<Network> {
        self.find(DEFAULT_NETWORK)
    }

    /// The network of a full id, a name, or the beginning of an id that no other has.
    ///
    /// # Errors
    /// `NetworkNotFound`, or `Invalid` if several ids begin so.
    pub fn find(&self, name_or_id: &str) -> Result<Network> {
        let state = self.state();
        let mut all = state.networks.values().map(|e| &e.network);
        if let Some(entry) = state.networks.get(name_or_id) {
            return Ok(entry.network.clone());
        }
        if let Some(network) = all.clone().find(|n| n.name == name_or_id) {
            return Ok(network.clone());
        }
        let mut begins = all
            .by_ref()
            .filter(|n| !name_or_id.is_empty() && n.id.starts_with(name_or_id));
        match (begins.next(), begins.next()) {
            (Some(network), None) => Ok(network.clone()),
            (Some(_), Some(_)) => Err(Error::Invalid(format!(
                "network {name_or_id} is ambiguous (several networks' ids begin so)"
            ))),
            _ => Err(Error::NetworkNotFound(name_or_id.to_owned())),
        }
    }

    /// The endpoints of a network.
    #[must_use]
    pub fn endpoints(&self, network: &str) -> Vec<Endpoint> {
        self.state()
            .endpoints
            .values()
            .filter(|e| e.network == network)
            .cloned()
            .collect()
    }

    /// Makes a network with its bridge.
    ///
    /// # Errors
    /// If the name or the subnet is taken, an option isn't known, or the kernel refuses; nothing is
    /// left then.
    pub async fn create(&self, spec: NetworkSpec) -> Result<Network> {
        let options = spec.check()?;
        let _topology = self.inner.topology.lock().await;
        let existing = self.list();
        if existing.iter().any(|n| n.name == spec.name) {
            return Err(Error::NetworkExists(spec.name));
        }
        let config = self.inner.config.clone();
        let network = blocking(move || {
            let id = random_id()?;
            let bridge = options
                .bridge
                .unwrap_or_else(|| format!("br-{}", &id[..12]));
            if let Some(other) = existing.iter().find(|n| n.bridge == bridge) {
                return Err(Error::Invalid(format!(
                    "bridge name {bridge} is already in use by network {}",
                    other.name
                )));
            }
            let mut netlink = Netlink::open().map_err(Error::netlink("read the host's routes"))?;
            if netlink
                .link(&bridge)
                .map_err(Error::netlink("look up the bridge"))?
                .is_some()
            {
                return Err(Error::Invalid(format!("interface {bridge} exists already")));
            }
            let mut finder = pools::Finder::new(&config.pools, &mut netlink, &existing, None)?;
            let ipv4 = finder.pool(&spec.ipv4, true)?;
            let ipv6 = spec
                .ipv6
                .as_ref()
                .map(|p| finder.pool(p, false))
                .transpose()?;
            let network = Network {
                id,
                name: spec.name,
                created: now(),
                bridge,
                ipv4,
                ipv6,
                internal: spec.internal,
                icc: options.icc,
                masquerade: options.masquerade,
                mtu: options.mtu.unwrap_or(config.mtu),
                host_ip: options.host_ip,
                options: spec.options,
                labels: spec.labels,
            };
            Entry::new(network.clone())?;
            make_bridges(&config, std::slice::from_ref(&network), &[], false)
                .inspect_err(|_| drop(bridge::remove(&network)))?;
            Ok(network)
        })
        .await?;
        let rules = {
            let mut state = self.state();
            state
                .networks
                .insert(network.id.clone(), Entry::new(network.clone())?);
            self.rules(&state)
        };
        let result = match self.save_networks().await {
            Ok(()) => self.inner.firewall.reset(rules, None).await,
            Err(e) => Err(e),
        };
        if let Err(e) = result {
            self.state().networks.remove(&network.id);
            let (saved, gone) = (self.save_networks().await, network.clone());
            let removed = blocking(move || bridge::remove(&gone)).await;
            for undo in [saved, removed] {
                undo.unwrap_or_else(|e| tracing::warn!("after a failed network creation: {e}"));
            }
            return Err(e);
        }
        Ok(network)
    }

    /// Removes a network and its bridge.
    ///
    /// # Errors
    /// `NetworkNotFound`, `Predefined` for the default one, `NetworkInUse` as long as it has
    /// endpoints.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let _topology = self.inner.topology.lock().await;
        let (network, rules) = {
            let mut state = self.state();
            let network = state.entry(id)?.network.clone();
            if network.is_default() {
                return Err(Error::Predefined(network.name));
            }
            if state.endpoints.keys().any(|(network, _)| network == id) {
                return Err(Error::NetworkInUse {
                    name: network.name,
                    id: network.id,
                });
            }
            state.networks.remove(id);
            state.generation += 1;
            (network, self.rules(&state))
        };
        self.save_networks().await?;
        blocking(move || bridge::remove(&network)).await?;
        self.inner.firewall.reset(rules, None).await
    }

    /// Attaches a namespace to a network. An endpoint that this id has there already is replaced,
    /// and keeps its addresses unless others are asked for.
    ///
    /// If the future is dropped midway, the endpoint may be there: [`Networks::detach`] it.
    ///
    /// # Errors
    /// If an address isn't free or isn't the network's, if there is no namespace at `netns`, or if
    /// the kernel refuses. Nothing is left then.
    pub async fn attach(
        &self,
        netns: impl Into<PathBuf>,
        wanted: EndpointConfig,
    ) -> Result<Endpoint> {
        wanted.check()?;
        let (network, endpoint) = self.assign(netns.into(), wanted)?;
        let plugging = endpoint.clone();
        let result = match self.save_endpoints().await {
            Ok(()) => blocking(move || veth::plug(&network, &plugging)).await,
            Err(e) => Err(e),
        };
        if let Err(e) = result {
            self.state().forget(&endpoint.network, &endpoint.id);
            self.save_endpoints()
                .await
                .unwrap_or_else(|e| tracing::warn!("after a failed attachment: {e}"));
            return Err(e);
        }
        Ok(endpoint)
    }

    /// Chooses an endpoint's addresses and names, and remembers it.
    fn assign(&self, netns: PathBuf, wanted: EndpointConfig) -> Result<(Network, Endpoint)> {
        let mut state = self.state();
        state.entry(&wanted.network)?;
        let former = state.forget(&wanted.network, &wanted.id);
        let names: HashSet<&str> = state
            .endpoints
            .values()
            .map(|e| e.host_ifname.as_str())
            .collect();
        let host_ifname = (0..)
            .map(|salt| veth::host_name(&wanted.network, &wanted.id, salt))
            .find(|name| !names.contains(name.as_str()))
            .ok_or(Error::Internal("no interface name is free"))?;
        let entry = state.entry(&wanted.network)?;
        let network = entry.network.clone();

        let mut take = |ipv4, wanted: Option<IpAddr>, former: Option<IpAddr>| match wanted {
            Some(ip) => entry.take(ipv4, Some(ip)),
            None => former
                .and_then(|ip| entry.take(ipv4, Some(ip)).ok())
                .map_or_else(|| entry.take(ipv4, None), Ok),
        };
        let former4 = former.as_ref().and_then(Endpoint::ip4);
        let former6 = former.as_ref().and_then(Endpoint::ip6);
        let ip4 = take(true, wanted.ipv4.map(IpAddr::V4), former4)?;
        let ip6 = take(false, wanted.ipv6.map(IpAddr::V6), former6).inspect_err(|_| {
            if let Some(ip) = ip4 {
                entry.give_back(ip);
            }
        })?;
        let assigned = |ip: Option<IpAddr>, pool: Option<&crate::Pool>| {
            let (ip, pool) = (ip?, pool?);
            let gateway = (!network.internal).then_some(pool.gateway);
            Some(Assigned {
                ip,
                subnet: pool.subnet,
                gateway,
            })
        };
        let derived = ip4
            .or(ip6)
            .map_or(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::from_ip);
        let endpoint = Endpoint {
            id: wanted.id,
            network: wanted.network,
            netns,
            ifname: wanted.ifname,
            host_ifname,
            mac: wanted.mac.unwrap_or(derived),
            mtu: network.mtu,
            ipv4: assigned(ip4, Some(&network.ipv4)),
            ipv6: assigned(ip6, network.ipv6.as_ref()),
            aliases: wanted.aliases,
            default_route: wanted.default_route,
        };
        let key = (endpoint.network.clone(), endpoint.id.clone());
        state.endpoints.insert(key, endpoint.clone());
        state.generation += 1;
        Ok((network, endpoint))
    }

    /// Takes a container off a network: its interface goes, its addresses are free. One that isn't
    /// attached is no error.
    ///
    /// # Errors
    /// If the kernel refuses, or the files can't be written.
    pub async fn detach(&self, network: &str, id: &str) -> Result<()> {
        let key = (network.to_owned(), id.to_owned());
        let Some(endpoint) = self.state().endpoints.get(&key).cloned() else {
            return Ok(());
        };
        blocking(move || veth::unplug(&endpoint)).await?;
        self.state().forget(network, id);
        self.save_endpoints().await
    }

    /// Gives back all that a container has: ports and addresses at once, interfaces in the
    /// background (they go with its namespace too). One that has nothing is no error.
    ///
    /// # Errors
    /// If the firewall refuses, or the files can't be written.
    pub async fn release(&self, id: &str) -> Result<()> {
        let endpoints: Vec<Endpoint> = {
            let mut state = self.state();
            let keys: Vec<_> = state
                .endpoints
                .keys()
                .filter(|(_, owner)| owner == id)
                .cloned()
                .collect();
            keys.iter()
                .filter_map(|(network, id)| state.forget(network, id))
                .collect()
        };
        if !endpoints.is_empty() {
            drop(tokio::task::spawn_blocking(move || {
                for endpoint in &endpoints {
                    veth::unplug(endpoint).unwrap_or_else(|e| tracing::warn!("{e}"));
                }
            }));
        }
        self.unexpose(id).await
    }

    /// Reserves host ports by binding sockets to them: all, or none and an error. They are taken as
    /// long as the sockets are open. Requests without a host address get the daemon's default.
    ///
    /// # Errors
    /// `PortAllocated`, `AllPortsAllocated`, `Bind`; `Unsupported` for SCTP.
    pub fn publish(&self, requests: &[PortRequest]) -> Result<Published> {
        self.inner
            .ports
            .publish(requests, self.inner.config.default_host_ip)
    }

    /// Has the firewall send published ports to a container. Those of this id that were sent
    /// anywhere before no longer are.
    ///
    /// # Errors
    /// If the firewall refuses, or the files can't be written; nothing is exposed then.
    pub async fn expose(
        &self,
        id: &str,
        ports: Vec<PortMapping>,
        ip4: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    ) -> Result<()> {
        let exposure = Exposure { ports, ip4, ip6 };
        let elements = exposure.elements(self.inner.config.userland_proxy);
        self.with_state(|state| state.exposed.insert(id.to_owned(), exposure));
        let result = match self.save_endpoints().await {
            Ok(()) => self.inner.firewall.publish(id.to_owned(), elements).await,
            Err(e) => Err(e),
        };
        if result.is_err() {
            self.with_state(|state| state.exposed.remove(id));
        }
        result
    }

    /// Ends what [`Networks::expose`] began; nothing exposed is no error.
    ///
    /// # Errors
    /// If the firewall refuses, or the files can't be written.
    pub async fn unexpose(&self, id: &str) -> Result<()> {
        let exposed = self.with_state(|state| state.exposed.remove(id)).is_some();
        self.save_endpoints().await?;
        if exposed {
            self.inner.firewall.withdraw(id.to_owned()).await
        } else {
            Ok(())
        }
    }

    /// All exposed ports, by id.
    #[must_use]
    pub fn exposed(&self) -> BTreeMap<String, Exposure> {
        self.state().exposed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed by code that doesn't panic halfway.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.generation += 1;
        change(&mut state)
    }

    async fn save_networks(&self) -> Result<()> {
        let file = self.state().networks_file();
        let path = networks_path(&self.inner.config);
        blocking(move || state::save(&path, &file, true)).await
    }

    /// Writes the endpoints' file, unless somebody has written it since the caller's change: those
    /// that wait for a writer are all served by the next one.
    async fn save_endpoints(&self) -> Result<()> {
        let wanted = self.state().generation;
        let mut saved = self.inner.saved.clone().lock_owned().await;
        if *saved >= wanted {
            return Ok(());
        }
        let (generation, file) = {
            let state = self.state();
            (state.generation, state.endpoints_file())
        };
        let path = endpoints_path(&self.inner.config);
        // The guard goes along, so that writers stay in order though a caller gives up.
        blocking(move || {
            state::save(&path, &file, false)?;
            *saved = generation;
            Ok(())
        })
        .await
    }
}

fn networks_path(config: &Config) -> PathBuf {
    config.state_dir.join("networks.json")
}

fn endpoints_path(config: &Config) -> PathBuf {
    config.run_dir.join("endpoints.json")
}

/// Reads both files, and settles the default network.
fn load(config: &Config) -> Result<State> {
    let path = networks_path(config);
    let networks: NetworksFile = state::load(&path)?;
    let endpoints: EndpointsFile = state::load(&endpoints_path(config))?;
    let mut state = State::default();
    let (mut former, mut others) = (None, Vec::new());
    for network in networks.networks {
        if network.is_default() {
            former = Some(network);
        } else {
            others.push(network);
        }
    }
    let in_use = former
        .as_ref()
        .is_some_and(|n| endpoints.endpoints.iter().any(|e| e.network == n.id));
    let default = pools::default_network(config, former.as_ref(), in_use, &others)?;
    let changed = former.as_ref() != Some(&default);
    for network in std::iter::once(default).chain(others) {
        let name = network.name.clone();
        match Entry::new(network) {
            Ok(entry) => drop(state.networks.insert(entry.network.id.clone(), entry)),
            Err(e) => tracing::error!("network {name} is left out: {e}"),
        }
    }
    state.load_endpoints(endpoints);
    if changed {
        state::save(&path, &state.networks_file(), true)?;
    }
    Ok(state)
}

/// Makes bridges as they should be, and puts live endpoints back onto them.
fn make_bridges(
    config: &Config,
    networks: &[Network],
    endpoints: &[Endpoint],
    remove_stale: bool,
) -> Result<()> {
    if config.ip_forward {
        bridge::enable_forwarding(networks.iter().any(|n| n.ipv6.is_some()))?;
    }
    let mut netlink = Netlink::open().map_err(Error::netlink("open a netlink socket"))?;
    let live: HashMap<&str, &Endpoint> = endpoints
        .iter()
        .map(|e| (e.host_ifname.as_str(), e))
        .collect();
    for network in networks {
        let index = bridge::ensure(&mut netlink, network)?;
        if !config.userland_proxy {
            bridge::enable_route_localnet(network)?;
        }
        if remove_stale {
            let failed = |e| Error::netlink(format!("clear bridge {}", network.bridge))(e);
            for port in bridge::ports(&mut netlink, index).map_err(failed)? {
                if !live.contains_key(port.name.as_str()) {
                    netlink.delete_link(&port.name).map_err(failed)?;
                }
            }
        }
        for endpoint in endpoints.iter().filter(|e| e.network == network.id) {
            veth::repair(&mut netlink, index, network, endpoint)
                .unwrap_or_else(|e| tracing::warn!("endpoint of {}: {e}", endpoint.id));
        }
    }
    Ok(())
}

/// 64 random hexadecimal digits.
pub(crate) fn random_id() -> Result<String> {
    let bytes: [u8; 32] = random()?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open(Path::new("/dev/urandom"))
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::io("read /dev/urandom"))?;
    Ok(bytes)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
