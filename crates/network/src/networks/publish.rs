//! Published ports: reserved, exposed, taken back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Networks;
use crate::Proto;
use crate::error::{Error, Result, blocking};
use crate::netlink::conntrack;
use crate::ports::{Exposure, PortMapping, PortRequest, Published};

impl Networks {
    /// Reserves host ports by binding sockets to them: all, or none and an error. They are taken as
    /// long as the sockets are open. Requests without a host address get the daemon's default.
    ///
    /// # Errors
    /// `PortAllocated`, `AllPortsAllocated`, `Bind`; `Unsupported` for SCTP.
    pub fn publish(&self, requests: &[PortRequest]) -> Result<Published> {
        let config = &self.inner.config;
        // Only the proxy, or a container with IPv6, can serve an IPv6 port.
        let ipv6 = config.userland_proxy || self.list().iter().any(|n| n.ipv6.is_some());
        self.inner
            .ports
            .publish(requests, config.default_host_ip, ipv6)
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
        let udp = udp_ports(&exposure);
        self.with_state(|state| state.exposed.insert(id.to_owned(), exposure));
        let result = match self.save_endpoints().await {
            Ok(()) => self.inner.firewall.publish(id.to_owned(), elements).await,
            Err(e) => Err(e),
        };
        if result.is_err() {
            self.with_state(|state| state.exposed.remove(id));
        }
        forget_udp(udp).await;
        result
    }

    /// Ends what [`Networks::expose`] began; nothing exposed is no error.
    ///
    /// # Errors
    /// If the firewall refuses, or the files can't be written.
    pub async fn unexpose(&self, id: &str) -> Result<()> {
        match self.begin_unexpose(id).await? {
            Some(end) => end.await,
            None => Ok(()),
        }
    }

    /// Asks for the end of what is exposed; it has come when what this returns has. Whoever exposes
    /// the same ports meanwhile has his turn after it.
    pub(super) async fn begin_unexpose(
        &self,
        id: &str,
    ) -> Result<Option<impl Future<Output = Result<()>> + Send + use<>>> {
        let exposure = self.with_state(|state| state.exposed.remove(id));
        self.save_endpoints().await?;
        let Some(exposure) = exposure else {
            return Ok(None);
        };
        let withdrawn = self.inner.firewall.withdraw(id.to_owned()).await?;
        Ok(Some(async move {
            let result = withdrawn.await;
            forget_udp(udp_ports(&exposure)).await;
            result
        }))
    }

    /// All exposed ports, by id.
    #[must_use]
    pub fn exposed(&self) -> BTreeMap<String, Exposure> {
        self.state().exposed.clone()
    }
}

fn udp_ports(exposure: &Exposure) -> Vec<u16> {
    let udp = exposure.ports.iter().filter(|p| p.proto == Proto::Udp);
    udp.map(|p| p.host_port).collect()
}

/// Lets datagrams that keep coming find their new way.
async fn forget_udp(ports: Vec<u16>) {
    if ports.is_empty() {
        return;
    }
    let forget =
        move || conntrack::forget_udp(&ports).map_err(Error::netlink("forget UDP connections"));
    // Without it (an unusual kernel, no privilege) they find it when they have paused.
    if let Err(e) = blocking(forget).await {
        tracing::debug!("{e}");
    }
}
