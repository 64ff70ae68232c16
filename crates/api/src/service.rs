//! From a request to a response: version, route, headers, log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use coracle_docker::API_VERSION;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use ring::rand::{SecureRandom, SystemRandom};
use tower_service::Service as _;
use tracing::{debug, error, info};

use crate::connection::Context;
use crate::error::{ApiError, Refusal};
use crate::gate::Refused;
use crate::limits::{Rates, Timed};
use crate::metrics::remember_route;
use crate::native::{NativeError, RequestId};
use crate::{Api, gate, native, routes, version};

const API_VERSION_HEADER: HeaderName = HeaderName::from_static("api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");
/// The server's name and version, as headers have it.
pub(crate) const SERVER: &str = concat!("Coracle/", env!("CARGO_PKG_VERSION"), " (linux)");

/// Most characters of a request's id.
const MAX_ID: usize = 64;

/// What answers requests.
pub(crate) struct Service {
    pub(crate) api: Api,
    docker: Router,
    native: Router,
    rates: Rates,
}

impl Service {
    pub(crate) fn new(api: Api) -> Self {
        Self {
            docker: routes::docker()
                .route_layer(from_fn(remember_route))
                .with_state(api.clone()),
            native: native::routes().with_state(api.clone()),
            rates: Rates::new(api.config.rate),
            api,
        }
    }

    /// Answers one request of a connection.
    pub(crate) async fn answer(&self, request: Request<Incoming>, context: Context) -> Response {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let peer = context.peer.clone();
        let began = Instant::now();
        let id = request_id(request.headers());
        let passed = gate::pass(
            &self.api.keys,
            &self.rates,
            &context,
            &method,
            &path,
            request.headers(),
        );
        let limit = self.api.config.body_timeout;
        let mut request = request.map(|body| Body::new(Timed::new(body, limit)));
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert(context.peer);
        request.extensions_mut().insert(context.gone);
        request.extensions_mut().insert(context.hijack);

        let below = native::is_below(&path);
        let answer = match passed {
            Ok(()) => AssertUnwindSafe(self.route(request)).catch_unwind().await,
            Err(refused) => Ok(refusal(refused, below)),
        };
        let mut response = answer.unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown");
            error!(%method, path, reason, "a route panicked");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            if below {
                NativeError::new(status, "internal", "internal error").into_response()
            } else {
                ApiError::new(status, "internal error").into_response()
            }
        });
        if below {
            response = native::finish(response, &id);
        }
        add_headers(&mut response, &id);
        self.api.metrics.count(&method, &response, began.elapsed());

        let status = response.status();
        let reason = response
            .extensions()
            .get::<Refusal>()
            .map_or("", |refusal| refusal.0.as_str());
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            error!(%method, path, %peer, id = &*id, status = status.as_u16(), reason, "request failed");
        } else if status.is_client_error() || status.is_server_error() {
            info!(%method, path, %peer, id = &*id, status = status.as_u16(), reason, "request refused");
        } else {
            debug!(%method, path, %peer, status = status.as_u16(), "request answered");
        }
        response
    }

    /// Finds the version and the route.
    pub(crate) async fn route(&self, mut request: Request<Body>) -> Response {
        if native::is_below(request.uri().path()) {
            return match self.native.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        match version::strip(request.uri()) {
            Err(error) => error.into_response(),
            Ok((version, uri)) => {
                *request.uri_mut() = uri;
                request.extensions_mut().insert(version);
                match self.docker.clone().call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }
    }
}

/// What a request is called: what the client calls it, where that is sane, or else something new.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        (1..=MAX_ID).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if let Some(given) = given.filter(sane) {
        return given.into();
    }
    let mut bytes = [0; 8];
    // Ids need not be secret: without random bytes they are all zeros.
    let _ = SystemRandom::new().fill(&mut bytes);
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    id.into()
}

/// The answer to what does not get to its route.
fn refusal(refused: Refused, below: bool) -> Response {
    let mut response = if below {
        NativeError::new(refused.status, refused.kind, refused.message).into_response()
    } else {
        ApiError::new(refused.status, refused.message).into_response()
    };
    let headers = response.headers_mut();
    if let Some(wait) = refused.retry_after {
        headers.insert(header::RETRY_AFTER, wait.as_secs().saturating_add(1).into());
    }
    if refused.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn add_headers(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(API_VERSION_HEADER, HeaderValue::from_static(API_VERSION));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
}
