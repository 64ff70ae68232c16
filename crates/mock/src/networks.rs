//! Networks: who is on which, with which address. No packet ever moves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::network::{
    ConnectRequest, Ipam, IpamPool, Network, NetworkContainer, NetworkSpec,
};
use coracle_runtime::spec::EndpointSettings;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use crate::engine::{Engine, State};
use crate::ident::{self, Prefix};

/// All networks, the predefined ones among them.
pub(crate) struct Networks {
    table: Vec<Stored>,
    /// Networks so far: each gets a subnet of its own.
    made: u8,
}

#[derive(Clone)]
struct Stored {
    network: Network,
    /// The subnets, of each family that it has.
    four: Option<(Ipv4Addr, u8)>,
    six: Option<(Ipv6Addr, u8)>,
    /// Addresses given out so far.
    given: u32,
}

impl Stored {
    /// An address that is asked for; no text asks for none.
    fn owned<A>(text: &str, subnet: Option<(A, u8)>) -> Result<Option<IpAddr>>
    where
        A: std::str::FromStr + Copy + Into<IpAddr>,
    {
        if text.is_empty() {
            return Ok(None);
        }
        let address: A = text
            .parse()
            .map_err(|_| RuntimeError::InvalidArgument(format!("invalid IP address: {text}")))?;
        let address = address.into();
        let bits = |ip| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let inside = subnet.is_some_and(|(base, prefix)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            bits(address) & mask == bits(base.into()) & mask
        });
        if inside {
            return Ok(Some(address));
        }
        Err(RuntimeError::InvalidArgument(format!(
            "no configured subnet or ip-range contain the IP address {address}"
        )))
    }

    /// The addresses that an endpoint asks for.
    fn asked(&self, wanted: &EndpointSettings) -> Result<[Option<IpAddr>; 2]> {
        let Some(ipam) = &wanted.ipam_config else {
            return Ok([None, None]);
        };
        Ok([
            Self::owned(&ipam.ipv4_address, self.four)?,
            Self::owned(&ipam.ipv6_address, self.six)?,
        ])
    }

    /// The pool of each family, with its gateway.
    fn pools(&self) -> impl Iterator<Item = IpamPool> {
        let four = self.four.map(|(base, prefix)| (IpAddr::V4(base), prefix));
        let six = self.six.map(|(base, prefix)| (IpAddr::V6(base), prefix));
        four.into_iter().chain(six).map(|(base, prefix)| IpamPool {
            subnet: format!("{base}/{prefix}"),
            gateway: offset(base, 1).to_string(),
            ..IpamPool::default()
        })
    }
}

impl Default for Networks {
    fn default() -> Self {
        let mut networks = Self {
            table: Vec::new(),
            made: 0,
        };
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            let spec = NetworkSpec {
                name: name.into(),
                ..NetworkSpec::default()
            };
            let four = (driver == "bridge").then_some((Ipv4Addr::new(172, 17, 0, 0), 16));
            networks.add(spec, driver, four, None);
        }
        networks
    }
}

fn predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none")
}

impl Networks {
    fn add(
        &mut self,
        spec: NetworkSpec,
        driver: &str,
        four: Option<(Ipv4Addr, u8)>,
        six: Option<(Ipv6Addr, u8)>,
    ) -> String {
        let id = ident::new_id();
        let network = Network {
            id: id.clone(),
            name: spec.name,
            created: Timestamp::now(),
            driver: driver.into(),
            scope: "local".into(),
            // The host's own and none have no subnet.
            ipv4: four.is_some() || six.is_none(),
            ipv6: six.is_some(),
            ipam: Ipam {
                driver: "default".into(),
                ..Ipam::default()
            },
            internal: spec.internal,
            options: spec.options,
            labels: spec.labels,
            ..Network::default()
        };
        let mut stored = Stored {
            network,
            four,
            six,
            given: 1,
        };
        stored.network.ipam.config = stored.pools().collect();
        self.table.push(stored);
        id
    }

