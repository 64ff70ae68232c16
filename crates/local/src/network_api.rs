//! Networks as users see them: listed, made, removed, joined and left.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_network::{DEFAULT_NETWORK, Driver, PoolSpec, Subnet};
use coracle_runtime::container::NetworkSettings;
use coracle_runtime::event::EventKind;
use coracle_runtime::filter::Filters;
use coracle_runtime::network::{
    ConnectRequest, Ipam, IpamPool, Network, NetworkContainer, NetworkSpec,
};
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use crate::container::handle::Command;
use crate::engine::Engine;
use crate::ident;
use crate::networks::{endpoint_id, error};

/// The networks that are not bridges, with ids that never change.
const FIXED: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// All networks.
pub(crate) fn list(engine: &Engine) -> Vec<Network> {
    let mut networks: Vec<Network> = engine
        .networks
        .networks
        .list()
        .iter()
        .map(|network| describe(engine, network))
        .collect();
    networks.extend(FIXED.map(|(name, driver)| fixed(engine, name, driver)));
    networks
}

/// One network.
pub(crate) fn inspect(engine: &Engine, name: &str) -> Result<Network> {
    for (fixed_name, driver) in FIXED {
        let network = fixed(engine, fixed_name, driver);
        if name == fixed_name || network.id == name {
            return Ok(network);
        }
    }
    if name.is_empty() {
        return Err(RuntimeError::NotFound("network  not found".into()));
    }
    match engine.networks.networks.find(name) {
        Ok(network) => Ok(describe(engine, &network)),
        Err(coracle_network::Error::NetworkNotFound(_)) => {
            let all = list(engine);
            match ident::by_prefix(name, all.iter().map(|network| &network.id)) {
                Some(Ok(id)) => Ok(all
                    .iter()
                    .find(|network| network.id == *id)
                    .cloned()
                    .unwrap_or_default()),
                _ => Err(RuntimeError::NotFound(format!("network {name} not found"))),
            }
        }
        Err(failure) => Err(error(failure)),
    }
}

fn fixed_id(engine: &Engine, name: &str) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA256,
        format!("{}/{name}", engine.id).as_bytes(),
    );
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn fixed(engine: &Engine, name: &str, driver: &str) -> Network {
    let mut containers = BTreeMap::new();
    for handle in engine.containers.all() {
        let now = handle.now();
        if now.container.state.status.is_alive() && now.record.host_config.network_mode == name {
            let container = NetworkContainer {
                name: now.record.name.clone(),
                ..Default::default()
            };
            containers.insert(handle.id.to_string(), container);
        }
    }
    Network {
        id: fixed_id(engine, name),
        name: name.into(),
        driver: driver.into(),
        scope: "local".into(),
        ipv4: true,
        ipam: Ipam {
            driver: "default".into(),
            ..Default::default()
        },
        containers,
        ..Default::default()
    }
}

fn describe(engine: &Engine, network: &coracle_network::Network) -> Network {
    let pool = |pool: &coracle_network::Pool| IpamPool {
        subnet: pool.subnet.to_string(),
        ip_range: pool
            .range
            .map(|range| range.to_string())
            .unwrap_or_default(),
        gateway: pool.gateway.to_string(),
        auxiliary_addresses: pool
            .reserved
            .iter()
            .map(|(name, ip)| (name.clone(), ip.to_string()))
            .collect(),
    };
    let containers = engine
        .networks
        .networks
        .endpoints(&network.id)
        .into_iter()
        .map(|endpoint| {
            let address = |assigned: &Option<coracle_network::Assigned>| {
                assigned
                    .as_ref()
                    .map(|a| format!("{}/{}", a.ip, a.subnet.prefix()))
                    .unwrap_or_default()
            };
            let name = engine.handle(&endpoint.id).map(|handle| handle.name());
            let container = NetworkContainer {
                name: name.unwrap_or_default(),
                endpoint_id: endpoint_id(&endpoint),
                mac_address: endpoint.mac.to_string(),
                ipv4_address: address(&endpoint.ipv4),
                ipv6_address: address(&endpoint.ipv6),
            };
            (endpoint.id, container)
        })
        .collect();
    Network {
        id: network.id.clone(),
        name: network.name.clone(),
        created: Timestamp::from_nanosecond(i128::from(network.created)).unwrap_or_default(),
        driver: network.driver.as_str().into(),
        scope: "local".into(),
        ipv6: network.ipv6.is_some(),
        ipv4: network.ipv4.is_some(),
        ipam: Ipam {
            driver: "default".into(),
            options: None,
            config: network.pools().map(pool).collect(),
        },
        internal: network.internal,
        attachable: network.attachable,
        containers,
        options: network.docker_options(),
        labels: network.labels.clone(),
    }
}

