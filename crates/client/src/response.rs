//! Answers: whole ones, long ones, and errors.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_docker::ErrorBody;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use crate::error::{Error, Result};
use crate::query::Query;

/// Most bytes of an answer that is read as a whole.
const MAX_WHOLE: usize = 256 << 20;
/// Most bytes of an error.
const MAX_ERROR: usize = 1 << 20;

/// Reads an answer to its end.
pub(crate) async fn collect(body: Incoming, query: &Query) -> Result<Bytes> {
    let collected = Limited::new(body, MAX_WHOLE).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => Error::Http(*error),
            Err(_) => senseless(query, "it is too long"),
        })
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], query: &Query) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| senseless(query, error))
}

pub(crate) fn senseless(query: &Query, why: impl std::fmt::Display) -> Error {
    Error::Answer {
        request: query.as_str().to_owned(),
        why: why.to_string(),
    }
}

/// The error that an answer is.
pub(crate) async fn error(response: Response<Incoming>) -> Error {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ERROR)
        .collect()
        .await;
    // A body that can't be read leaves the status, which says something.
    let bytes = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) if !body.message.is_empty() => body.message,
        _ => {
            let text = String::from_utf8_lossy(&bytes);
            match text.trim() {
                "" => format!("the daemon answered {status}"),
                text => text.to_owned(),
            }
        }
    };
    Error::Api { status, message }
}

/// A long answer, read as it comes.
pub struct Download {
    headers: HeaderMap,
    reader: StreamReader<BoxStream<'static, std::io::Result<Bytes>>, Bytes>,
}

impl Download {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let stream = body.into_data_stream().map_err(std::io::Error::other);
        Self {
            headers: parts.headers,
            reader: StreamReader::new(Box::pin(stream)),
        }
    }

    /// The answer's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}