    fn place(&self, name: &str) -> Result<usize> {
        let not_found = || RuntimeError::NotFound(format!("network {name} not found"));
        let exact = self
            .table
            .iter()
            .position(|n| n.network.name == name || n.network.id == name);
        if let Some(place) = exact {
            return Ok(place);
        }
        match ident::by_prefix(name, self.table.iter().map(|n| n.network.id.as_str())) {
            Prefix::One(id) => self
                .table
                .iter()
                .position(|n| n.network.id == id)
                .ok_or_else(not_found),
            Prefix::None | Prefix::Several => Err(not_found()),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Network> {
        let place = self.place(name)?;
        self.table
            .get(place)
            .map(|stored| &stored.network)
            .ok_or_else(|| RuntimeError::NotFound(format!("network {name} not found")))
    }

    /// Whether the addresses that an endpoint asks for are the network's.
    pub(crate) fn check(&self, name: &str, wanted: &EndpointSettings) -> Result<()> {
        match self.table.get(self.place(name)?) {
            Some(stored) if stored.network.driver == "bridge" => stored.asked(wanted).map(drop),
            _ => Ok(()),
        }
    }

    pub(crate) fn list(&self) -> Vec<Network> {
        self.table
            .iter()
            .map(|stored| stored.network.clone())
            .collect()
    }

    /// Puts a running container on a network; gives its name and what the container gets there.
    pub(crate) fn join(
        &mut self,
        name: &str,
        id: &str,
        container: &str,
        wanted: &EndpointSettings,
    ) -> Result<(String, EndpointSettings)> {
        let place = self.place(name)?;
        let Some(stored) = self.table.get_mut(place) else {
            return Err(RuntimeError::NotFound(format!("network {name} not found")));
        };
        let mut endpoint = wanted.clone();
        endpoint.network_id.clone_from(&stored.network.id);
        endpoint.endpoint_id = ident::new_id();
        if stored.network.driver == "bridge" {
            let [four, six] = stored.asked(wanted)?;
            stored.given += 1;
            let given = stored.given;
            if let Some((base, prefix)) = stored.four {
                let address = four.unwrap_or_else(|| offset(base.into(), given));
                endpoint.ip_address = address.to_string();
                endpoint.ip_prefix_len = prefix;
                endpoint.gateway = offset(base.into(), 1).to_string();
            }
            if let Some((base, prefix)) = stored.six {
                let address = six.unwrap_or_else(|| offset(base.into(), given));
                endpoint.global_ipv6_address = address.to_string();
                endpoint.global_ipv6_prefix_len = prefix;
                endpoint.ipv6_gateway = offset(base.into(), 1).to_string();
            }
            if endpoint.mac_address.is_empty() {
                let [.., a, b] = given.to_be_bytes();
                let net = stored.network.id.get(..2).unwrap_or("11");
                endpoint.mac_address = format!("02:42:ac:{net}:{a:02x}:{b:02x}");
            }
            let mut names = vec![container.to_owned(), ident::short(id).to_owned()];
            names.extend(wanted.aliases.iter().flatten().cloned());
            endpoint.dns_names = (!predefined(&stored.network.name)).then_some(names);
        }
        let with_prefix = |address: &str, prefix| match address {
            "" => String::new(),
            address => format!("{address}/{prefix}"),
        };
        stored.network.containers.insert(
            id.to_owned(),
            NetworkContainer {
                name: container.to_owned(),
                endpoint_id: endpoint.endpoint_id.clone(),
                mac_address: endpoint.mac_address.clone(),
                ipv4_address: with_prefix(&endpoint.ip_address, endpoint.ip_prefix_len),
                ipv6_address: with_prefix(
                    &endpoint.global_ipv6_address,
                    endpoint.global_ipv6_prefix_len,
                ),
            },
        );
        Ok((stored.network.name.clone(), endpoint))
    }

    /// Takes a container off all networks.
    pub(crate) fn leave(&mut self, id: &str) {
        for stored in &mut self.table {
            stored.network.containers.remove(id);
        }
    }

    /// A container has another name.
    pub(crate) fn rename(&mut self, id: &str, name: &str) {
        for stored in &mut self.table {
            if let Some(container) = stored.network.containers.get_mut(id) {
                name.clone_into(&mut container.name);
            }
        }
    }
}

fn offset(base: IpAddr, by: u32) -> IpAddr {
    match base {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base).wrapping_add(by)).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).wrapping_add(by.into())).into(),
    }
}

