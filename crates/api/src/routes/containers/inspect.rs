//! What a container is, and what runs in it.

use axum::extract::{Path, State};
use coracle_docker::container::TopResponse;

use crate::Api;
use crate::convert::inspect as convert;
use crate::error::Answer;
use crate::extract::{Name, Query};
use crate::respond;
use crate::version::ApiVersion;

pub(super) async fn inspect(
    State(api): State<Api>,
    Name(name): Name,
    version: ApiVersion,
    query: Query,
) -> Answer {
    let container = api
        .runtime
        .inspect_container(&name, query.flag("size"))
        .await?;
    respond::ok(&convert::inspect(container, version))
}

pub(super) async fn inspect_link(
    api: State<Api>,
    Path((name, alias)): Path<(String, String)>,
    version: ApiVersion,
    query: Query,
) -> Answer {
    inspect(api, Name(format!("{name}/{alias}")), version, query).await
}

pub(super) async fn top(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    let top = api
        .runtime
        .container_top(&name, query.text("ps_args"))
        .await?;
    respond::ok(&TopResponse {
        processes: top.processes,
        titles: top.titles,
    })
}
