//! Output as it goes over the wire: raw, or in frames.

use bytes::{BufMut, Bytes, BytesMut};
use coracle_docker::frame::{self, FrameKind};
use coracle_docker::time::format_fixed;
use coracle_runtime::io::{LogEntry, StreamKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What Go's `url.QueryEscape` leaves as it is, beside letters and digits.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn escape(text: &str) -> String {
    utf8_percent_encode(text, QUERY)
        .to_string()
        .replace("%20", "+")
}

/// Appends some output.
pub(crate) fn put(out: &mut BytesMut, framed: bool, kind: StreamKind, payload: &[u8]) {
    put_kind(out, framed, kind.into(), payload);
}

/// Appends a message of the server's own.
pub(crate) fn put_error(out: &mut BytesMut, framed: bool, message: &str) {
    put_kind(out, framed, FrameKind::SystemError, message.as_bytes());
}

fn put_kind(out: &mut BytesMut, framed: bool, kind: FrameKind, payload: &[u8]) {
    if !framed {
        out.put_slice(payload);
        return;
    }
    for part in payload.chunks(frame::MAX_PAYLOAD) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.put_slice(&frame::header(kind, length));
        out.put_slice(part);
    }
}

/// How log entries are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogStyle {
    pub(crate) framed: bool,
    pub(crate) timestamps: bool,
    pub(crate) details: bool,
}

impl LogStyle {
    /// Some entries, one after the other.
    pub(crate) fn encode(self, entries: &[LogEntry]) -> Bytes {
        let mut out = BytesMut::new();
        let mut line = BytesMut::new();
        for entry in entries {
            line.clear();
            if self.timestamps {
                line.put_slice(format_fixed(entry.time).as_bytes());
                line.put_u8(b' ');
            }
            if self.details {
                let pairs: Vec<String> = entry
                    .attributes
                    .iter()
                    .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
                    .collect();
                line.put_slice(pairs.join(",").as_bytes());
                line.put_u8(b' ');
            }
            line.put_slice(&entry.line);
            put(&mut out, self.framed, entry.stream, &line);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            time: "2026-01-02T03:04:05.5Z".parse().unwrap(),
            stream: StreamKind::Stderr,
            line: Bytes::from_static(b"hi\n"),
            attributes: [
                ("a b".to_owned(), "c/d".to_owned()),
                ("e".into(), "".into()),
            ]
            .into(),
        }
    }

    #[test]
    fn lines_are_decorated_and_framed() {
        let style = LogStyle {
            framed: true,
            timestamps: true,
            details: false,
        };
        let text = b"2026-01-02T03:04:05.500000000Z hi\n";
        let mut wanted = vec![2, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()];
        wanted.extend_from_slice(text);
        assert_eq!(style.encode(&[entry()]), wanted);
        let style = LogStyle {
            framed: false,
            timestamps: false,
            details: true,
        };
        assert_eq!(
            style.encode(&[entry(), entry()]),
            "a+b=c%2Fd,e= hi\n".repeat(2)
        );
    }
}
