//! Guest kernels, below `/api/v1`: Docker has nothing like them.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use coracle_docker::kernel::{KernelDefaultBody, KernelInstallBody};
use http::{HeaderMap, StatusCode};

use crate::Api;
use crate::convert::kernel;
use crate::error::{Answer, ApiError};
use crate::extract::Name;
use crate::{extract, respond};

/// The name by which the default one is looked at; no kernel has it.
const DEFAULT: &str = "default";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/kernels", get(list).post(install))
        .route(
            "/api/v1/kernels/default",
            get(inspect_default).put(set_default),
        )
        .route("/api/v1/kernels/{name}", get(inspect).delete(remove))
}

async fn list(State(api): State<Api>) -> Answer {
    let kernels = api.runtime.list_kernels().await?;
    let kernels: Vec<_> = kernels.into_iter().map(kernel::inspect).collect();
    respond::ok(&kernels)
}

async fn install(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let spec: Option<KernelInstallBody> =
        extract::optional_json(&headers, body, api.config.max_json).await?;
    let spec = spec.ok_or_else(|| ApiError::bad_request("the body must say which kernel"))?;
    let installed = api.runtime.install_kernel(spec).await?;
    respond::json(StatusCode::CREATED, &kernel::inspect(installed))
}

async fn inspect(State(api): State<Api>, Name(name): Name) -> Answer {
    respond::ok(&kernel::inspect(api.runtime.inspect_kernel(&name).await?))
}

async fn inspect_default(state: State<Api>) -> Answer {
    inspect(state, Name(DEFAULT.to_owned())).await
}

async fn set_default(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let body: Option<KernelDefaultBody> =
        extract::optional_json(&headers, body, api.config.max_json).await?;
    let body = body.ok_or_else(|| ApiError::bad_request("the body must say which kernel"))?;
    api.runtime.set_default_kernel(&body.name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}

async fn remove(State(api): State<Api>, Name(name): Name) -> Answer {
    api.runtime.remove_kernel(&name).await?;
    respond::empty(StatusCode::NO_CONTENT)
}
