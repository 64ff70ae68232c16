//! Networks.

use coracle_client::{Filters as WireFilters, Query};
use coracle_docker::network::{NetworkCreated, NetworkInspect};
use coracle_runtime::network::{ConnectRequest, Network, NetworkSpec};
use coracle_runtime::{Filters, Result};
use futures_util::{StreamExt, stream};

use crate::containers::{AT_ONCE, filters, present};
use crate::convert::system as convert;
use crate::error::About;
use crate::runtime::Bridge;
use crate::{names, options};

impl Bridge {
    /// Lists leave out who is on a network, so each is asked about.
    pub(crate) async fn list_networks(&self) -> Result<Vec<Network>> {
        let all = WireFilters::default();
        let listed = self.ask(About::Thing, self.client.list_networks(&all));
        let asked = stream::iter(listed.await?)
            .map(|network| async move { self.inspect_network(&network.id).await })
            .buffered(AT_ONCE);
        present(asked.collect().await)
    }

    pub(crate) async fn inspect_network(&self, name: &str) -> Result<Network> {
        let query = Query::named("/networks/", names::network(name)?, "");
        let found: NetworkInspect = self.ask(About::Thing, self.client.get(&query)).await?;
        Ok(convert::network(found))
    }

    pub(crate) async fn create_network(&self, spec: NetworkSpec) -> Result<String> {
        let body = options::network(&spec, &self.engine)?;
        let query = Query::new("/networks/create");
        let creating = self.client.post_json(&query, &body);
        let created: NetworkCreated = self.change(About::Name, creating).await?;
        if !created.warning.is_empty() {
            tracing::warn!(network = spec.name, warning = created.warning, "engine");
        }
        Ok(created.id)
    }

    pub(crate) async fn remove_network(&self, name: &str) -> Result<()> {
        let removing = self.client.remove_network(names::network(name)?);
        self.change(About::Thing, removing).await
    }

    pub(crate) async fn connect_network(
        &self,
        network: &str,
        request: ConnectRequest,
    ) -> Result<()> {
        options::check_endpoint(&request.endpoint, &self.engine)?;
        let network = names::network(network)?;
        let container = names::container(&request.container)?;
        let connecting = self
            .client
            .connect_network(network, container, request.endpoint);
        self.change(About::Thing, connecting).await
    }

    pub(crate) async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<()> {
        let network = names::network(network)?;
        let container = names::container(container)?;
        let disconnecting = self.client.disconnect_network(network, container, force);
        self.change(About::Thing, disconnecting).await
    }

    pub(crate) async fn prune_networks(&self, which: &Filters) -> Result<Vec<String>> {
        let which = filters(which);
        let pruning = self.client.prune_networks(&which);
        let pruned = self.change(About::Thing, pruning).await?;
        Ok(pruned.networks_deleted)
    }
}
