//! Endpoints: attached and detached.

use std::net::IpAddr;
use std::time::Duration;

use super::Networks;
use crate::driver::Parent;
use crate::endpoint::{Assigned, Endpoint, EndpointConfig, Place};
use crate::error::{Error, Result, blocking, detached};
use crate::mac::MacAddr;
use crate::network::{Network, Pool};
use crate::state::Entry;
use crate::{child, port};

/// How long the kernel is given to remove a dead namespace's interfaces.
const UNPLUG_DELAY: Duration = Duration::from_secs(1);

impl Networks {
    /// Attaches a namespace or a machine to a network. An endpoint that this id has there already is replaced,
    /// and keeps its addresses unless others are asked for.
    ///
    /// The default routes of its namespace lead to the network of the highest priority then, this one
    /// or another; a machine has to be told ([`Networks::attached`]).
    ///
    /// If the future is dropped midway, the work goes on: [`Networks::detach`] waits for its end.
    ///
    /// # Errors
    /// If an address isn't free or isn't the network's, if there is no namespace at the path, or if
    /// the kernel refuses. Nothing is left then.
    pub async fn attach(
        &self,
        place: impl Into<Place>,
        wanted: EndpointConfig,
    ) -> Result<Endpoint> {
        wanted.check()?;
        let (this, place) = (self.clone(), place.into());
        let guard = self.exclusive(&wanted.id).await;
        detached(async move {
            let _guard = guard;
            this.attach_now(place, wanted).await
        })
        .await
    }

    async fn attach_now(&self, place: Place, wanted: EndpointConfig) -> Result<Endpoint> {
        let network = self.state().entry(&wanted.network)?.network.clone();
        if let (Place::Machine(_), false) = (&place, wanted.sysctls.is_empty()) {
            let what = "a kernel setting of a virtual machine's interface";
            return Err(Error::Unsupported(what.to_owned()));
        }
        let (mut host_ifname, mut mac) = (String::new(), None);
        match network.parent.clone() {
            None => host_ifname = port::name(&place)?,
            Some(parent) => {
                if let Place::Machine(_) = place {
                    return Err(child::unsupported_place(&network));
                }
                child::check_mac(&network, wanted.mac)?;
                mac = blocking(move || child::shared_mac(&parent)).await?;
            }
        }
        let wanted = EndpointConfig {
            mac: mac.or(wanted.mac),
            ..wanted
        };
        let assigned = self.assign(place, host_ifname, wanted)?;
        let Assignment {
            network,
            endpoint,
            former,
            elected,
        } = assigned;
        let plugging = endpoint.clone();
        let work = move || {
            former.as_ref().map_or(Ok(()), port::unplug)?;
            port::plug(&network, &plugging)?;
            elected.iter().try_for_each(port::lead)
        };
        let result = match self.save_endpoints().await {
            Ok(()) => blocking(work).await,
            Err(e) => Err(e),
        };
        if let Err(e) = result {
            let undone = self.forget_and_elect(&endpoint.network, &endpoint.id).await;
            undone.unwrap_or_else(|e| tracing::warn!("after a failed attachment: {e}"));
            return Err(e);
        }
        Ok(endpoint)
    }

    /// Remembers a new endpoint.
    fn assign(
        &self,
        place: Place,
        host_ifname: String,
        wanted: EndpointConfig,
    ) -> Result<Assignment> {
        let mut state = self.state();
        let former = state.forget(&wanted.network, &wanted.id);
        let chosen = state
            .entry(&wanted.network)
            .and_then(|entry| choose(entry, place, host_ifname, wanted, former.as_ref()));
        let (network, endpoint) = match chosen {
            Ok(chosen) => chosen,
            Err(e) => {
                // Its addresses were free but for this moment.
                former.map_or(Ok(()), |former| state.adopt(former))?;
                return Err(e);
            }
        };
        let key = (endpoint.network.clone(), endpoint.id.clone());
        state.endpoints.insert(key.clone(), endpoint);
        state.generation += 1;
        let mut elected = state.elect(&key.1);
        elected.retain(|e| e.network != key.0);
        let endpoint = state.endpoints.get(&key).cloned();
        Ok(Assignment {
            network,
            endpoint: endpoint.ok_or(Error::Internal("an endpoint vanished"))?,
            former,
            elected,
        })
    }

    /// Forgets an endpoint, and has the default routes of its container lead elsewhere.
    async fn forget_and_elect(&self, network: &str, id: &str) -> Result<()> {
        let elected = {
            let mut state = self.state();
            state.forget(network, id);
            state.elect(id)
        };
        self.save_endpoints().await?;
        if elected.is_empty() {
            return Ok(());
        }
        blocking(move || elected.iter().try_for_each(port::lead)).await
    }

