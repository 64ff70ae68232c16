//! Streams of one JSON object a line, of which the last says how it ended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_runtime::image::Progress;
use coracle_runtime::io::{LogEntry, StreamKind};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ErrorBody;
use crate::wire::answer;

/// How a stream ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// All of it was sent.
    #[default]
    Complete,
    /// It broke off; `error` says why.
    Failed,
    /// The daemon is about to stop.
    Closing,
}

answer! {
    /// The last line of a stream.
    pub struct StreamEnd {
        /// How it ended.
        end: End,
        /// Why it broke off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorBody>,
        /// The exit code of the process whose output it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    }

    /// What a process wrote: as text where it is UTF-8, else in base64.
    pub struct Output {
        /// `stdout` or `stderr`.
        stream: String,
        /// The text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The bytes, where they are no text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    }

    /// A line of a log, or a part of one.
    pub struct LogLine {
        /// When the process wrote it.
        time: Timestamp,
        /// `stdout` or `stderr`.
        stream: String,
        /// The text, without the line's end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The bytes, where they are no text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// The line goes on with the next object.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
    }

    /// A step of a pull, push or load.
    pub struct ProgressLine {
        /// What happens.
        status: String,
        /// The layer or tag it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Bytes done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        current: Option<u64>,
        /// Bytes there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    }
}

const fn stream_name(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Stdout => "stdout",
        StreamKind::Stderr => "stderr",
    }
}

/// Text, or else base64.
fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn bytes_of(text: Option<&String>, base64: Option<&String>) -> Vec<u8> {
    match (text, base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

impl Output {
    /// What a stream gave.
    pub fn new(kind: StreamKind, bytes: &Bytes) -> Self {
        let (text, base64) = text_or_base64(bytes);
        Self {
            stream: stream_name(kind).to_owned(),
            text,
            base64,
        }
    }

    /// The bytes as the process wrote them.
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(self.text.as_ref(), self.base64.as_ref())
    }
}

impl LogLine {
    /// The bytes as the process wrote them, without the line's end.
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(self.text.as_ref(), self.base64.as_ref())
    }
}

impl From<LogEntry> for LogLine {
    fn from(entry: LogEntry) -> Self {
        let line = entry.line.strip_suffix(b"\n");
        let (text, base64) = text_or_base64(line.unwrap_or(&entry.line));
        Self {
            time: entry.time,
            stream: stream_name(entry.stream).to_owned(),
            text,
            base64,
            partial: line.is_none(),
        }
    }
}

impl From<Progress> for ProgressLine {
    fn from(step: Progress) -> Self {
        let said = step.stream.unwrap_or_default();
        Self {
            status: if step.status.is_empty() {
                said.trim_end().to_owned()
            } else {
                step.status
            },
            id: Some(step.id).filter(|id| !id.is_empty()),
            current: step.bytes.map(|(current, _)| current),
            total: step.bytes.and_then(|(_, total)| total),
        }
    }
}

/// One line of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<T> {
    /// What it is a stream of.
    Item(T),
    /// The last one.
    End(StreamEnd),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Line<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.get("end").is_some_and(serde_json::Value::is_string) {
            return serde_json::from_value(value)
                .map(Self::End)
                .map_err(D::Error::custom);
        }
        serde_json::from_value(value)
            .map(Self::Item)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whether_they_are_text_or_not() {
        for bytes in [&b"plain\n"[..], b"\xff\xfe\0", b"", "später".as_bytes()] {
            let output = Output::new(StreamKind::Stderr, &Bytes::copy_from_slice(bytes));
            let json = serde_json::to_string(&output).unwrap();
            let read: Line<Output> = serde_json::from_str(&json).unwrap();
            let Line::Item(read) = read else {
                panic!("{json}");
            };
            assert_eq!(read.bytes(), bytes);
            assert_eq!(read.stream, "stderr");
        }
    }

    #[test]
    fn the_last_line_is_told_from_the_others() {
        let line: Line<Output> =
            serde_json::from_str(r#"{"end":"complete","exitCode":3}"#).unwrap();
        let Line::End(end) = line else {
            panic!("{line:?}");
        };
        assert_eq!((end.end, end.exit_code), (End::Complete, Some(3)));
        assert!(serde_json::from_str::<Line<Output>>(r#"{"end":"nonsense"}"#).is_err());
    }

    #[test]
    fn a_partial_line_says_so() {
        let entry = |line: &'static [u8]| LogEntry {
            time: Timestamp::UNIX_EPOCH,
            stream: StreamKind::Stdout,
            line: Bytes::from_static(line),
            attributes: [].into(),
        };
        let whole = LogLine::from(entry(b"a\n"));
        assert_eq!((whole.text.as_deref(), whole.partial), (Some("a"), false));
        let part = LogLine::from(entry(b"a"));
        assert_eq!((part.text.as_deref(), part.partial), (Some("a"), true));
    }
}
