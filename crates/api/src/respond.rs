//! Responses.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use coracle_runtime::io::ByteStream;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// A JSON document, with a line end as Go's encoder writes it.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = line(body)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(text(status, bytes))
}

/// A JSON document that is written already.
pub(crate) fn text(status: StatusCode, json: Bytes) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 with a JSON document.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    json(StatusCode::OK, body)
}

/// A status alone.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

/// One line of a JSON stream.
pub(crate) fn line(body: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut bytes = serde_json::to_vec(body)?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// 200 with a body that ends when the stream does, or when nobody waits for it any more.
pub(crate) fn stream(
    content_type: HeaderValue,
    bytes: impl Stream<Item = Bytes> + Send + 'static,
    gone: &ClientGone,
) -> Response {
    let bytes = bytes.take_until(gone.wait_owned()).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(bytes));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// 200 with an archive. A failure before its first byte is an answer of its own; a later one breaks
/// the connection off, since that is the only sign that the archive is not whole.
pub(crate) async fn archive(mut bytes: ByteStream) -> Answer {
    let first = bytes.next().await.transpose()?;
    let bytes = stream::iter(first.map(Ok)).chain(bytes).inspect(|item| {
        if let Err(error) = item {
            tracing::error!(%error, "archive broken off");
        }
    });
    let mut response = Response::new(Body::from_stream(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, TAR);
    Ok(response)
}
