//! What is refused as dockerd refuses it outside a swarm, and plugins, of which there are none.

use axum::Router;
use axum::extract::Path;
use axum::routing::{any, get};
use http::{Method, StatusCode};

use crate::Api;
use crate::error::{Answer, ApiError};
use crate::respond;

const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \
                             \"docker swarm join\" to connect this node to swarm and try again.";

pub(super) fn routes() -> Router<Api> {
    let mut router = Router::new()
        .route("/plugins", get(plugins))
        .route("/plugins/{*rest}", any(plugin))
        .route("/swarm/init", any(no_swarm))
        .route("/swarm/join", any(no_swarm))
        .route("/swarm/leave", any(not_in_swarm))
        .route("/swarm", any(not_a_manager))
        .route("/swarm/{*rest}", any(not_a_manager));
    for kind in ["nodes", "services", "tasks"] {
        router = router
            .route(&format!("/{kind}"), any(not_a_manager))
            .route(&format!("/{kind}/{{*rest}}"), any(not_a_manager));
    }
    router
}

async fn not_a_manager() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, NOT_A_MANAGER)
}

async fn not_in_swarm() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    )
}

async fn no_swarm() -> ApiError {
    ApiError::not_implemented("swarm mode is not supported")
}

async fn plugins() -> Answer {
    respond::ok(&Vec::<()>::new())
}

async fn plugin(method: Method, Path(rest): Path<String>) -> ApiError {
    match rest.rsplit_once('/') {
        Some((name, "json")) if method == Method::GET => {
            ApiError::new(StatusCode::NOT_FOUND, format!("plugin {name:?} not found"))
        }
        _ => ApiError::not_implemented("plugins are not supported"),
    }
}
