//! The native API, below `/api/v1`.
//!
//! Routes are declared once ([`table::Table`]) and become both the router and the description.
//! What they read and write are the types of `coracle-native`; every failure is its envelope.

mod call;
mod containers;
mod describe;
mod error;
mod events;
mod exec;
mod files;
mod history;
mod images;
mod kernels;
mod keys;
mod lifecycle;
mod networks;
mod observe;
mod page;
mod reply;
mod secrets;
mod system;
mod table;
mod volumes;

use axum::Router;
use axum::middleware::from_fn;
use http::StatusCode;

use crate::Api;
use crate::metrics::remember_route;
use table::Table;

pub(crate) use call::RequestId;
pub(crate) use error::{NativeError, finish};
pub(crate) use history::History;

/// Where it is.
pub(crate) const PREFIX: &str = "/api/v1";

/// Whether a path is this API's to answer. All of `/api` is: what there is not is said in its form.
pub(crate) fn is_below(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// All routes.
pub(crate) fn routes() -> Router<Api> {
    let inner = Table::router(declare)
        .merge(system::openapi_route())
        .route_layer(from_fn(remember_route))
        .method_not_allowed_fallback(method_not_allowed);
    Router::new().nest(PREFIX, inner).fallback(not_found)
}

fn declare(table: &mut Table) {
    system::declare(table);
    events::declare(table);
    containers::declare(table);
    lifecycle::declare(table);
    observe::declare(table);
    exec::declare(table);
    files::declare(table);
    images::declare(table);
    networks::declare(table);
    volumes::declare(table);
    secrets::declare(table);
    kernels::declare(table);
    keys::declare(table);
}

async fn not_found() -> NativeError {
    NativeError::new(
        StatusCode::NOT_FOUND,
        "routeNotFound",
        "there is no such route: /api/v1/openapi.json has those that there are",
    )
}

async fn method_not_allowed() -> NativeError {
    NativeError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "methodNotAllowed",
        "this route has no such method",
    )
}
