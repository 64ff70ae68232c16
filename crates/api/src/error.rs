//! What a route answers when it can't do what it was asked.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use coracle_docker::ErrorBody;
use coracle_runtime::RuntimeError;
use http::StatusCode;

use crate::respond;

/// A status and a text, which become `{"message": …}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP's status.
    pub status: StatusCode,
    /// For the user.
    pub message: String,
}

/// What a route answers.
pub(crate) type Answer<T = Response> = Result<T, ApiError>;

/// Left in a failed response's extensions, for the log.
#[derive(Clone)]
pub(crate) struct Refusal(pub(crate) String);

impl ApiError {
    /// Any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 as for a route that is not there.
    pub fn page_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// 501, with what it is that is not there.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            message: self.message.clone(),
        };
        let mut response = respond::json(self.status, &body).unwrap_or_else(|_| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = self.status;
            response
        });
        response.extensions_mut().insert(Refusal(self.message));
        response
    }
}
