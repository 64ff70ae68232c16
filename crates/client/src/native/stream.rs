//! Streams of the native API.

use coracle_native::{End, Line, StreamEnd};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::lines::Lines;

/// Items as they come, and how it ended. Dropping it ends the request.
pub struct Stream<T> {
    lines: Lines<Line<T>>,
    end: Option<StreamEnd>,
}

impl<T: DeserializeOwned> Stream<T> {
    pub(crate) fn new(lines: Lines<Line<T>>) -> Self {
        Self { lines, end: None }
    }

    /// The next item; none at a good end. A stream that says that it failed, or stops without saying
    /// how it ended, is an error. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Option<T>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.lines.next().await? {
            Some(Line::Item(item)) => Ok(Some(item)),
            Some(Line::End(end)) => {
                let failed = end.error.as_ref().map(|error| error.message.clone());
                let closing = end.end == End::Closing;
                self.end = Some(end);
                match failed {
                    Some(message) => Err(Error::Operation { message }),
                    None if closing => Err(Error::Operation {
                        message: "the daemon is about to stop".to_owned(),
                    }),
                    None => Ok(None),
                }
            }
            None => Err(Error::Operation {
                message: "the daemon's answer broke off".to_owned(),
            }),
        }
    }

    /// How it ended, once it did.
    pub fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }
}
