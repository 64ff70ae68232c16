//! Builds.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use coracle_docker::system::BuildPruned;
use http::Uri;

use crate::Api;
use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};
use crate::stream::progress;
use crate::{extract, respond};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/build", post(build))
        .route("/build/prune", post(prune))
        .route("/build/cancel", post(session))
        .route("/session", post(session))
        .route("/grpc", post(session))
}

async fn build(State(api): State<Api>, uri: Uri, gone: ClientGone, body: Body) -> Answer {
    let options = Bytes::from(uri.query().unwrap_or_default().to_owned());
    let context = extract::byte_stream(body);
    progress::respond(api.runtime.build_image(context, options), &gone).await
}

/// There is no cache to prune.
async fn prune() -> Answer {
    respond::ok(&BuildPruned::default())
}

async fn session() -> ApiError {
    ApiError::not_implemented("BuildKit sessions are not supported")
}
