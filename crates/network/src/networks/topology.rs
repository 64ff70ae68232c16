//! Networks: made, found, removed, and kept in the kernel.

use super::Networks;
use crate::config::Config;
use crate::driver::{Driver, Options, Parent};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, blocking, detached};
use crate::netlink::Netlink;
use crate::network::{DEFAULT_NETWORK, Network, NetworkSpec};
use crate::nft::rules;
use crate::state::Entry;
use crate::{bridge, child, pools, random};

impl Networks {
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

    /// The endpoints of a container, on all its networks. Where the default routes of a machine
    /// lead changes as it is attached and detached: it is to be told all its interfaces again then.
    #[must_use]
    pub fn attached(&self, id: &str) -> Vec<Endpoint> {
        self.state()
            .endpoints
            .values()
            .filter(|e| e.id == id)
            .cloned()
            .collect()
    }

    /// Makes a network with its bridge.
    ///
    /// # Errors
    /// If the name or the subnet is taken, an option isn't known, or the kernel refuses; nothing is
    /// left then.
    pub async fn create(&self, spec: NetworkSpec) -> Result<Network> {
        let this = self.clone();
        detached(async move { this.create_now(spec).await }).await
    }

    async fn create_now(&self, spec: NetworkSpec) -> Result<Network> {
        let options = spec.check()?;
        let _topology = self.inner.topology.lock().await;
        let (config, existing) = (self.inner.config.clone(), self.list());
        let network = blocking(move || plan(&config, &existing, spec, options)).await?;
        let entry = Entry::new(network.clone())?;
        let rules = {
            let mut state = self.state();
            state.networks.insert(network.id.clone(), entry);
            self.rules(&state)
        };
        if let Err(e) = self.make_new(network.clone(), rules).await {
            self.state().networks.remove(&network.id);
            let saved = self.save_networks().await;
            let removed = blocking(move || remove_link(&network)).await;
            for undo in [saved, removed] {
                undo.unwrap_or_else(|e| tracing::warn!("after a failed network creation: {e}"));
            }
            return Err(e);
        }
        Ok(network)
    }

    /// It is remembered first: what a crash leaves of it can be found, and removed by its owner.
    async fn make_new(&self, network: Network, rules: rules::Networks) -> Result<()> {
        self.save_networks().await?;
        let config = self.inner.config.clone();
        blocking(move || make_bridges(&config, &[network], None, true)).await?;
        self.inner.firewall.reset(rules, None).await
    }

    /// Removes a network and its bridge.
    ///
    /// # Errors
    /// `NetworkNotFound`, `Predefined` for the default one, `NetworkInUse` as long as it has
    /// endpoints.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let (this, id) = (self.clone(), id.to_owned());
        detached(async move { this.remove_now(&id).await }).await
    }

    async fn remove_now(&self, id: &str) -> Result<()> {
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
        blocking(move || remove_link(&network)).await?;
        self.inner.firewall.reset(rules, None).await
    }
}

/// Removes what was made for a network.
fn remove_link(network: &Network) -> Result<()> {
    match &network.parent {
        Some(parent) => child::remove_parent(parent),
        None => bridge::remove(network),
    }
}

/// Settles what a new network is to be.
fn plan(
    config: &Config,
    existing: &[Network],
    spec: NetworkSpec,
    options: Options,
) -> Result<Network> {
    if existing.iter().any(|n| n.name == spec.name) {
        return Err(Error::NetworkExists(spec.name));
    }
    let id = random::id()?;
    let failed = |e| Error::netlink("look for interfaces")(e);
    let mut netlink = Netlink::open().map_err(failed)?;
    let (mut bridge, mut parent) = (String::new(), None);
    let (mut internal, mut mtu) = (spec.internal, options.mtu.unwrap_or(config.mtu));
    if spec.driver == Driver::Bridge {
        bridge = plan_bridge(&mut netlink, existing, &id, &options)?;
    } else {
        if config.rootless {
            let driver = spec.driver.as_str();
            return Err(Error::Unsupported(format!(
                "driver {driver} in rootless mode"
            )));
        }
        let planned = plan_parent(&mut netlink, existing, &id, &options)?;
        // One that was made here leads nowhere, unless it is a VLAN.
        internal |= planned.made && planned.vlan().is_none();
        if let (Some(link), None) = (netlink.link(&planned.name).map_err(failed)?, options.mtu) {
            mtu = link.mtu;
        }
        parent = Some(planned);
    }
    let mut finder = pools::Finder::new(&config.pools, &mut netlink, existing, None)?;
    let ipv4 = spec.ipv4.map(|pool| finder.pool(&pool, true)).transpose()?;
    let ipv6 = spec
        .ipv6
        .map(|pool| finder.pool(&pool, false))
        .transpose()?;
    Ok(Network {
        id,
        name: spec.name,
        created: random::now(),
        driver: spec.driver,
        bridge,
        parent,
        ipv4,
        ipv6,
        internal,
        attachable: spec.attachable,
        icc: options.icc,
        masquerade: options.masquerade,
        mtu,
        host_ip: options.host_ip,
        options: spec.options,
        labels: spec.labels,
    })
}