/// Makes a network.
pub(crate) async fn create(engine: &Engine, spec: NetworkSpec) -> Result<String> {
    let invalid = |text: String| Err(RuntimeError::InvalidArgument(text));
    if FIXED.iter().any(|(name, _)| *name == spec.name) || spec.name == DEFAULT_NETWORK {
        return Err(RuntimeError::Forbidden(format!(
            "operation is not permitted on predefined {} network",
            spec.name
        )));
    }
    let driver = match spec.driver.as_str() {
        "" | "default" => Driver::Bridge,
        name => Driver::from_name(name).ok_or_else(|| {
            RuntimeError::NotFound(format!(
                "could not find plugin {name} in v1 plugin registry: plugin not found"
            ))
        })?,
    };
    if !matches!(spec.scope.as_str(), "" | "local") {
        return invalid(format!(
            "network scope {:?} is not supported; use local",
            spec.scope
        ));
    }
    if spec.ingress || spec.config_only {
        return invalid("Ingress and ConfigOnly are not supported".into());
    }
    let ipam = spec.ipam.unwrap_or_default();
    if !matches!(ipam.driver.as_str(), "" | "default")
        || ipam.options.is_some_and(|options| !options.is_empty())
    {
        return invalid(format!(
            "IPAM driver {:?} is not supported; use default",
            ipam.driver
        ));
    }
    let mut ipv4 = (spec.enable_ipv4 != Some(false)).then(PoolSpec::default);
    let mut ipv6 = (spec.enable_ipv6 == Some(true)).then(PoolSpec::default);
    let (mut seen4, mut seen6) = (false, false);
    for config in &ipam.config {
        let pool = pool(config)?;
        let is_v4 = pool.subnet.as_ref().is_none_or(Subnet::is_ipv4);
        // One without a subnet is of the first family there is.
        let is_v4 = is_v4 && (pool.subnet.is_some() || ipv4.is_some());
        let (seen, place) = match (is_v4, &mut ipv4) {
            (true, Some(place)) => (&mut seen4, place),
            (true, None) => {
                return invalid(format!(
                    "invalid IPAM configuration: IPv4 is disabled, but {} is an IPv4 subnet",
                    config.subnet
                ));
            }
            (false, _) => (&mut seen6, ipv6.get_or_insert_default()),
        };
        if std::mem::replace(seen, true) {
            return invalid("only one subnet of each IP version is supported".into());
        }
        *place = pool;
    }
    let network = engine
        .networks
        .networks
        .create(coracle_network::NetworkSpec {
            name: spec.name,
            driver,
            ipv4,
            ipv6,
            internal: spec.internal,
            attachable: spec.attachable,
            options: spec.options,
            labels: spec.labels,
        })
        .await
        .map_err(error)?;
    let about = (&*network.id, &*network.name, driver.as_str());
    emit(engine, "create", about, &[]);
    Ok(network.id)
}

fn pool(config: &IpamPool) -> Result<PoolSpec> {
    let invalid =
        |what: &str| RuntimeError::InvalidArgument(format!("invalid IPAM configuration: {what}"));
    let subnet = |text: &str| match text {
        "" => Ok(None),
        text => text
            .parse::<Subnet>()
            .map(Some)
            .map_err(|error| invalid(&error.to_string())),
    };
    let ip = |text: &str| text.parse::<IpAddr>().map_err(|_| invalid(text));
    Ok(PoolSpec {
        subnet: subnet(&config.subnet)?,
        range: subnet(&config.ip_range)?,
        gateway: match config.gateway.as_str() {
            "" => None,
            text => Some(ip(text)?),
        },
        reserved: config
            .auxiliary_addresses
            .iter()
            .map(|(name, text)| Ok((name.clone(), ip(text)?)))
            .collect::<Result<_>>()?,
    })
}

