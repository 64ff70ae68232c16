//! The `json-file` format: one JSON object per line, byte for byte as Docker writes it
//! (moby: daemon/logger/jsonfilelog/jsonlog).

use std::collections::BTreeMap;

use crate::record::Record;
use crate::stamp::Stamper;

/// Encodes records.
#[derive(Debug)]
pub(crate) struct JsonEncoder {
    /// `,"attrs":{…}`, or nothing.
    attrs: Vec<u8>,
    stamper: Stamper,
}

impl JsonEncoder {
    pub(crate) fn new(attrs: &BTreeMap<String, String>) -> Self {
        let mut text = Vec::new();
        for (key, value) in attrs {
            text.extend_from_slice(if text.is_empty() {
                b",\"attrs\":{\""
            } else {
                b",\""
            });
            escape(key.as_bytes(), &mut text);
            text.extend_from_slice(b"\":\"");
            escape(value.as_bytes(), &mut text);
            text.push(b'"');
        }
        if !text.is_empty() {
            text.push(b'}');
        }
        Self {
            attrs: text,
            stamper: Stamper::new(),
        }
    }

    pub(crate) fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"log\":\"");
        escape(record.line, out);
        if record.part.ends_line() {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(record.stream.name().as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.attrs);
        out.extend_from_slice(b",\"time\":\"");
        self.stamper.write(record.time, out);
        out.extend_from_slice(b"\"}\n");
    }
}

/// Appends `bytes` as the inside of a JSON string, with each invalid byte as U+FFFD.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid();
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|b| special(*b)) {
            let (plain, tail) = rest.split_at(at);
            out.extend_from_slice(plain);
            rest = escape_one(tail, out);
        }
        out.extend_from_slice(rest);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Whether a byte needs a look. 0xE2 begins U+2028 and U+2029.
const fn special(byte: u8) -> bool {
    matches!(byte, ..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xE2)
}

/// Escapes the first byte or character of `tail`, and returns the rest.
fn escape_one<'a>(tail: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match tail {
        [0xE2, 0x80, last @ (0xA8 | 0xA9), rest @ ..] => {
            out.extend_from_slice(if *last == 0xA8 {
                b"\\u2028"
            } else {
                b"\\u2029"
            });
            rest
        }
        [byte, rest @ ..] => {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                0xE2 => out.push(0xE2),
                byte => {
                    const HEX: [u8; 16] = *b"0123456789abcdef";
                    let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                }
            }
            rest
        }
        [] => tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Stream;
    use crate::record::Part;

    fn encode(line: &[u8], part: Part, attrs: &[(&str, &str)]) -> String {
        let attrs = attrs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut out = Vec::new();
        let record = Record {
            stream: Stream::Stderr,
            time: 1_500_000_000,
            line,
            part,
        };
        JsonEncoder::new(&attrs).encode(&record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_docker_writes_it() {
        assert_eq!(
            encode(b"hello", Part::Whole, &[]),
            "{\"log\":\"hello\\n\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:01.5Z\"}\n"
        );
        assert_eq!(
            encode(
                b"a\"b\\c\td\re<>&\x7f\x00\xff\xe2\x80\xa8\xe2\x82\xac\xe2\x80",
                Part::Piece {
                    id: 1,
                    ordinal: 1,
                    last: false
                },
                &[("b", "2"), ("a", "\"")],
            ),
            "{\"log\":\"a\\\"b\\\\c\\u0009d\\re\\u003c\\u003e\\u0026\x7f\\u0000\\ufffd\\u2028€\
             \\ufffd\\ufffd\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"\\\"\",\"b\":\"2\"},\
             \"time\":\"1970-01-01T00:00:01.5Z\"}\n"
        );
    }
}
