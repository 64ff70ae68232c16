//! Images. Their names have slashes, so what is asked of one is told by the path's end.

mod content;
mod list;
mod manage;
pub(super) mod reference;
mod transfer;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;

use crate::Api;
use crate::connection::ClientGone;
use crate::convert::image;
use crate::error::{Answer, ApiError};
use crate::extract::{Name, Query};
use crate::respond;
use crate::routes::auth;
use crate::version::ApiVersion;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/images/json", get(list::list))
        .route("/images/search", get(search))
        .route("/images/get", get(content::save_many))
        .route("/images/load", post(content::load))
        .route("/images/create", post(transfer::create))
        .route("/images/prune", post(manage::prune))
        .route(
            "/images/{*name}",
            get(get_one).post(post_one).delete(manage::remove),
        )
        .route("/distribution/{*name}", get(distribution))
}

async fn get_one(
    State(api): State<Api>,
    Name(path): Name,
    version: ApiVersion,
) -> Answer<Response> {
    match path.rsplit_once('/') {
        Some((name, "json")) => list::inspect(&api, name, version).await,
        Some((name, "history")) => list::history(&api, name).await,
        Some((name, "get")) => content::save(&api, &[name.to_owned()]).await,
        _ => Err(ApiError::page_not_found()),
    }
}

async fn post_one(
    State(api): State<Api>,
    Name(path): Name,
    query: Query,
    gone: ClientGone,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    match path.rsplit_once('/') {
        Some((name, "push")) => transfer::push(&api, name, &query, &headers, body, &gone).await,
        Some((name, "tag")) => manage::tag(&api, name, &query).await,
        _ => Err(ApiError::page_not_found()),
    }
}

async fn search() -> ApiError {
    ApiError::not_implemented("image search is not supported: only Docker Hub has it")
}

async fn distribution(
    State(api): State<Api>,
    Name(path): Name,
    headers: HeaderMap,
) -> Answer<Response> {
    let Some((name, "json")) = path.rsplit_once('/') else {
        return Err(ApiError::page_not_found());
    };
    let auth = auth::from_header(&headers);
    let found = api.runtime.inspect_distribution(name, auth).await?;
    respond::ok(&image::distribution(found))
}