    /// Takes a container off a network: its interface goes, its addresses are free. One that isn't
    /// attached is no error. If its default route led there, it leads to the next of its networks
    /// now; a machine has to be told ([`Networks::attached`]).
    ///
    /// # Errors
    /// If the kernel refuses, or the files can't be written.
    pub async fn detach(&self, network: &str, id: &str) -> Result<()> {
        let guard = self.exclusive(id).await;
        let (this, network, id) = (self.clone(), network.to_owned(), id.to_owned());
        detached(async move {
            let _guard = guard;
            this.detach_now(&network, &id).await
        })
        .await
    }

    async fn detach_now(&self, network: &str, id: &str) -> Result<()> {
        let key = (network.to_owned(), id.to_owned());
        let Some(endpoint) = self.state().endpoints.get(&key).cloned() else {
            return Ok(());
        };
        blocking(move || port::unplug(&endpoint)).await?;
        self.forget_and_elect(network, id).await
    }

    /// Gives back all that a container has: its addresses at once, its ports and interfaces in the
    /// background, a machine's tap too. Meant to go with [`remove_netns`](crate::remove_netns): the kernel removes the
    /// interfaces of a dead namespace much more cheaply than single ones, so those are only removed
    /// that are still there a little later. One that has nothing is no error.
    ///
    /// # Errors
    /// If the files can't be written.
    pub async fn release(&self, id: &str) -> Result<()> {
        let guard = self.exclusive(id).await;
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
        let unexposed = self.begin_unexpose(id).await?;
        if endpoints.is_empty() && unexposed.is_none() {
            return Ok(());
        }
        // Nothing but us removes a tap. And what has no outer end has no name of its own either:
        // later it could be the next run's.
        let (pairs, others): (Vec<_>, Vec<_>) = endpoints
            .into_iter()
            .partition(|e| e.netns().is_some() && !e.host_ifname.is_empty());
        let guard = (!others.is_empty()).then_some(guard);
        tokio::spawn(async move {
            unplug_all(others).await;
            drop(guard);
            if let Some(end) = unexposed
                && let Err(e) = end.await
            {
                tracing::warn!("{e}");
            }
            tokio::time::sleep(UNPLUG_DELAY).await;
            unplug_all(pairs).await;
        });
        Ok(())
    }
}

/// What an attachment is to make of the kernel.
struct Assignment {
    network: Network,
    endpoint: Endpoint,
    /// The endpoint that it replaces.
    former: Option<Endpoint>,
    /// Other endpoints of the same owner that a default route leads to from now on.
    elected: Vec<Endpoint>,
}

async fn unplug_all(endpoints: Vec<Endpoint>) {
    for endpoint in endpoints {
        if let Err(e) = blocking(move || port::unplug(&endpoint)).await {
            tracing::warn!("{e}");
        }
    }
}

/// Chooses an endpoint's addresses, and takes them.
fn choose(
    entry: &mut Entry,
    place: Place,
    host_ifname: String,
    wanted: EndpointConfig,
    former: Option<&Endpoint>,
) -> Result<(Network, Endpoint)> {
    let network = entry.network.clone();
    let mut take = |ipv4, wanted: Option<IpAddr>, former: Option<IpAddr>| match wanted {
        Some(ip) => entry.take(ipv4, Some(ip)),
        None => former
            .and_then(|ip| entry.take(ipv4, Some(ip)).ok())
            .map_or_else(|| entry.take(ipv4, None), Ok),
    };
    let former4 = former.and_then(Endpoint::ip4);
    let former6 = former.and_then(Endpoint::ip6);
    let ip4 = take(true, wanted.ipv4.map(IpAddr::V4), former4)?;
    let ip6 = take(false, wanted.ipv6.map(IpAddr::V6), former6).inspect_err(|_| {
        if let Some(ip) = ip4 {
            entry.give_back(ip);
        }
    })?;
    let leads_out = !network.internal;
    let routed = leads_out && network.parent.as_ref().is_some_and(Parent::routes);
    let assigned = |ip: Option<IpAddr>, pool: Option<&Pool>| {
        let (ip, pool) = (ip?, pool?);
        let gateway = (leads_out && !routed).then_some(pool.gateway);
        let subnet = pool.subnet;
        Some(Assigned {
            ip,
            subnet,
            gateway,
        })
    };
    let derived = ip4.or(ip6).map(MacAddr::from_ip);
    let endpoint = Endpoint {
        mac: wanted
            .mac
            .or(derived)
            .ok_or(Error::Internal("an endpoint without address"))?,
        id: wanted.id,
        network: wanted.network,
        place,
        ifname: wanted.ifname,
        host_ifname,
        mtu: network.mtu,
        ipv4: assigned(ip4, network.ipv4.as_ref()),
        ipv6: assigned(ip6, network.ipv6.as_ref()),
        link_local: wanted.link_local,
        aliases: wanted.aliases,
        default_route: wanted.default_route,
        gateway_priority: wanted.gateway_priority,
        sysctls: wanted.sysctls,
        routed,
        leads4: false,
        leads6: false,
    };
    Ok((network, endpoint))
}
