//! Answers of servers, read within bounds of size and time.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use http::Uri;
use http::header;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::Error;
use crate::error::Result;
use crate::location;
use crate::refusal::REFUSAL_BYTES;
use crate::refusal::Refusal;
use crate::retry::retry_after;

/// The head of an answer, and its body still to be read.
pub(crate) struct Answer {
    pub(crate) host: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether a redirect led to another server than the one that was asked.
    pub(crate) from_elsewhere: bool,
    pub(crate) body: Incoming,
    /// How long to wait for more of it.
    pub(crate) idle: Duration,
}

impl Answer {
    /// A header as text; `None` when it is absent or not ASCII.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `Content-Length`.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }

    /// The `Location`, resolved against the URL that was asked.
    pub(crate) fn location(&self, asked: &Uri) -> Result<Uri> {
        let text = self
            .header(header::LOCATION)
            .ok_or_else(|| Error::protocol(&self.host, "answer has no valid Location header"))?;
        location::resolve(asked, text).map_err(|reason| {
            Error::protocol(&self.host, format!("the Location header is {reason}"))
        })
    }

    /// The next bytes of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            let frame = match frame {
                Err(_) => {
                    return Err(Error::Timeout {
                        host: self.host.clone(),
                        doing: "receiving",
                    });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let reason = error
                        .source()
                        .map_or(error.to_string(), ToString::to_string);
                    return Err(Error::Disconnected {
                        host: self.host.clone(),
                        reason,
                    });
                }
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            }
        }
    }

    /// The whole body, refused when it is longer than `limit` or drips in for minutes.
    pub(crate) async fn bytes(self, what: &'static str, limit: usize) -> Result<Bytes> {
        let (host, patience) = (self.host.clone(), self.idle.saturating_mul(3));
        match tokio::time::timeout(patience, self.all(what, limit)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                host,
                doing: "receiving",
            }),
        }
    }

    async fn all(mut self, what: &'static str, limit: usize) -> Result<Bytes> {
        if self
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(Error::TooLarge { what, limit });
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(Error::TooLarge { what, limit });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Reads a short rest, so that the connection can be used again.
    pub(crate) async fn discard(mut self) {
        let mut left = 16 << 10;
        let rest = async {
            while let Ok(Some(chunk)) = self.chunk().await
                && left > chunk.len()
            {
                left -= chunk.len();
            }
        };
        // Not worth waiting for: a new connection costs less.
        let _ = tokio::time::timeout(Duration::from_millis(100), rest).await;
    }

    /// What the server says in an answer that is no success.
    pub(crate) async fn refusal(mut self) -> Refusal {
        let (status, wait) = (self.status, retry_after(&self.headers));
        let mut text = Vec::new();
        let patience = self.idle;
        let read = async {
            while text.len() < REFUSAL_BYTES
                && let Ok(Some(chunk)) = self.chunk().await
            {
                text.extend_from_slice(&chunk);
            }
        };
        // What came until then has to do.
        let _ = tokio::time::timeout(patience, read).await;
        text.truncate(REFUSAL_BYTES);
        Refusal::parse(status, &text, wait)
    }
}
