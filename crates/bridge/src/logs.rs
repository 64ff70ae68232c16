//! Logs: what an engine prints, taken apart again into entries.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use coracle_client::{Download, FrameReader, Host, LogsQuery};
use coracle_docker::frame::FrameKind;
use coracle_runtime::io::{LogEntry, LogOptions, Logs, StreamKind};
use coracle_runtime::{Result, RuntimeError};
use futures_util::stream;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use crate::error::{About, kind};
use crate::events::seconds;
use crate::runtime::Bridge;
use crate::streams::piece;

/// The longest line of a terminal's log; longer ones come in parts.
const LONGEST: usize = 1 << 20;
/// The longest time that a line begins with, as RFC 3339 with an offset.
const LONGEST_TIME: usize = 40;

impl Bridge {
    pub(crate) async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        let container = self.inspect_container(name, false).await?;
        if options.boot && container.host_config.runtime != "vm" {
            return Err(RuntimeError::no_boot_log(name));
        }
        let tty = container.config.tty;
        if !options.stdout && !options.stderr {
            // Engines refuse to show neither.
            return Ok(Logs {
                entries: Box::pin(stream::empty()),
                tty,
            });
        }
        let log = &container.host_config.log_config;
        let has_details = ["labels", "labels-regex", "env", "env-regex", "tag"];
        let details = has_details.iter().any(|key| log.config.contains_key(*key));
        let query = LogsQuery {
            boot: options.boot,
            follow: options.follow,
            timestamps: !options.boot,
            details,
            since: options.since.map(seconds).unwrap_or_default(),
            until: options.until.map(seconds).unwrap_or_default(),
            tail: options
                .tail
                .map_or_else(String::new, |tail| tail.to_string()),
        };
        let reading =
            self.client
                .logs_of(&container.id, &query, options.stdout, options.stderr, tty);
        let reader = self.ask(About::Thing, reading).await?;
        let parser = Parser {
            reader,
            tty,
            details,
            line: BytesMut::new(),
            host: self.client.host().clone(),
        };
        let entries = stream::unfold(Some(parser), |parser| async move {
            let mut parser = parser?;
            let item = parser.next().await.transpose()?;
            let parser = item.is_ok().then_some(parser);
            Some((item, parser))
        });
        Ok(Logs {
            entries: Box::pin(entries),
            tty,
        })
    }
}

struct Parser {
    reader: FrameReader<Download>,
    tty: bool,
    details: bool,
    /// A terminal's line that isn't whole yet.
    line: BytesMut,
    host: Host,
}

impl Parser {
    async fn next(&mut self) -> Result<Option<LogEntry>> {
        if self.tty {
            return self.next_line().await;
        }
        // Each frame is an entry.
        let Some(frame) = self.frame().await? else {
            return Ok(None);
        };
        entry(frame.0, frame.1, self.details).map(Some)
    }

    async fn frame(&mut self) -> Result<Option<(StreamKind, Bytes)>> {
        match self.reader.next_frame().await {
            Ok(None) => Ok(None),
            Ok(Some(item)) if item.kind == FrameKind::SystemError => {
                let text = String::from_utf8_lossy(&item.bytes);
                Err(RuntimeError::Backend(text.trim_end().to_owned()))
            }
            Ok(Some(item)) => piece(item).map(Some),
            Err(error) => Err(kind(About::Thing, error, &self.host)),
        }
    }

    /// Without frames, entries end where lines do.
    async fn next_line(&mut self) -> Result<Option<LogEntry>> {
        let mut seen = 0;
        loop {
            let unseen = self.line.get(seen..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.line.split_to(seen + end + 1).freeze();
                return entry(StreamKind::Stdout, line, self.details).map(Some);
            }
            seen = self.line.len();
            if seen > LONGEST {
                return Err(RuntimeError::Backend(
                    "the engine's log has a line that is too long".into(),
                ));
            }
            match self.frame().await? {
                Some((_, bytes)) => self.line.extend_from_slice(&bytes),
                None if self.line.is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.line).freeze();
                    return entry(StreamKind::Stdout, line, self.details).map(Some);
                }
            }
        }
    }
}

/// Takes an entry apart: its time, the attributes where they were asked for, and the line.
fn entry(stream: StreamKind, mut bytes: Bytes, details: bool) -> Result<LogEntry> {
    let senseless =
        || RuntimeError::Backend("the engine's log has an entry without a time".to_owned());
    let head = bytes
        .get(..bytes.len().min(LONGEST_TIME))
        .unwrap_or_default();
    let end = head
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or_else(senseless)?;
    let time = bytes.split_to(end);
    bytes.advance(1);
    let time = std::str::from_utf8(&time).map_err(|_| senseless())?;
    let time: Timestamp = time.parse().map_err(|_| senseless())?;
    let mut attributes = BTreeMap::new();
    if details {
        let end = bytes.iter().position(|byte| *byte == b' ');
        let told = bytes.split_to(end.unwrap_or(0));
        if end.is_some() {
            bytes.advance(1);
        }
        let told = String::from_utf8_lossy(&told).into_owned();
        for pair in told.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            attributes.insert(unescape(key), unescape(value));
        }
    }
    Ok(LogEntry {
        time,
        stream,
        line: bytes,
        attributes,
    })
}

/// Go's `url.QueryUnescape`.
fn unescape(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_apart() {
        let read = |text: &'static str, details| {
            entry(
                StreamKind::Stderr,
                Bytes::from_static(text.as_bytes()),
                details,
            )
        };
        let plain = read("2026-01-02T03:04:05.500000000Z a b\n", false).unwrap();
        assert_eq!(plain.time.to_string(), "2026-01-02T03:04:05.5Z");
        assert_eq!(&*plain.line, b"a b\n");
        let offset = read("2026-01-02T03:04:05.5+01:00 x", false).unwrap();
        assert_eq!(offset.time.to_string(), "2026-01-02T02:04:05.5Z");
        let detailed = read("2026-01-02T03:04:05Z a+b=c%2Fd,e= x y\n", true).unwrap();
        assert_eq!(&*detailed.line, b"x y\n");
        assert_eq!(detailed.attributes["a b"], "c/d");
        assert_eq!(detailed.attributes["e"], "");
        let without = read("2026-01-02T03:04:05Z  x\n", true).unwrap();
        assert!(without.attributes.is_empty());
        assert_eq!(&*without.line, b"x\n");
        for bad in ["", "x", "yesterday x", "2026-01-02T03:04:05Z"] {
            assert!(read(bad, false).is_err(), "{bad}");
        }
    }
}
