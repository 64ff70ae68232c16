//! Networks.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use coracle_docker::network::{ConnectBody, DisconnectBody, NetworkCreated, NetworksPruned};
use coracle_runtime::Filters;
use coracle_runtime::network::{ConnectRequest, Network, NetworkSpec};
use http::{HeaderMap, StatusCode};

use crate::Api;
use crate::convert::network;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::matching::Patterns;
use crate::version::ApiVersion;
use crate::{extract, respond};

const FILTERS: [&str; 8] = [
    "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
];
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{name}", get(inspect).delete(remove))
        .route("/networks/{name}/connect", post(connect))
        .route("/networks/{name}/disconnect", post(disconnect))
}

async fn list(State(api): State<Api>, version: ApiVersion, query: Query) -> Answer {
    let filters = query.filters(&FILTERS)?;
    for kind in filters.get("type") {
        if !matches!(kind.as_str(), "builtin" | "custom") {
            return Err(ApiError::bad_request(format!(
                "invalid filter: 'type'='{kind}'"
            )));
        }
    }
    let dangling = filters.boolean("dangling")?;
    let names = Patterns::new(&filters, "name");
    let ids = Patterns::new(&filters, "id");
    let found: Vec<_> = api
        .runtime
        .list_networks()
        .await?
        .into_iter()
        .filter(|network| {
            names.matches(&network.name)
                && ids.matches(&network.id)
                && fits(&filters, dangling, network)
        })
        // Lists have had no containers since 1.28.
        .map(|network| network::inspect(network, version.before(28)))
        .collect();
    respond::ok(&found)
}

fn fits(filters: &Filters, dangling: Option<bool>, network: &Network) -> bool {
    let predefined = PREDEFINED.contains(&network.name.as_str());
    let kind = if predefined { "builtin" } else { "custom" };
    let unused = !predefined && network.containers.is_empty();
    filters.exact("driver", &network.driver)
        && filters.exact("scope", &network.scope)
        && filters.exact("type", kind)
        && filters.labels(&network.labels)
        && dangling.is_none_or(|dangling| dangling == unused)
}

async fn inspect(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    if !matches!(query.text("scope"), "" | "local") {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("network {name} not found"),
        ));
    }
    let found = api.runtime.inspect_network(&name).await?;
    respond::ok(&network::inspect(found, true))
}

async fn create(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let spec: NetworkSpec = extract::json(&headers, body, api.config.max_json).await?;
    if spec.name.trim().is_empty() {
        return Err(ApiError::bad_request("network name cannot be empty"));
    }
    let id = api.runtime.create_network(spec).await?;
    respond::json(
        StatusCode::CREATED,
        &NetworkCreated {
            id,
            warning: String::new(),
        },
    )
}

async fn remove(State(api): State<Api>, Name(name): Name) -> Answer {
    api.runtime.remove_network(&name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

async fn connect(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body: ConnectBody = extract::json(&headers, body, api.config.max_json).await?;
    let mut endpoint = body.endpoint_config.unwrap_or_default();
    if version.before(44) {
        endpoint.mac_address.clear();
    }
    let request = ConnectRequest {
        container: body.container,
        endpoint,
    };
    api.runtime.connect_network(&name, request).await?;
    respond::empty(StatusCode::OK)
}

async fn disconnect(
    State(api): State<Api>,
    Name(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body: DisconnectBody = extract::json(&headers, body, api.config.max_json).await?;
    api.runtime
        .disconnect_network(&name, &body.container, body.force)
        .await?;
    respond::empty(StatusCode::OK)
}

async fn prune(State(api): State<Api>, query: Query) -> Answer {
    let filters = query.filters(&["label", "label!", "until"])?;
    let networks_deleted = api.runtime.prune_networks(&filters).await?;
    respond::ok(&NetworksPruned { networks_deleted })
}
