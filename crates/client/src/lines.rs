//! Answers of one JSON value a line, as they come.

use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::query::Query;
use crate::response::senseless;

/// The longest line that is read.
const MAX_LINE: usize = 16 << 20;

/// One JSON value a line.
pub struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    seen: usize,
    query: Query,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(response: Response<Incoming>, query: &Query) -> Self {
        Self {
            body: response.into_body(),
            buffer: BytesMut::new(),
            seen: 0,
            query: query.clone(),
            of: PhantomData,
        }
    }

    /// The next value; none at the end. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(line) = self.line() {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.parse(&line).map(Some);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(senseless(&self.query, "a line is too long"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => {
                    let rest = std::mem::take(&mut self.buffer);
                    self.seen = 0;
                    if rest.trim_ascii().is_empty() {
                        return Ok(None);
                    }
                    return self.parse(&rest).map(Some);
                }
            }
        }
    }

    fn line(&mut self) -> Option<BytesMut> {
        let unseen = self.buffer.get(self.seen..)?;
        match unseen.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = self.buffer.split_to(self.seen + end);
                self.buffer.advance(1);
                self.seen = 0;
                Some(line)
            }
            None => {
                self.seen = self.buffer.len();
                None
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Result<T> {
        serde_json::from_slice(line).map_err(|error| senseless(&self.query, error))
    }
}