/// A subnet as it is asked for: of either family, its base and prefix.
fn subnet(text: &str) -> Option<(IpAddr, u8)> {
    let (base, prefix) = text.split_once('/')?;
    let base: IpAddr = base.parse().ok()?;
    let most = if base.is_ipv4() { 30 } else { 126 };
    let prefix = prefix.parse().ok().filter(|n| *n <= most)?;
    Some((base, prefix))
}

fn emit(engine: &Engine, action: &str, network: &Network, extra: &[(&str, &str)]) {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), network.name.clone()),
        ("type".to_owned(), network.driver.clone()),
    ]);
    attributes.extend(
        extra
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    engine
        .events
        .publish(EventKind::Network, action, network.id.as_str(), attributes);
}

/// Makes a network.
pub(crate) fn create(engine: &Engine, spec: NetworkSpec) -> Result<String> {
    let invalid = |text: String| Err(RuntimeError::InvalidArgument(text));
    if predefined(&spec.name) {
        return Err(RuntimeError::Forbidden(format!(
            "operation is not permitted on predefined {} network",
            spec.name
        )));
    }
    if !matches!(spec.driver.as_str(), "" | "bridge" | "default") {
        return Err(RuntimeError::NotFound(format!(
            "could not find plugin {} in v1 plugin registry: plugin not found",
            spec.driver
        )));
    }
    if !matches!(spec.scope.as_str(), "" | "local") {
        return invalid(format!(
            "network scope {:?} is not supported; use local",
            spec.scope
        ));
    }
    if spec.ingress || spec.config_only {
        return invalid("Ingress and ConfigOnly are not supported".into());
    }
    ident::check_name("network", &spec.name)?;
    let mut state = engine.lock();
    let networks = &mut state.networks;
    if networks
        .table
        .iter()
        .any(|stored| stored.network.name == spec.name)
    {
        return Err(RuntimeError::AlreadyExists(format!(
            "network with name {} already exists",
            spec.name
        )));
    }
    let (mut four, mut six) = (None, None);
    for pool in spec.ipam.iter().flat_map(|ipam| &ipam.config) {
        if pool.subnet.is_empty() {
            continue;
        }
        let wrong = || {
            RuntimeError::InvalidArgument(format!("invalid IPAM configuration: {}", pool.subnet))
        };
        let before = match subnet(&pool.subnet).ok_or_else(wrong)? {
            (IpAddr::V4(base), prefix) => four.replace((base, prefix)).is_some(),
            (IpAddr::V6(base), prefix) => six.replace((base, prefix)).is_some(),
        };
        if before {
            return invalid("only one subnet of each IP version is supported".into());
        }
    }
    networks.made = networks.made.wrapping_add(1);
    let number = networks.made;
    if spec.enable_ipv4 == Some(false) {
        if four.is_some() {
            return invalid(
                "invalid IPAM configuration: IPv4 is disabled, but there is an IPv4 subnet".into(),
            );
        }
    } else {
        four = four.or(Some((Ipv4Addr::new(10, 200, number, 0), 24)));
    }
    if spec.enable_ipv6 == Some(true) {
        six = six.or(Some((
            Ipv6Addr::new(0xfd00, 0x200, number.into(), 0, 0, 0, 0, 0),
            64,
        )));
    }
    if four.is_none() && six.is_none() {
        return invalid("IPv4 or IPv6 must be enabled".into());
    }
    let id = networks.add(spec, "bridge", four, six);
    let network = networks.find(&id)?.clone();
    emit(engine, "create", &network, &[]);
    Ok(id)
}

