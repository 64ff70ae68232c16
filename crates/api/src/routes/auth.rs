//! `/auth`, and credentials in headers.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use coracle_docker::auth::{AuthConfig, AuthResponse, HEADER};
use coracle_runtime::image::RegistryAuth;
use http::HeaderMap;

use crate::Api;
use crate::error::Answer;
use crate::{extract, respond};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/auth", post(login))
}

async fn login(State(api): State<Api>, headers: HeaderMap, body: Body) -> Answer {
    let auth: AuthConfig = extract::json(&headers, body, api.config.max_json).await?;
    let status = api.runtime.registry_login(auth.into()).await?;
    respond::ok(&AuthResponse {
        status: status.status,
        identity_token: status.identity_token,
    })
}

/// The credentials in the header. Like dockerd, what can't be read counts as none: clients send
/// `null`, empty objects and worse.
pub(super) fn from_header(headers: &HeaderMap) -> Option<RegistryAuth> {
    let value = headers.get(HEADER)?.to_str().ok()?;
    match AuthConfig::from_header(value) {
        Ok(auth) => auth.map(Into::into),
        Err(error) => {
            tracing::debug!(%error, "credentials ignored");
            None
        }
    }
}
