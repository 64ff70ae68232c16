//! Failures below `/api/v1`: a kind, a status and a text, which become the envelope
//! `{"error", "message", "code", "requestId"}` once the request's id is at hand.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use coracle_native::ErrorBody;
use coracle_runtime::RuntimeError;
use http::StatusCode;

use crate::error::{ApiError, Refusal};
use crate::respond;

/// Why a request is refused, or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NativeError {
    pub(crate) status: StatusCode,
    /// For programs.
    pub(crate) kind: &'static str,
    /// For people.
    pub(crate) message: String,
}

/// What a route answers.
pub(crate) type Answer<T> = Result<T, NativeError>;

impl NativeError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalidArgument", message)
    }

    /// The envelope.
    pub(crate) fn body(self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: self.kind.to_owned(),
            message: self.message,
            code: self.status.as_u16(),
            request_id: request_id.to_owned(),
        }
    }
}

const fn kind(error: &RuntimeError) -> &'static str {
    match error {
        RuntimeError::NotFound(_) => "notFound",
        RuntimeError::ImageNotFound(_) => "imageNotFound",
        RuntimeError::AlreadyExists(_) => "alreadyExists",
        RuntimeError::InvalidState(_) => "invalidState",
        RuntimeError::InvalidArgument(_) => "invalidArgument",
        RuntimeError::Unauthorized(_) => "registryUnauthorized",
        RuntimeError::Forbidden(_) => "forbidden",
        RuntimeError::Timeout(_) => "timeout",
        RuntimeError::NotSupported(_) => "notSupported",
        RuntimeError::Backend(_) => "backend",
        RuntimeError::Unavailable(_) => "unavailable",
        RuntimeError::Internal(_) => "internal",
    }
}

impl From<RuntimeError> for NativeError {
    fn from(error: RuntimeError) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, kind(&error), error.to_string())
    }
}

/// The checks that both APIs have in common speak of arguments.
impl From<ApiError> for NativeError {
    fn from(error: ApiError) -> Self {
        Self::new(error.status, "invalidArgument", error.message)
    }
}

impl IntoResponse for NativeError {
    /// Without a body yet: see [`finish`].
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a failed answer its envelope.
pub(crate) fn finish(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    // What was not refused by us was by the HTTP layers.
    let error = response
        .extensions_mut()
        .remove::<NativeError>()
        .unwrap_or_else(|| {
            let reason = status.canonical_reason().unwrap_or("the request failed");
            NativeError::new(status, "http", reason)
        });
    let refusal = Refusal(error.message.clone());
    let body = respond::line(&error.body(request_id)).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(http::header::CONTENT_LENGTH);
    headers.insert(http::header::CONTENT_TYPE, respond::JSON);
    response.extensions_mut().insert(refusal);
    response
}