/// Removes a network that nothing uses.
pub(crate) async fn remove(engine: &Engine, name: &str) -> Result<()> {
    let network = inspect(engine, name)?;
    if is_fixed(&network) {
        return Err(RuntimeError::Forbidden(format!(
            "{} is a pre-defined network and cannot be removed",
            network.name
        )));
    }
    engine
        .networks
        .networks
        .remove(&network.id)
        .await
        .map_err(error)?;
    emit(engine, "destroy", about(&network), &[]);
    Ok(())
}

/// Puts a container on a network.
pub(crate) async fn connect(engine: &Engine, network: &str, request: ConnectRequest) -> Result<()> {
    let handle = engine.find(&request.container)?;
    let network = user_defined(engine, network)?;
    let settings = Box::new(request.endpoint);
    let name = network.name.clone();
    handle
        .ask(|reply| Command::Connect {
            network: name,
            settings,
            reply,
        })
        .await?;
    let container = ("container", &*handle.id);
    emit(engine, "connect", about(&network), &[container]);
    Ok(())
}

/// Takes a container off a network.
pub(crate) async fn disconnect(
    engine: &Engine,
    network: &str,
    container: &str,
    force: bool,
) -> Result<()> {
    let network = user_defined(engine, network)?;
    let handle = match engine.find(container) {
        Ok(handle) => handle,
        // What is left of one that is gone goes with it; there is nothing to force.
        Err(RuntimeError::NotFound(_)) if force => return Ok(()),
        Err(error) => return Err(error),
    };
    let name = network.name.clone();
    handle
        .ask(|reply| Command::Disconnect {
            network: name,
            reply,
        })
        .await?;
    let container = ("container", &*handle.id);
    emit(engine, "disconnect", about(&network), &[container]);
    Ok(())
}

/// A network that containers can be put on and taken off.
fn user_defined(engine: &Engine, name: &str) -> Result<Network> {
    let network = inspect(engine, name)?;
    if is_fixed(&network) {
        return Err(RuntimeError::Forbidden(format!(
            "container cannot be disconnected from {0} network or connected to {0} network",
            network.name
        )));
    }
    Ok(network)
}

/// Removes the networks that nothing uses and that fit.
pub(crate) async fn prune(engine: &Engine, filters: &Filters) -> Result<Vec<String>> {
    let until = filters.until()?;
    let mut removed = Vec::new();
    for network in list(engine) {
        let used = engine.containers.all().iter().any(|handle| {
            handle
                .now()
                .container
                .network
                .networks
                .contains_key(&network.name)
        });
        let fits = !is_fixed(&network)
            && network.name != DEFAULT_NETWORK
            && !used
            && until.iter().all(|limit| network.created < *limit)
            && filters.labels(&network.labels);
        if fits && remove(engine, &network.id).await.is_ok() {
            removed.push(network.name);
        }
    }
    Ok(removed)
}

/// What an event tells of a network: its id, name and driver.
fn about(network: &Network) -> (&str, &str, &str) {
    (&network.id, &network.name, &network.driver)
}

fn is_fixed(network: &Network) -> bool {
    FIXED.iter().any(|(name, _)| *name == network.name)
}

/// The driver of a network by its name.
fn driver(engine: &Engine, name: &str) -> &'static str {
    if let Some((_, driver)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return driver;
    }
    let network = engine.networks.networks.find(name);
    network.map_or("bridge", |network| network.driver.as_str())
}

/// Tells that a container joined or left its networks with a run.
pub(crate) fn emit_membership(
    engine: &Engine,
    action: &str,
    container: &str,
    settings: &NetworkSettings,
) {
    for (name, endpoint) in &settings.networks {
        let (id, driver) = (&endpoint.network_id, driver(engine, name));
        emit(
            engine,
            action,
            (id, name, driver),
            &[("container", container)],
        );
    }
}

fn emit(
    engine: &Engine,
    action: &str,
    (id, name, driver): (&str, &str, &str),
    extra: &[(&str, &str)],
) {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), name.to_owned()),
        ("type".to_owned(), driver.to_owned()),
    ]);
    attributes.extend(
        extra
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    engine
        .events
        .publish(EventKind::Network, action, id, attributes);
}