/// Chooses the name of a network's bridge.
fn plan_bridge(
    netlink: &mut Netlink,
    existing: &[Network],
    id: &str,
    options: &Options,
) -> Result<String> {
    let bridge = match &options.bridge {
        Some(name) => name.clone(),
        None => "br-".chars().chain(id.chars().take(12)).collect(),
    };
    if let Some(other) = existing.iter().find(|n| n.bridge == bridge) {
        return Err(Error::Invalid(format!(
            "bridge name {bridge} is already in use by network {}",
            other.name
        )));
    }
    let failed = Error::netlink(format!("look for {bridge}"));
    if netlink.link(&bridge).map_err(failed)?.is_some() {
        return Err(Error::Invalid(format!("interface {bridge} exists already")));
    }
    Ok(bridge)
}

/// Settles which interface's parts a network's containers get. As in Docker: the one that is named,
/// or a VLAN on it that is made, or else one that is made and leads nowhere.
fn plan_parent(
    netlink: &mut Netlink,
    existing: &[Network],
    id: &str,
    options: &Options,
) -> Result<Parent> {
    let name = match &options.parent {
        Some(name) => name.clone(),
        None => "dm-".chars().chain(id.chars().take(12)).collect(),
    };
    let uses = |n: &&Network| n.parent.as_ref().is_some_and(|p| p.name == name);
    if let Some(other) = existing.iter().find(uses) {
        return Err(Error::Invalid(format!(
            "network {} is already using parent interface {name}",
            other.name
        )));
    }
    let failed = Error::netlink(format!("look for {name}"));
    let missing = netlink.link(&name).map_err(failed)?.is_none();
    let mut parent = Parent {
        name,
        made: options.parent.is_none(),
        mode: options.mode,
        flag: options.flag,
    };
    parent.made |= missing && parent.vlan().is_some();
    Ok(parent)
}

/// Makes bridges as they should be; with `live`, ports of others than these are removed.
/// A parent that is missing is an error only if `strict`.
pub(super) fn make_bridges(
    config: &Config,
    networks: &[Network],
    live: Option<&[Endpoint]>,
    strict: bool,
) -> Result<()> {
    if config.ip_forward {
        bridge::enable_forwarding(networks.iter().any(|n| n.ipv6.is_some()))?;
    }
    let mut netlink = Netlink::open().map_err(Error::netlink("open a netlink socket"))?;
    for network in networks {
        if let Some(parent) = &network.parent {
            match child::ensure_parent(&mut netlink, parent, network.mtu) {
                // An interface that was pulled out keeps nobody else from starting.
                Err(e) if !strict => tracing::warn!("network {}: {e}", network.name),
                result => drop(result?),
            }
            continue;
        }
        let index = bridge::ensure(&mut netlink, network)?;
        if !config.userland_proxy {
            bridge::enable_route_localnet(network)?;
        }
        if let Some(live) = live {
            let failed = |e| Error::netlink(format!("clear bridge {}", network.bridge))(e);
            for stale in bridge::ports(&mut netlink, index).map_err(failed)? {
                if !live.iter().any(|e| e.host_ifname == stale.name) {
                    netlink.delete_link(&stale.name).map_err(failed)?;
                }
            }
        }
    }
    Ok(())
}
