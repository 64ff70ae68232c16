//! How a container differs from its image, and an image made of it.

use axum::body::Body;
use axum::extract::State;
use coracle_docker::container::{ChangeItem, IdResponse};
use coracle_runtime::container::ChangeKind;
use coracle_runtime::image::CommitRequest;
use coracle_runtime::spec::ContainerConfig;
use http::{HeaderMap, StatusCode};

use crate::Api;
use crate::error::Answer;
use crate::extract::{Name, Query};
use crate::routes::images::reference;
use crate::{extract, respond};

pub(super) async fn changes(State(api): State<Api>, Name(name): Name) -> Answer {
    let changes = api.runtime.container_changes(&name).await?;
    let items: Vec<ChangeItem> = changes
        .into_iter()
        .map(|change| ChangeItem {
            path: change.path,
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    respond::ok(&items)
}

pub(super) async fn commit(
    State(api): State<Api>,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let config: Option<ContainerConfig> =
        extract::optional_json(&headers, body, api.config.max_json).await?;
    let request = CommitRequest {
        container: query.text("container").to_owned(),
        reference: reference::join(query.text("repo"), query.text("tag")),
        comment: query.text("comment").to_owned(),
        author: query.text("author").to_owned(),
        pause: query.flag_or("pause", true),
        changes: query.all("changes").map(str::to_owned).collect(),
        config,
    };
    let id = api.runtime.commit_container(request).await?;
    respond::json(StatusCode::CREATED, &IdResponse { id })
}
