//! A running container goes on one more network, or off one.

use std::net::IpAddr;

use coracle_runtime::Result;
use coracle_runtime::spec::EndpointSettings;

use super::asked::endpoint_config;
use super::files::add_names;
use super::inspect::describe;
use super::{Networking, error, main_endpoint, v4, v6};
use crate::container::record::{Dirs, Record};
use crate::mounted;

impl Networking {
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
            Some(main) => {
                let (ip4, ip6) = (v4(main.ip4()), v6(main.ip6()));
                if (ip4, ip6) == (exposure.ip4, exposure.ip6) {
                    return Ok(());
                }
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
}
