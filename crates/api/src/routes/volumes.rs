//! Volumes.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use coracle_docker::volume::{VolumeList, VolumesPruned};
use coracle_runtime::volume::VolumeSpec;
use http::{HeaderMap, StatusCode};

use crate::Api;
use crate::convert::volume;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::matching::Patterns;
use crate::version::ApiVersion;
use crate::{extract, respond};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove).put(update))
}

async fn list(State(api): State<Api>, query: Query) -> Answer {
    let filters = query.filters(&["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.boolean("dangling")?;
    let used = match dangling {
        None => Default::default(),
        Some(_) => used_volumes(&api).await?,
    };
    let names = Patterns::new(&filters, "name");
    let volumes = api
        .runtime
        .list_volumes()
        .await?
        .into_iter()
        .filter(|volume| {
            names.matches(&volume.name)
                && filters.exact("driver", &volume.driver)
                && filters.labels(&volume.labels)
                && dangling.is_none_or(|dangling| dangling != used.contains(&volume.name))
        })
        .map(|volume| volume::inspect(volume, false))
        .collect();
    respond::ok(&VolumeList {
        volumes,
        warnings: Vec::new(),
    })
}

async fn used_volumes(api: &Api) -> Answer<std::collections::BTreeSet<String>> {
    let containers = api.runtime.list_containers(false).await?;
    let mounts = containers.into_iter().flat_map(|found| found.mounts);
    Ok(mounts
        .map(|mount| mount.name)
        .filter(|name| !name.is_empty())
        .collect())
}

async fn inspect(State(api): State<Api>, Name(name): Name) -> Answer {
    let found = api.runtime.inspect_volume(&name).await?;
    respond::ok(&volume::inspect(found, false))
}

async fn create(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let spec: VolumeSpec = extract::optional_json(&headers, body, api.config.max_json)
        .await?
        .unwrap_or_default();
    let made = api.runtime.create_volume(spec).await?;
    respond::json(StatusCode::CREATED, &volume::inspect(made, false))
}

async fn update() -> ApiError {
    ApiError::not_implemented("only cluster volumes can be updated, which are not supported")
}

async fn remove(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    api.runtime
        .remove_volume(&name, query.flag("force"))
        .await?;
    respond::empty(StatusCode::NO_CONTENT)
}

async fn prune(State(api): State<Api>, version: ApiVersion, query: Query) -> Answer {
    let mut filters = query.filters(&["all", "label", "label!"])?;
    if version.before(42) {
        // Named volumes were pruned too.
        filters.add("all", "true");
    }
    filters.boolean("all")?;
    let pruned = api.runtime.prune_volumes(&filters).await?;
    respond::ok(&VolumesPruned {
        volumes_deleted: pruned.deleted,
        space_reclaimed: pruned.space_reclaimed,
    })
}
