//! Networks.

use coracle_docker::network::{
    ConnectBody, DisconnectBody, NetworkCreateBody, NetworkCreated, NetworkInspect, NetworksPruned,
};
use coracle_runtime::spec::EndpointSettings;
use http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::query::{Filters, Query};

fn about(name: &str, verb: &str) -> Query {
    Query::named("/networks/", name, verb)
}

impl Client {
    /// Lists networks.
    pub async fn list_networks(&self, filters: &Filters) -> Result<Vec<NetworkInspect>> {
        self.get(&Query::new("/networks").filters(filters)).await
    }

    /// Makes a network.
    pub async fn create_network(&self, network: &NetworkCreateBody) -> Result<NetworkCreated> {
        self.post_json(&Query::new("/networks/create"), network)
            .await
    }

    /// Removes a network.
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        self.bytes(Method::DELETE, &about(name, "")).await.map(drop)
    }

    /// Puts a container on a network.
    pub async fn connect_network(
        &self,
        name: &str,
        container: &str,
        endpoint: EndpointSettings,
    ) -> Result<()> {
        let body = ConnectBody {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        self.post_body(&about(name, "/connect"), &body)
            .await
            .map(drop)
    }

    /// Takes a container off a network.
    pub async fn disconnect_network(&self, name: &str, container: &str, force: bool) -> Result<()> {
        let body = DisconnectBody {
            container: container.to_owned(),
            force,
        };
        self.post_body(&about(name, "/disconnect"), &body)
            .await
            .map(drop)
    }

    /// Removes networks that nothing uses.
    pub async fn prune_networks(&self, filters: &Filters) -> Result<NetworksPruned> {
        let query = Query::new("/networks/prune").filters(filters);
        self.json(Method::POST, &query).await
    }
}
