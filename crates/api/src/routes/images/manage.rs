//! Names and ends of images.

use axum::extract::State;
use coracle_runtime::image::RemoveImageOptions;
use http::StatusCode;

use super::reference;
use crate::Api;
use crate::convert::image;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::respond;

pub(super) async fn tag(api: &Api, name: &str, query: &Query) -> Answer {
    let target = reference::join(query.text("repo"), query.text("tag"))
        .ok_or_else(|| ApiError::bad_request("invalid reference format"))?;
    api.runtime.tag_image(name, &target).await?;
    respond::empty(StatusCode::CREATED)
}

pub(super) async fn remove(State(api): State<Api>, Name(name): Name, query: Query) -> Answer {
    if name.trim().is_empty() {
        return Err(ApiError::bad_request("image name cannot be blank"));
    }
    let options = RemoveImageOptions {
        force: query.flag("force"),
        no_prune: query.flag("noprune"),
    };
    let removed = api.runtime.remove_image(&name, options).await?;
    let items: Vec<_> = removed.into_iter().map(image::removal).collect();
    respond::ok(&items)
}

pub(super) async fn prune(State(api): State<Api>, query: Query) -> Answer {
    let filters = query.filters(&["dangling", "label", "label!", "until"])?;
    filters.boolean("dangling")?;
    let pruned = api.runtime.prune_images(&filters).await?;
    respond::ok(&image::pruned(pruned))
}