/// Removes a network that nothing uses.
pub(crate) fn remove(engine: &Engine, name: &str) -> Result<()> {
    let mut state = engine.lock();
    remove_one(engine, &mut state, name)
}

fn remove_one(engine: &Engine, state: &mut State, name: &str) -> Result<()> {
    let place = state.networks.place(name)?;
    let network = state.networks.find(name)?.clone();
    if predefined(&network.name) {
        return Err(RuntimeError::Forbidden(format!(
            "{} is a pre-defined network and cannot be removed",
            network.name
        )));
    }
    if !network.containers.is_empty() {
        return Err(RuntimeError::Forbidden(format!(
            "error while removing network: network {} id {} has active endpoints",
            network.name, network.id
        )));
    }
    state.networks.table.remove(place);
    emit(engine, "destroy", &network, &[]);
    Ok(())
}

/// Puts a container on a network: now if it runs, else at its start.
pub(crate) fn connect(engine: &Engine, network: &str, request: ConnectRequest) -> Result<()> {
    let mut state = engine.lock();
    let id = state.find(&request.container)?;
    let found = state.networks.find(network)?.clone();
    let State {
        containers,
        networks,
        ..
    } = &mut *state;
    let Some(entry) = containers.get_mut(&id) else {
        return Ok(());
    };
    let mode = entry.host_config.network_mode.as_str();
    if mode == "host" || found.name == "host" {
        return Err(RuntimeError::Forbidden(
            "container cannot be connected to host network or from it".into(),
        ));
    }
    if entry.network.networks.contains_key(&found.name) {
        return Err(RuntimeError::Forbidden(format!(
            "endpoint with name {} already exists in network {}",
            entry.name, found.name
        )));
    }
    let mut settings = request.endpoint;
    coracle_spec::check_endpoint(&settings)?;
    networks.check(&found.name, &settings)?;
    entry
        .networking
        .endpoints_config
        .insert(found.name.clone(), settings.clone());
    if entry.state.status.is_alive() {
        let (_, endpoint) = networks.join(&found.name, &id, &entry.name, &settings)?;
        settings = endpoint;
    }
    entry.network.networks.insert(found.name.clone(), settings);
    emit(engine, "connect", &found, &[("container", &id)]);
    Ok(())
}

/// Takes a container off a network.
pub(crate) fn disconnect(engine: &Engine, network: &str, container: &str) -> Result<()> {
    let mut state = engine.lock();
    let id = state.find(container)?;
    let place = state.networks.place(network)?;
    let found = state.networks.find(network)?.clone();
    let State {
        containers,
        networks,
        ..
    } = &mut *state;
    let Some(entry) = containers.get_mut(&id) else {
        return Ok(());
    };
    if entry.network.networks.remove(&found.name).is_none() {
        return Err(RuntimeError::Forbidden(format!(
            "container {id} is not connected to the network {}",
            found.name
        )));
    }
    entry.networking.endpoints_config.remove(&found.name);
    if entry.host_config.network_mode == found.name {
        // It is on no network of its own then, until it is connected to one.
        "none".clone_into(&mut entry.host_config.network_mode);
    }
    if let Some(stored) = networks.table.get_mut(place) {
        stored.network.containers.remove(&id);
    }
    emit(engine, "disconnect", &found, &[("container", &id)]);
    Ok(())
}

/// Removes the networks that nothing uses and that fit.
pub(crate) fn prune(engine: &Engine, filters: &Filters) -> Result<Vec<String>> {
    let until = filters.until()?;
    let mut state = engine.lock();
    let mut removed = Vec::new();
    for network in state.networks.list() {
        let used = state
            .containers
            .values()
            .any(|entry| entry.network.networks.contains_key(&network.name));
        let fits = !predefined(&network.name)
            && !used
            && until.iter().all(|limit| network.created < *limit)
            && filters.labels(&network.labels);
        if fits && remove_one(engine, &mut state, &network.id).is_ok() {
            removed.push(network.name);
        }
    }
    Ok(removed)
}
