//! Routes of Docker's Engine API, without the version.

mod auth;
mod build;
mod containers;
mod events;
mod exec;
mod images;
mod networks;
mod refused;
mod secrets;
mod system;
mod volumes;

pub(crate) use containers::check;

use axum::Router;
use axum::routing::get;

use crate::error::ApiError;
use crate::{Api, metrics};

/// All of them.
pub(crate) fn docker() -> Router<Api> {
    Router::new()
        .route("/metrics", get(metrics::serve))
        .merge(system::routes())
        .merge(events::routes())
        .merge(auth::routes())
        .merge(containers::routes())
        .merge(exec::routes())
        .merge(images::routes())
        .merge(build::routes())
        .merge(networks::routes())
        .merge(volumes::routes())
        .merge(secrets::routes())
        .merge(refused::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
}

/// Docker says the same of an unknown path and an unknown method.
async fn not_found() -> ApiError {
    ApiError::page_not_found()
}
