//! From a request to a response: version, route, headers, log.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use coracle_docker::API_VERSION;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use tower_service::Service as _;
use tracing::{debug, error, info};

use crate::connection::Context;
use crate::error::{ApiError, Refusal};
use crate::{Api, version};

const API_VERSION_HEADER: HeaderName = HeaderName::from_static("api-version");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");
/// The server's name and version, as headers have it.
pub(crate) const SERVER: &str = concat!("Coracle/", env!("CARGO_PKG_VERSION"), " (linux)");

/// What answers requests.
pub(crate) struct Service {
    pub(crate) api: Api,
    router: Router,
}

impl Service {
    pub(crate) fn new(api: Api, router: Router<Api>) -> Self {
        let router = router.with_state(api.clone());
        Self { api, router }
    }

    /// Answers one request of a connection.
    pub(crate) async fn answer(&self, request: Request<Incoming>, context: Context) -> Response {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let peer = context.peer.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(context.peer);
        request.extensions_mut().insert(context.gone);
        request.extensions_mut().insert(context.hijack);

        let answer = AssertUnwindSafe(self.route(request)).catch_unwind().await;
        let mut response = answer.unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown");
            error!(%method, path, reason, "a route panicked");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response()
        });
        add_headers(&mut response);

        let status = response.status();
        let reason = response
            .extensions()
            .get::<Refusal>()
            .map_or("", |refusal| refusal.0.as_str());
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            error!(%method, path, %peer, status = status.as_u16(), reason, "request failed");
        } else if status.is_client_error() || status.is_server_error() {
            info!(%method, path, %peer, status = status.as_u16(), reason, "request refused");
        } else {
            debug!(%method, path, %peer, status = status.as_u16(), "request answered");
        }
        response
    }

    /// Finds the version and the route.
    pub(crate) async fn route(&self, mut request: Request<Body>) -> Response {
        match version::strip(request.uri()) {
            Err(error) => error.into_response(),
            Ok((version, uri)) => {
                *request.uri_mut() = uri;
                request.extensions_mut().insert(version);
                match self.router.clone().call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }
    }
}

fn add_headers(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(API_VERSION_HEADER, HeaderValue::from_static(API_VERSION));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
}
